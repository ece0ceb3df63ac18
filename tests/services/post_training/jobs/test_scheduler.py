"""Jobs run, stop, go on and end, in real processes."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from caravan.post_training.v1 import jobs_pb2, post_training_pb2, training_pb2
from services.core.errors import FailedPreconditionError
from services.post_training.jobs import transitions
from services.post_training.jobs.records import Claimed
from tests.services.post_training.jobs.world import Replica, a_request, alive, eventually, replica
from tests.support.valkey import ValkeyServer

COMPLETED, FAILED = jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_FAILED
RUNNING, WAITING = jobs_pb2.JOB_STATUS_IN_PROGRESS, jobs_pb2.JOB_STATUS_SCHEDULED
CANCELLED, PAUSED = jobs_pb2.JOB_STATUS_CANCELLED, jobs_pb2.JOB_STATUS_PAUSED
SLOW = {"seconds": 0.05}


def cancel(job_uuid: str, reason: str = "") -> post_training_pb2.CancelJobRequest:
    return post_training_pb2.CancelJobRequest(job_uuid=job_uuid, reason=reason)


def steps_of(events: list[jobs_pb2.JobEvent]) -> list[int]:
    """Steps whose loss was told, in order."""
    return [event.metrics.step for event in events if "loss" in event.metrics.metrics]


async def test_a_training_runs_to_its_end_and_tells_everything_under_dense_numbers(here: Replica) -> None:
    job = await here.create(a_request(12, labels={"every": 5}))
    assert (job.status, job.attempts, job.estimate.rows) == (WAITING, 0, 7)
    events = await here.watched(job.job_uuid)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert {event.job_uuid for event in events} == {job.job_uuid}
    assert steps_of(events) == list(range(1, 13))
    assert [event.state.status for event in events if event.HasField("state")] == [WAITING, RUNNING, COMPLETED]
    assert [event.log.line for event in events if event.HasField("log")] == ["begins after step 0, niceness 10"]
    ended = await here.get(job.job_uuid)
    assert (ended.status, ended.attempts, ended.last_sequence) == (COMPLETED, 1, len(events))
    assert ended.progress.step == 12
    assert [one.identifier for one in ended.checkpoints] == ["step-000005", "step-000010", "final"]
    assert events[-1].end.job.checkpoints == ended.checkpoints
    assert events[-1].end.job.last_sequence == len(events)
    assert ended.started_at.ToMicroseconds() <= ended.completed_at.ToMicroseconds()


async def test_a_cancelled_training_keeps_a_checkpoint_from_which_it_can_be_resumed(here: Replica) -> None:
    job = await here.create(a_request(40, labels=SLOW))
    await here.until(job.job_uuid, lambda job: job.progress.step >= 2)
    stopping = await here.jobs.cancel(cancel(job.job_uuid, "too dear"))
    assert stopping.status == jobs_pb2.JOB_STATUS_CANCELLING
    ended = await here.ended(job.job_uuid)
    assert ended.status == CANCELLED
    assert ended.status_reason.startswith("cancelled: too dear; checkpoint step-")
    assert (await here.jobs.cancel(cancel(job.job_uuid))).revision == ended.revision
    await here.jobs.resume(post_training_pb2.ResumeJobRequest(job_uuid=job.job_uuid))
    whole = await here.ended(job.job_uuid)
    events = await here.watched(job.job_uuid)
    assert (whole.status, whole.attempts) == (COMPLETED, 2)
    assert steps_of(events) == list(range(1, 41))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len([event for event in events if event.HasField("end")]) == 2


async def test_a_paused_training_leaves_its_place_and_goes_on_where_it_was(here: Replica) -> None:
    job = await here.create(a_request(30, labels=SLOW))
    other = await here.create(a_request(3))
    await here.until(job.job_uuid, lambda job: job.progress.step >= 2)
    assert (await here.get(other.job_uuid)).queue_position == 1
    await here.jobs.pause(post_training_pb2.PauseJobRequest(job_uuid=job.job_uuid, reason="lunch"))
    paused = await here.until(job.job_uuid, lambda job: job.status == PAUSED)
    assert paused.status_reason.startswith("paused: lunch; checkpoint step-")
    assert (await here.ended(other.job_uuid)).status == COMPLETED
    assert not paused.HasField("queue_position")
    await here.jobs.resume(post_training_pb2.ResumeJobRequest(job_uuid=job.job_uuid))
    events = await here.watched(job.job_uuid)
    assert steps_of(events) == list(range(1, 31))


async def test_a_training_that_is_killed_goes_on_from_its_last_checkpoint(here: Replica) -> None:
    job = await here.create(a_request(12, labels={"kill_at": 8, "once": True}))
    events = await here.watched(job.job_uuid)
    ended = await here.get(job.job_uuid)
    assert (ended.status, ended.attempts) == (COMPLETED, 2)
    # Steps after the checkpoint happen again; nothing else does.
    assert steps_of(events) == [*range(1, 8), *range(6, 13)]
    (reason,) = [event.state.reason for event in events if "retry" in event.state.reason]
    assert reason == (
        "the training was ended by SIGKILL (the machine may be short of memory); goes on from checkpoint step-000005 in 1 s (retry 1 of 3)"
    )


async def test_retries_are_bounded_and_the_last_words_are_told(here: Replica) -> None:
    job = await here.create(a_request(9, executor={"max_retries": 1}, labels={"exit_at": 3}))
    ended = await here.ended(job.job_uuid)
    assert (ended.status, ended.attempts) == (FAILED, 2)
    assert "exit code 3" in ended.error.message
    assert "out of ideas" in ended.error.message
    assert ended.status_reason.endswith("(none of 1 retries is left)")


async def test_an_error_of_the_training_itself_is_final_and_keeps_its_reason(here: Replica) -> None:
    job = await here.create(a_request(9, labels={"fail_at": 7}))
    ended = await here.ended(job.job_uuid)
    assert (ended.status, ended.attempts) == (FAILED, 1)
    assert (ended.error.code, ended.error.message) == (9, "the loss is not a number at step 7")
    assert b"LOSS_NOT_FINITE" in ended.error.details[0].value


async def test_a_training_that_uses_more_memory_than_it_may_is_told_what_to_do(here: Replica) -> None:
    job = await here.create(a_request(99, executor={"max_memory_bytes": 64 << 20}, labels={"grab": 200 << 20, **SLOW}))
    ended = await here.ended(job.job_uuid)
    assert (ended.status, ended.attempts, ended.error.code) == (FAILED, 1, 8)
    assert b"OUT_OF_MEMORY" in ended.error.details[0].value
    assert "data_config.batch_size" in ended.error.message


async def test_a_training_ends_when_its_time_is_over_and_can_be_given_more(here: Replica) -> None:
    request = a_request(30, labels=SLOW)
    request.executor.max_duration.FromMilliseconds(700)
    job = await here.create(request)
    ended = await here.ended(job.job_uuid)
    assert (ended.status, ended.error.code) == (FAILED, 4)
    assert ended.checkpoints[-1].resumable
    await here.jobs.resume(post_training_pb2.ResumeJobRequest(job_uuid=job.job_uuid))
    await here.until(job.job_uuid, lambda job: job.attempts == 2)


async def test_a_training_that_does_not_hear_is_killed_after_its_time(job_server: ValkeyServer, tmp_path: Path) -> None:
    job_server.flush()
    async with replica(job_server.url, tmp_path, local={"stop_seconds": 0.3}) as here:
        job = await here.create(a_request(500, labels={"deaf": True, **SLOW}))
        await here.until(job.job_uuid, lambda job: job.progress.step >= 6)
        await here.jobs.cancel(cancel(job.job_uuid))
        ended = await here.ended(job.job_uuid)
        assert ended.status == CANCELLED
        assert re.search(r"checkpoint step-0000\d[05] is kept", ended.status_reason)
        assert not alive(here.pids(job.job_uuid)[0])


async def test_a_job_that_is_cancelled_while_it_waits_never_runs(here: Replica) -> None:
    first = await here.create(a_request(20, labels=SLOW))
    second = await here.create(a_request(5))
    ended = await here.jobs.cancel(cancel(second.job_uuid))
    assert (ended.status, ended.attempts) == (CANCELLED, 0)
    with pytest.raises(FailedPreconditionError, match="no checkpoint"):
        await here.jobs.resume(post_training_pb2.ResumeJobRequest(job_uuid=second.job_uuid))
    await here.jobs.cancel(cancel(first.job_uuid))
    assert not here.pids(second.job_uuid)


async def test_jobs_of_higher_priority_come_first_then_the_oldest(here: Replica) -> None:
    running = await here.create(a_request(12, labels=SLOW))
    await here.until(running.job_uuid, lambda job: job.status == RUNNING)
    low = await here.create(a_request(2, executor={"priority": -5}))
    middle = await here.create(a_request(2))
    high = await here.create(a_request(2, executor={"priority": 5}))
    places = [(await here.get(job.job_uuid)).queue_position for job in (low, middle, high)]
    assert places == [3, 2, 1]
    began = [(await here.ended(job.job_uuid)).started_at.ToMicroseconds() for job in (high, middle, low)]
    assert began == sorted(began)


async def test_a_service_that_stops_hands_its_jobs_on_with_a_checkpoint(
    job_server: ValkeyServer, tmp_path: Path
) -> None:
    job_server.flush()
    async with replica(job_server.url, tmp_path) as first:
        job = await first.create(a_request(40, labels=SLOW))
        await first.until(job.job_uuid, lambda job: job.progress.step >= 3)
        await first.scheduler.stop()
        handed = await first.get(job.job_uuid)
        assert (handed.status, handed.queue_position) == (WAITING, 1)
        assert handed.status_reason.startswith("the service stops; another one goes on; checkpoint step-")
    async with replica(job_server.url, tmp_path, name="there") as second:
        ended = await second.ended(job.job_uuid)
        assert (ended.status, ended.attempts) == (COMPLETED, 2)
        assert steps_of(await second.watched(job.job_uuid)) == list(range(1, 41))


async def test_a_result_is_put_into_service_before_the_job_is_completed(here: Replica) -> None:
    job = await here.create(a_request(3, auto_register=training_pb2.AutoRegister(model_id="mine")))
    ended = await here.ended(job.job_uuid)
    assert (ended.status, ended.registered_model_id) == (COMPLETED, "mine")
    final = ended.checkpoints[-1]
    assert final.registered_model_id == "mine"
    assert here.models.served == {"mine": final.path}
    request = post_training_pb2.DeleteCheckpointRequest(job_uuid=job.job_uuid, identifier="final")
    with pytest.raises(FailedPreconditionError, match="unregister the model first"):
        await here.artifacts.delete(request)


async def test_a_result_that_cannot_be_served_fails_the_job_and_a_resumed_one_only_tries_that_again(
    here: Replica,
) -> None:
    here.models.refuse = FailedPreconditionError("it answers nonsense", reason="CANARY_FAILED")
    job = await here.create(a_request(3, auto_register=training_pb2.AutoRegister(model_id="mine")))
    ended = await here.ended(job.job_uuid)
    assert (ended.status, ended.error.message) == (FAILED, "it answers nonsense")
    here.models.refuse = None
    await here.jobs.resume(post_training_pb2.ResumeJobRequest(job_uuid=job.job_uuid))
    await eventually(lambda: "mine" in here.models.served)
    assert (await here.ended(job.job_uuid)).status == COMPLETED
    assert len(here.pids(job.job_uuid)) == 1


async def test_only_the_newest_checkpoints_and_the_best_one_are_kept(here: Replica) -> None:
    request = a_request(30, labels={"every": 5})
    request.training_config.checkpoints_to_keep = 2
    job = await here.create(request)
    ended = await here.ended(job.job_uuid)
    names = [one.identifier for one in ended.checkpoints]
    assert names == ["step-000025", "step-000030", "final"]
    folder = here.storage.job(job.job_uuid) / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


async def test_a_trainer_that_somebody_else_stops_is_begun_again(here: Replica) -> None:
    job = await here.create(a_request(30, labels=SLOW))
    await here.until(job.job_uuid, lambda job: job.progress.step >= 2)
    os.kill(here.pids(job.job_uuid)[0], signal.SIGTERM)
    ended = await here.ended(job.job_uuid)
    assert (ended.status, ended.attempts) == (COMPLETED, 2)
    assert steps_of(await here.watched(job.job_uuid)) == list(range(1, 31))


async def test_a_lease_that_ran_out_while_the_store_was_away_is_its_holders_to_renew(
    idle: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await idle.create(a_request())
    record = await idle.store.read(job.job_uuid)
    await idle.store.change(record, transitions.claim(record, Claimed("another", 1), "there", {}))
    await asyncio.sleep(0.05)
    look = idle.store.expired_jobs

    async def after_a_while(limit: int) -> Sequence[str]:
        found = await look(limit)
        # The store was away while it was asked.
        idle.connection._away_at = time.monotonic()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(idle.store, "expired_jobs", after_a_while)
        await idle.scheduler._take_up()
    assert (await idle.get(job.job_uuid)).status == RUNNING
    idle.connection._away_at = float("-inf")
    await idle.scheduler._take_up()
    assert (await idle.get(job.job_uuid)).status == WAITING
