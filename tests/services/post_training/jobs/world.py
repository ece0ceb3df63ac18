"""Jobs on a real store, run in real processes by a program that only counts (`trainer_program.py`)."""

import asyncio
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, post_training_pb2, training_pb2
from services.core.errors import NotFoundError
from services.core.redis.connection import Connection, ConnectionSettings
from services.core.redis.scripts import Script
from services.post_training import keys
from services.post_training.executors.local import LocalExecutor
from services.post_training.executors.settings import LocalSettings
from services.post_training.jobs.artifacts import Artifacts
from services.post_training.jobs.creating import Creating, CreationLimits
from services.post_training.jobs.jobs import Jobs
from services.post_training.jobs.ports import Assignment, DataSets, Exporter, Planner, Prepared, Preparer, Registrar
from services.post_training.jobs.records import training_of
from services.post_training.jobs.retention import Retention
from services.post_training.jobs.scheduler import Place, Scheduler, SchedulerLimits
from services.post_training.jobs.search import SearchWork
from services.post_training.jobs.store.redis_store import RedisJobs
from services.post_training.jobs.store.settings import StoreSettings
from services.post_training.jobs.training import TrainingWork
from services.post_training.storage import Storage
from services.post_training.store import connect

ROOT = Path(__file__).parents[4]
PROGRAM = Path(__file__).with_name("trainer_program.py")
DATASET = "rows"


def program_command(spec: Path, num_processes: int) -> list[str]:
    return [sys.executable, str(PROGRAM), str(spec)]


class Revisions(DataSets):
    """One data set with revisions 1 to 3."""

    async def newest_revision(self, dataset_id: str) -> int:
        if dataset_id != DATASET:
            raise NotFoundError("no such data set", resource_type="dataset", resource_name=dataset_id)
        return 3


class Estimates(Planner):
    """Estimates what the labels say; refuses nothing."""

    async def plan(self, job: jobs_pb2.Job, num_processes: int) -> jobs_pb2.TrainingEstimate:
        return jobs_pb2.TrainingEstimate(rows=7, steps=int(job.labels.get("steps", "5")))


class LabelPreparer(Preparer):
    """Makes a spec of the job's labels."""

    async def prepare(self, assignment: Assignment, num_processes: int) -> Prepared:
        job = assignment.record.job
        await asyncio.to_thread(assignment.folder.mkdir, parents=True, exist_ok=True)
        spec: dict[str, Any] = {"folder": str(assignment.folder), "steps": 5, "told_step": assignment.record.told_step}
        spec |= {name: json.loads(value) for name, value in job.labels.items() if name != "note"}
        training = training_of(job)
        assert training is not None
        if training.training_config.optimizer_config.HasField("lr"):
            spec["result"] = abs(training.training_config.optimizer_config.lr - 0.02)
        path = assignment.folder / "spec.json"
        await asyncio.to_thread(path.write_text, json.dumps(spec))
        return Prepared(path, num_processes)


@dataclass
class Models(Registrar):
    """What is in service."""

    served: dict[str, str] = field(default_factory=dict)
    refuse: Exception | None = None

    async def check(self, job: jobs_pb2.Job) -> None:
        pass

    async def register(self, job: jobs_pb2.Job, checkpoint: checkpoints_pb2.Checkpoint) -> str:
        if self.refuse is not None:
            raise self.refuse
        training = training_of(job)
        assert training is not None
        model_id = training.auto_register.model_id or job.job_uuid
        self.served[model_id] = checkpoint.path
        return model_id

    async def is_served(self, checkpoint: checkpoints_pb2.Checkpoint) -> bool:
        return checkpoint.path in self.served.values()


class Copies(Exporter):
    """Copies the weights."""

    async def export(
        self, job_folder: Path, checkpoint: Path, target: Path, form: "checkpoints_pb2.CheckpointFormat.ValueType"
    ) -> None:
        await asyncio.to_thread(shutil.copytree, checkpoint / "weights", target)


def a_request(steps: int = 5, **changes: Any) -> training_pb2.SupervisedFineTuneRequest:
    """A training; labels tell the program what to do."""
    labels = {name: json.dumps(value) for name, value in changes.pop("labels", {}).items()}
    request = training_pb2.SupervisedFineTuneRequest(
        model="base",
        training_config={"data_config": {"dataset_id": DATASET}},
        labels={"steps": json.dumps(steps), **labels},
    )
    request.MergeFrom(training_pb2.SupervisedFineTuneRequest(**changes))
    return request


