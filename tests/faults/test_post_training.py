"""Jobs outlive whatever is killed: trainings, replicas of the service, Redis."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from caravan.post_training.v1 import jobs_pb2, post_training_pb2
from tests.services.post_training.jobs.world import ROOT, Replica, a_request, alive, eventually, replica
from tests.support.valkey import ValkeyServer, valkey_server

pytestmark = pytest.mark.faults
COMPLETED, WAITING = jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_SCHEDULED
RUNNING = jobs_pb2.JOB_STATUS_IN_PROGRESS


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server(durable=True) as server:
        yield server


@pytest.fixture
async def watcher(server: ValkeyServer, tmp_path: Path) -> AsyncIterator[Replica]:
    """A replica that runs no job; the store is empty."""
    server.flush()
    async with replica(server.url, tmp_path, schedule=False) as made:
        yield made


async def started(server: ValkeyServer, folder: Path) -> asyncio.subprocess.Process:
    """A replica as a process of its own."""
    module = "tests.services.post_training.jobs.replica_process"
    command = (sys.executable, "-m", module, server.url, str(folder))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"started\n"
    return process


async def ended(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    process.send_signal(number)
    await process.wait()


def check_whole(events: list[jobs_pb2.JobEvent], steps: int) -> None:
    """No number is missing, no step is left out, and what happened twice happened the same way."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    told = [(event.metrics.step, event.metrics.metrics["loss"]) for event in events if "loss" in event.metrics.metrics]
    assert dict(told) == {step: 1 / step for step in range(1, steps + 1)}
    assert all(loss == 1 / step for step, loss in told)
    assert [event.HasField("end") for event in events].index(True) == len(events) - 1


async def test_a_service_that_is_killed_is_followed_by_another_from_the_last_checkpoint(
    server: ValkeyServer, watcher: Replica, tmp_path: Path
) -> None:
    first = await started(server, tmp_path)
    job = await watcher.create(a_request(40, labels={"seconds": 0.05}))
    await watcher.until(job.job_uuid, lambda job: job.status == RUNNING)
    await eventually(lambda: watcher.pids(job.job_uuid))
    await asyncio.sleep(random.uniform(0.2, 1.5))
    (trainer,) = watcher.pids(job.job_uuid)
    await ended(first, signal.SIGKILL)
    # The training hears of it, and ends with a checkpoint that nobody was told of.
    await eventually(lambda: not alive(trainer))
    second = await started(server, tmp_path)
    try:
        events = await watcher.watched(job.job_uuid)
        done = await watcher.get(job.job_uuid)
        assert (done.status, done.attempts) == (COMPLETED, 2)
        check_whole(events, 40)
    finally:
        await ended(second, signal.SIGTERM)


async def test_a_trainer_that_is_killed_again_and_again_still_comes_to_its_end(
    server: ValkeyServer, watcher: Replica, tmp_path: Path
) -> None:
    service = await started(server, tmp_path)
    try:
        job = await watcher.create(a_request(40, labels={"seconds": 0.04}))
        for attempt in (1, 2):
            await eventually(lambda: len(watcher.pids(job.job_uuid)) == attempt)  # noqa: B023 - awaited at once
            await asyncio.sleep(random.uniform(0.1, 0.8))
            os.kill(watcher.pids(job.job_uuid)[-1], signal.SIGKILL)
        events = await watcher.watched(job.job_uuid)
        done = await watcher.get(job.job_uuid)
        assert (done.status, done.attempts) == (COMPLETED, 3)
        check_whole(events, 40)
    finally:
        await ended(service, signal.SIGTERM)


async def test_redis_that_is_killed_and_comes_back_loses_nothing_and_interrupts_no_training(
    server: ValkeyServer, watcher: Replica, tmp_path: Path
) -> None:
    service = await started(server, tmp_path)
    try:
        job = await watcher.create(a_request(60, labels={"seconds": 0.05}))
        await watcher.until(job.job_uuid, lambda job: job.progress.step >= 1)
        await asyncio.sleep(random.uniform(0.0, 0.5))
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(2.0)
        await asyncio.to_thread(server.start)
        await eventually(lambda: watcher.connection.quiet_seconds >= 0)
        events = await watcher.watched(job.job_uuid)
        done = await watcher.get(job.job_uuid)
        assert (done.status, done.attempts) == (COMPLETED, 1)
        check_whole(events, 60)
        assert [event.metrics.step for event in events if "loss" in event.metrics.metrics] == list(range(1, 61))
    finally:
        await ended(service, signal.SIGTERM)


async def test_two_replicas_share_the_queue_and_take_over_from_one_another(
    server: ValkeyServer, watcher: Replica, tmp_path: Path
) -> None:
    replicas = [await started(server, tmp_path), await started(server, tmp_path)]
    try:
        jobs = [await watcher.create(a_request(25, labels={"seconds": 0.04})) for _ in range(4)]
        await eventually(lambda: sum(len(watcher.pids(job.job_uuid)) for job in jobs) >= 2)
        await asyncio.sleep(random.uniform(0.1, 0.6))
        await ended(replicas[0], signal.SIGKILL)
        for job in jobs:
            check_whole(await watcher.watched(job.job_uuid), 25)
            assert (await watcher.get(job.job_uuid)).status == COMPLETED
    finally:
        await ended(replicas[1], signal.SIGTERM)


async def test_a_service_that_is_told_to_stop_leaves_its_job_in_the_queue_with_a_checkpoint(
    server: ValkeyServer, watcher: Replica, tmp_path: Path
) -> None:
    service = await started(server, tmp_path)
    job = await watcher.create(a_request(500, labels={"seconds": 0.05}))
    await watcher.until(job.job_uuid, lambda job: job.progress.step >= 1)
    await ended(service, signal.SIGTERM)
    left = await watcher.get(job.job_uuid)
    assert (left.status, left.queue_position) == (WAITING, 1)
    assert left.checkpoints[-1].resumable
    assert not alive(watcher.pids(job.job_uuid)[0])
    cancelled = await watcher.jobs.cancel(post_training_pb2.CancelJobRequest(job_uuid=job.job_uuid))
    assert cancelled.status == jobs_pb2.JOB_STATUS_CANCELLED
