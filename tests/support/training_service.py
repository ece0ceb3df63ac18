"""The post-training service as a process that may be killed and started again, and what its jobs say meanwhile."""

import json
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import redis

from caravan.datasets.v1 import datasets_pb2, datasets_pb2_grpc
from caravan.post_training.v1 import jobs_pb2, post_training_pb2, post_training_pb2_grpc
from services.post_training import keys
from services.post_training.executors import processes
from tests.support.processes import ServiceProcess
from tests.support.stack import free_address
from tests.support.valkey import ValkeyServer

Curve = dict[int, float]


@dataclass
class Service:
    """The service, which may be killed and started again at the same address; its jobs train a tiny model."""

    store: ValkeyServer
    folder: Path
    models: Path
    address: str = field(default_factory=free_address)
    process: ServiceProcess | None = None

    def start(self) -> None:
        settings: dict[str, Any] = {
            "CONNECTION": {"redis_url": self.store.url},
            "STORAGE_DIR": str(self.folder),
            # Nothing is put into service here.
            "GATEWAY": {"address": "127.0.0.1:9"},
            "PLANNING": {"model_folders": [str(self.models)], "hub": False},
            "LOCAL": {"reserve_bytes": 0, "watch_seconds": 0.2},
            "LEASE_SECONDS": 2.0,
            "SCAN_SECONDS": 0.3,
        }
        environment = {
            f"CARAVAN_{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in settings.items()
        }
        self.process = ServiceProcess("services.post_training", "--listen", self.address, environment=environment)
        self.process.wait_for("serving", 60)

    def kill(self) -> None:
        """As if its machine had lost power, but for its trainings."""
        assert self.process is not None
        self.process.send(signal.SIGKILL)
        self.process.wait()
        self.process.stop()

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def trainer(self) -> int:
        """Process id of the training that runs."""
        assert self.process is not None
        found = [pid for pid in processes.tree(self.process.pid) if b"post_training.trainer" in command_of(pid)]
        assert len(found) == 1, found
        return found[0]

    @contextmanager
    def jobs(self) -> Iterator[post_training_pb2_grpc.PostTrainingServiceStub]:
        with grpc.insecure_channel(self.address) as channel:
            yield post_training_pb2_grpc.PostTrainingServiceStub(channel)

    def get(self, uuid: str) -> jobs_pb2.Job:
        with self.jobs() as jobs:
            return jobs.GetJobStatus(post_training_pb2.GetJobStatusRequest(job_uuid=uuid), timeout=20).job


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Watch:
    """What a job says, over whatever happens to the service that tells it."""

    def __init__(self, service: Service, uuid: str) -> None:
        self.service, self.uuid = service, uuid
        self.events: list[jobs_pb2.JobEvent] = []

    def until(self, met: Callable[[jobs_pb2.JobEvent], bool], seconds: float = 90.0) -> jobs_pb2.JobEvent:
        """Reads on to an event, over broken connections; each number comes once."""
        ends = time.monotonic() + seconds
        while True:
            try:
                with self.service.jobs() as jobs:
                    request = post_training_pb2.WatchJobRequest(job_uuid=self.uuid, from_sequence=len(self.events) + 1)
                    for response in jobs.WatchJob(request, timeout=ends - time.monotonic()):
                        self.events.append(response.event)
                        assert response.event.sequence == len(self.events)
                        if met(response.event):
                            return response.event
                raise AssertionError(f"the job ended: {self.service.get(self.uuid).status_reason}")
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > ends:
                    raise
                time.sleep(0.1)

    def step(self, number: int) -> None:
        """Reads on to a step."""
        self.until(lambda event: event.metrics.step >= number)

    def attempt(self, number: int) -> None:
        """Reads on to the first step of an attempt."""
        self.until(lambda event: event.state.status == jobs_pb2.JOB_STATUS_IN_PROGRESS)
        assert self.service.get(self.uuid).attempts == number
        self.until(lambda event: event.HasField("metrics"))

    def end(self) -> jobs_pb2.Job:
        """Reads on to the end; returns the job with its checkpoints."""
        self.until(lambda event: event.HasField("end"))
        return self.service.get(self.uuid)

    def curve(self) -> Curve:
        """The losses by step; one that was told twice was told alike."""
        told = [
            (event.metrics.step, event.metrics.metrics["loss"]) for event in self.events if event.HasField("metrics")
        ]
        curve = dict(told)
        assert all(curve[step] == loss for step, loss in told)
        return curve


@contextmanager
def training_service(
    store: ValkeyServer, folder: Path, models: Path, dialogs: Sequence[dict[str, Any]]
) -> Iterator[Service]:
    """Runs the service with one data set, `rows`.

    Args:
        store: Its store, which is emptied.
        folder: Its storage.
        models: Folder of the models that it may train.
        dialogs: The rows.
    """
    store.flush()
    service = Service(store, folder, models)
    service.start()
    try:
        with grpc.insecure_channel(service.address) as channel:
            rows = [json.dumps(row) for row in dialogs]
            wanted = datasets_pb2.CreateDatasetRequest(
                dataset_id="rows", format=datasets_pb2.DATASET_FORMAT_DIALOG, source={"rows": {"rows_json": rows}}
            )
            datasets_pb2_grpc.DatasetsServiceStub(channel).CreateDataset(wanted)
        yield service
    finally:
        service.stop()


def copy_job(client: "redis.Redis[bytes]", job_uuid: str, count: int) -> None:
    """Fills a store with finished jobs, by copies of one.

    Args:
        client: The store.
        job_uuid: A job that has ended.
        count: Number of jobs that there are then.
    """
    fields = cast("dict[bytes, bytes]", client.hgetall(keys.job(job_uuid)))
    made = jobs_pb2.Job.FromString(fields[b"job"])
    created, sequence = int(fields[b"created"]), int(fields[b"sequence"])
    with client.pipeline(transaction=False) as pipeline:
        for number in range(1, count):
            made.job_uuid = uuid.UUID(int=number).hex
            made.scheduled_at.FromMicroseconds(created - number)
            shown = jobs_pb2.Job(last_sequence=sequence)
            shown.MergeFrom(made)
            pipeline.hset(keys.ENDED_JOBS, made.job_uuid, shown.SerializeToString())
            copy = {**fields, b"job": made.SerializeToString(), b"created": created - number}
            pipeline.hset(keys.job(made.job_uuid), mapping=copy)
            for index in (keys.JOBS, keys.jobs_of_status(made.status)):
                pipeline.zadd(index, {made.job_uuid: created - number})
        pipeline.execute()