class Replica:
    """One process's part of the service."""

    def __init__(self, url: str, folder: Path, **changes: Any) -> None:
        limits = {"lease_seconds": 1.5, "scan_seconds": 0.2, "stop_seconds": 20.0, **changes.pop("limits", {})}
        local = {"stop_seconds": 5.0, "watch_seconds": 0.05, "reserve_bytes": 0, **changes.pop("local", {})}
        store = {"poll_seconds": 1.0, **changes.pop("store", {})}
        retry = changes.pop("retry_seconds", 1.0)
        self.connection = connect(ConnectionSettings(redis_url=SecretStr(url), retry_seconds=retry))
        self.store = RedisJobs(self.connection, StoreSettings(**store))
        self.storage = Storage(folder)
        self.storage.prepare()
        self.models = Models()
        self.executor = LocalExecutor(LocalSettings(**local), program_command)
        self.jobs = Jobs(self.store, self.storage)
        self.creating = Creating(
            self.store,
            Revisions(),
            Estimates(),
            self.models,
            {"local": self.executor},
            lambda: uuid.uuid4().hex,
            CreationLimits(**changes.pop("creation", {})),
        )
        self.artifacts = Artifacts(self.store, self.storage, self.models, Copies())
        training = TrainingWork(self.executor, LabelPreparer(), self.models, self.store, self.storage, 0)
        search = SearchWork(self.store, self.jobs, self.creating, self.models)
        places = {"local": Place(training, local.get("slots", 1)), "search": Place(search, 16)}
        self.scheduler = Scheduler(
            self.store,
            self.storage,
            places,
            changes.pop("name", "here"),
            SchedulerLimits(**limits),
            changes.pop("meter", None),
        )
        self.retention = Retention(self.store, self.jobs, [], 60.0)

    async def start(self, *, schedule: bool = True) -> None:
        await self.store.start()
        if schedule:
            self.scheduler.start()

    async def stop(self) -> None:
        await self.scheduler.stop()
        await self.store.close()
        await self.connection.close()

    async def create(self, request: Any) -> jobs_pb2.Job:
        return (await self.creating.create(request)).job

    async def get(self, job_uuid: str) -> jobs_pb2.Job:
        return await self.jobs.get(job_uuid)

    async def watched(self, job_uuid: str, from_sequence: int = 0, **changes: Any) -> list[jobs_pb2.JobEvent]:
        """All events up to the job's end."""
        request = post_training_pb2.WatchJobRequest(job_uuid=job_uuid, from_sequence=from_sequence, **changes)
        async with asyncio.timeout(30):
            return [event async for event in self.jobs.watch(request)]

    async def ended(self, job_uuid: str) -> jobs_pb2.Job:
        """The job when it has ended."""
        await self.watched(job_uuid)
        return await self.get(job_uuid)

    async def until(self, job_uuid: str, met: Callable[[jobs_pb2.Job], bool]) -> jobs_pb2.Job:
        """The job as soon as it is as wanted."""
        ends = time.monotonic() + 20
        while not met(job := await self.get(job_uuid)):
            assert time.monotonic() < ends, job
            await asyncio.sleep(0.02)
        return job

    def pids(self, job_uuid: str) -> list[int]:
        """The trainings' processes, oldest first."""
        path = self.storage.job(job_uuid) / "pids"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


async def add_dataset(connection: Connection) -> None:
    """Makes the data set with its revisions, as the part that owns data sets does."""
    text = (
        'redis.call("HSET", KEYS[1], "revision", 3) for _, r in ipairs(ARGV) do redis.call("HSET", KEYS[2], r, "x") end'
    )
    names = [keys.dataset(DATASET), keys.dataset_revisions(DATASET)]
    await connection.run(Script.of(text), names, ["1", "2", "3"])


@asynccontextmanager
async def replica(url: str, folder: Path, *, schedule: bool = True, **changes: Any) -> AsyncIterator[Replica]:
    """A replica that runs."""
    made = Replica(url, folder, **changes)
    await add_dataset(made.connection)
    await made.start(schedule=schedule)
    try:
        yield made
    finally:
        await made.stop()


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def eventually(met: Callable[[], Any], seconds: float = 10.0) -> None:
    """Waits until something is so."""
    ends = time.monotonic() + seconds
    while True:
        found = met()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)
