"""Whatever is done in whatever order by two replicas: the store says what the model says."""

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from caravan.post_training.v1 import checkpoints_pb2, post_training_pb2
from services.core.errors import CaravanError, UnavailableError
from services.post_training import keys
from services.post_training.jobs import events, transitions
from services.post_training.jobs.ports import Completed, Failed, LeaseLostError, Stopped
from services.post_training.jobs.records import Batch, Claimed, Lease
from tests.services.post_training.jobs.world import DATASET, Replica, a_request, add_dataset
from tests.support.valkey import ValkeyServer

WAITING, RUNNING, COMPLETED, FAILED, CANCELLED, PAUSED, PAUSING, CANCELLING = range(1, 9)
ENDED, HELD = (COMPLETED, FAILED, CANCELLED), (RUNNING, PAUSING, CANCELLING)
REVISIONS = st.sampled_from([None, 0, 1])


@dataclass
class ModelJob:
    """What is known of a job."""

    uuid: str
    steps: int
    status: int = WAITING
    revision: int = 1
    events: list[str] = field(default_factory=lambda: ["state"])
    token: int = 0
    crashes: int = 0
    checkpoints: int = 0

    def move(self, status: int, *told: str) -> None:
        """It stands somewhere else."""
        self.status, self.revision = status, self.revision + 1
        self.events += told


