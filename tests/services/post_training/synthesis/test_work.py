"""Making data as a job does it: stopped, gone on with, taken away."""

import asyncio
from pathlib import Path

import pytest

from caravan.post_training.v1 import jobs_pb2
from services.post_training.jobs.ports import Assignment, Completed, LeaseLostError, Report, Stopped
from services.post_training.jobs.records import JobRecord, Lease
from services.post_training.synthesis.work import SynthesisWork
from tests.services.post_training.synthesis.conftest import World
from tests.support.models_stack import CHAT, JUDGE
from tests.support.requests import user


class Heard(Report):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.events: list[jobs_pb2.JobEvent] = []

    async def say(self, event: jobs_pb2.JobEvent) -> None:
        self.events.append(event)

    async def settle(self) -> None:
        return


def assignment(folder: Path) -> Assignment:
    request = {
        "job_uuid": "job-1",
        "dialogs": [{"messages": [user(text)]} for text in ("Hello!", "Tell me a story.", "Who are you?")],
        "model": CHAT,
        "k_generations": 2,
        "reward_model": JUDGE,
        "sampling_params": {"max_tokens": 8},
        "output_dataset_id": "made",
    }
    job = jobs_pb2.Job(job_uuid="job-1", kind=jobs_pb2.JOB_KIND_SYNTHETIC_DATA, synthetic_data=request)
    record = JobRecord(
        job=job, digest="", lane="data", token=1, crashes=0, ran_ms=0, keep_ms=0, told_step=0, metrics={}, now_us=0
    )
    return Assignment(record, Lease("job-1", 1), folder)


async def test_a_job_that_is_stopped_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    work = SynthesisWork(world.synthesis())
    first = assignment(tmp_path / "job")
    # With more, the last of six answers may be on its way already: four are asked for at a time.
    world.chat.hang_after = 1
    running = asyncio.create_task(work.run(first, Heard()))
    await world.chat.until_it_hangs(running)
    first.lease.wish.set()
    assert isinstance(await running, Stopped)
    world.chat.hang_after = None
    heard = Heard()
    assert await SynthesisWork(world.synthesis()).run(assignment(tmp_path / "job"), heard) == Completed()
    assert world.chat.answered.total() <= 6 + 4
    metrics = next(event.metrics.metrics for event in heard.events if event.HasField("metrics"))
    assert (metrics["generated"], metrics["kept"]) == (6, 6)
    assert metrics["min_score"] <= metrics["mean_score"] <= metrics["max_score"]
    assert next(event.log.line for event in heard.events if event.HasField("log")).startswith("6 of 6 answers are kept")
    assert (await world.datasets.get("made")).current.row_count == 6


async def test_a_job_that_is_somebody_elses_is_left_at_once(world: World, tmp_path: Path) -> None:
    taken = assignment(tmp_path / "job")
    world.chat.hang_after = 1
    running = asyncio.create_task(SynthesisWork(world.synthesis()).run(taken, Heard()))
    await world.chat.until_it_hangs(running)
    taken.lease.lost.set()
    with pytest.raises(LeaseLostError):
        await running