class JobsMachine(RuleBasedStateMachine):
    """Two replicas of the store, and the model."""

    url: str
    folder: Path
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.replicas = [self.run(self.made()) for _ in range(2)]
        self.jobs: dict[str, ModelJob] = {}
        self.leases: list[tuple[Lease, ModelJob]] = []

    async def made(self) -> Replica:
        replica = Replica(self.url, self.folder)
        await replica.store.start()
        return replica

    def teardown(self) -> None:
        for replica in self.replicas:
            self.run(replica.store.close())
            self.run(replica.connection.close())

    def run(self, call: Any) -> Any:
        return self.runner.run(call)

    def outcome(self, call: Any) -> Any:
        """The result, or the reason of the error."""
        try:
            return self.run(call)
        except CaravanError as error:
            return error.reason
        except LeaseLostError:
            return "LEASE_LOST"

    @initialize()
    def start(self) -> None:
        connection = self.replicas[0].connection
        self.run(connection._client.flushall())
        self.run(add_dataset(connection))

    @rule(uuid=st.sampled_from(["a", "b", "c"]), steps=st.integers(1, 2), replica=st.integers(0, 1))
    def create(self, uuid: str, steps: int, replica: int) -> None:
        found = self.outcome(self.replicas[replica].create(a_request(steps, job_uuid=uuid)))
        known = self.jobs.get(uuid)
        if known is None:
            self.jobs[uuid] = ModelJob(uuid, steps)
            assert (found.status, found.revision) == (WAITING, 1)
        elif known.steps != steps:
            assert found == "ALREADY_EXISTS"
        else:
            assert (found.status, found.revision) == (known.status, known.revision)

    def any_job(self, data: st.DataObject) -> ModelJob:
        return self.jobs[data.draw(st.sampled_from(sorted(self.jobs)))]

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), replica=st.integers(0, 1))
    def claim(self, data: st.DataObject, replica: int) -> None:
        job, store = self.any_job(data), self.replicas[replica].store
        queue, _ = self.run(store.next_jobs("local", 10))
        if job.uuid not in queue:
            assert job.status != WAITING or job.crashes
            return
        assert job.status == WAITING
        record = self.run(store.read(job.uuid))
        token = self.run(store.change(record, transitions.claim(record, Claimed("me", 600_000), "me", {})))
        job.token += 1
        job.move(RUNNING, "state")
        assert token == job.token
        self.leases.append((Lease(job.uuid, token), job))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), count=st.integers(1, 3), made=st.booleans(), replica=st.integers(0, 1))
    def append(self, data: st.DataObject, count: int, made: bool, replica: int) -> None:
        lease, job = data.draw(st.sampled_from(self.leases))
        told = [events.log("a line")] * count
        checkpoints = []
        if made:
            checkpoint = checkpoints_pb2.Checkpoint(identifier=f"c{job.checkpoints}", resumable=True)
            checkpoint.created_at.CopyFrom(events.now())
            checkpoints, told = [checkpoint], [*told, events.checkpoint(checkpoint)]
        outcome = self.outcome(self.replicas[replica].store.append(lease, Batch(told, checkpoints=checkpoints)))
        if not self.holds(lease, job):
            assert outcome == "LEASE_LOST"
            return
        job.events += ["log"] * count + ["checkpoint"] * made
        job.checkpoints += made

    def holds(self, lease: Lease, job: ModelJob) -> bool:
        return self.jobs.get(job.uuid) is job and job.status in HELD and lease.token == job.token

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), how=st.sampled_from(["completed", "stopped", "failed", "crashed"]), replica=st.integers(0, 1))
    def finish(self, data: st.DataObject, how: str, replica: int) -> None:
        lease, job = data.draw(st.sampled_from(self.leases))
        outcome = self.outcome(self.finished(self.replicas[replica], lease, how))
        if not self.holds(lease, job):
            assert outcome in ("LEASE_LOST", "NOT_FOUND")
            return
        asked = {PAUSING: PAUSED, CANCELLING: CANCELLED}.get(job.status)
        if how == "crashed" and asked is None:
            job.crashes += 1
        if how == "completed":
            status = COMPLETED
        elif asked is not None:
            status = asked
        elif how == "failed" or (how == "crashed" and job.crashes > transitions.DEFAULT_RETRIES):
            status = FAILED
        else:
            status = WAITING
        job.move(status, "state", *(["end"] if status in ENDED else []))

    async def finished(self, replica: Replica, lease: Lease, how: str) -> None:
        error = UnavailableError("gone", reason="GONE")
        outcome = {
            "completed": Completed(),
            "stopped": Stopped(),
            "failed": Failed(error, again=False),
            "crashed": Failed(error, again=True),
        }[how]
        record = await replica.store.read(lease.job_uuid)
        await replica.store.change(record, transitions.finish(record, outcome, 1), lease=lease)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), off=REVISIONS, replica=st.integers(0, 1))
    def cancel(self, data: st.DataObject, off: int | None, replica: int) -> None:
        job = self.any_job(data)
        request = post_training_pb2.CancelJobRequest(job_uuid=job.uuid, **self.seen(job, off))
        found = self.outcome(self.replicas[replica].jobs.cancel(request))
        if off:
            assert found == "STALE_REVISION"
            return
        if job.status in (WAITING, PAUSED):
            job.move(CANCELLED, "state", "end")
        elif job.status in (RUNNING, PAUSING):
            job.move(CANCELLING, "state")
        assert (found.status, found.revision) == (job.status, job.revision)

    def seen(self, job: ModelJob, off: int | None) -> dict[str, int]:
        return {} if off is None else {"revision": job.revision + off}

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), replica=st.integers(0, 1))
    def pause(self, data: st.DataObject, replica: int) -> None:
        job = self.any_job(data)
        request = post_training_pb2.PauseJobRequest(job_uuid=job.uuid)
        found = self.outcome(self.replicas[replica].jobs.pause(request))
        if job.status in (*ENDED, CANCELLING):
            assert found == "JOB_ENDED"
            return
        if job.status == WAITING:
            job.move(PAUSED, "state")
        elif job.status == RUNNING:
            job.move(PAUSING, "state")
        assert (found.status, found.revision) == (job.status, job.revision)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), replica=st.integers(0, 1))
    def resume(self, data: st.DataObject, replica: int) -> None:
        job = self.any_job(data)
        request = post_training_pb2.ResumeJobRequest(job_uuid=job.uuid)
        found = self.outcome(self.replicas[replica].jobs.resume(request))
        refusal = {RUNNING: "JOB_RUNS", PAUSING: "JOB_RUNS", CANCELLING: "JOB_RUNS", COMPLETED: "JOB_COMPLETED"}
        if job.status in refusal:
            assert found == refusal[job.status]
        elif job.status in (FAILED, CANCELLED) and not job.checkpoints:
            assert found == "NO_CHECKPOINT"
        else:
            if job.status != WAITING:
                job.move(WAITING, "state")
                job.crashes = 0
            assert (found.status, found.revision) == (WAITING, job.revision)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), replica=st.integers(0, 1))
    def delete(self, data: st.DataObject, replica: int) -> None:
        job = self.any_job(data)
        request = post_training_pb2.DeleteJobRequest(job_uuid=job.uuid)
        found = self.outcome(self.replicas[replica].jobs.delete(request))
        if job.status in ENDED:
            assert found is None
            del self.jobs[job.uuid]
        else:
            assert found == "JOB_NOT_ENDED"

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        here = self.replicas[0]
        listed = {job.job_uuid: job for job in self.run(here.jobs.list(post_training_pb2.ListJobsRequest())).items.data}
        assert set(listed) == set(self.jobs)
        users = self.run(here.connection._client.smembers(keys.dataset_users(DATASET)))
        assert {user.decode() for user in users} == {uuid for uuid, job in self.jobs.items() if job.status not in ENDED}
        for uuid, job in self.jobs.items():
            found = self.run(here.get(uuid))
            assert (found.status, found.revision, found.last_sequence) == (job.status, job.revision, len(job.events))
            assert len(found.checkpoints) == job.checkpoints
            shown = listed[uuid]
            assert (shown.status, shown.revision, shown.last_sequence) == (
                found.status,
                found.revision,
                found.last_sequence,
            )
            assert self.run(self.told(here, job)) == list(enumerate(job.events, start=1))

    async def told(self, here: Replica, job: ModelJob) -> list[tuple[int, str]]:
        found = []
        async for event in here.store.watch(job.uuid, 0, include_trials=False):
            found.append((event.sequence, event.WhichOneof("event") or ""))
            if len(found) == len(job.events):
                break
        return found


@pytest.fixture
def machine(job_server: ValkeyServer) -> Iterator[type[JobsMachine]]:
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        JobsMachine.url, JobsMachine.runner, JobsMachine.folder = job_server.url, runner, Path(folder)
        yield JobsMachine


@pytest.mark.slow
def test_two_replicas_do_what_the_model_does(machine: type[JobsMachine]) -> None:
    chosen = settings(max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_machine(machine, settings=chosen)
