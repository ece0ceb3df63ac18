"""What watching and listing jobs takes: the real service, a training of a tiny model, a real store."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import redis

from caravan.post_training.v1 import jobs_pb2, post_training_pb2, post_training_pb2_grpc, training_pb2
from tests.services.post_training.trainer.trainings import dialogs, tiny_llama
from tests.support.training_service import copy_job, training_service
from tests.support.valkey import valkey_server

_STEPS = 200
_PAGE = 1000
_ROUNDS = 5


@dataclass
class Figures:
    """What was measured."""

    delays: list[float] = field(default_factory=list)
    """Seconds from when a training said something until its watcher read it."""
    listing: list[float] = field(default_factory=list)
    """Seconds that all finished jobs took to be listed, once each round."""


def measure(folder: Path, count: int) -> Figures:
    """Measures.

    Args:
        folder: Where everything is written.
        count: Number of finished jobs that are listed.
    """
    tiny_llama(folder / "models" / "tiny")
    with (
        valkey_server(durable=True) as store,
        training_service(store, folder / "storage", folder / "models", dialogs(64)) as service,
        service.jobs() as jobs,
    ):
        uuid = _train(jobs, folder / "models" / "tiny")
        delays = _delays(jobs, uuid)
        with redis.Redis(port=store.port) as client:
            copy_job(client, uuid, count)
        return Figures(delays, [_listed(jobs, count) for _ in range(_ROUNDS)])


def _train(jobs: post_training_pb2_grpc.PostTrainingServiceStub, model: Path) -> str:
    request = training_pb2.SupervisedFineTuneRequest(
        model=str(model),
        algorithm_config={"lora": {"rank": 4}},
        training_config={
            "n_iters": _STEPS,
            "n_epochs": 1000,
            "checkpoint_interval_steps": 50,
            "data_config": {"dataset_id": "rows", "batch_size": 8},
        },
    )
    uuid: str = jobs.SupervisedFineTune(request, timeout=60).job_uuid
    return uuid


def _delays(jobs: post_training_pb2_grpc.PostTrainingServiceStub, uuid: str) -> list[float]:
    """Follows a job to its end. Progress is left out: it is told once a second on purpose."""
    kinds = [post_training_pb2.JOB_EVENT_KIND_METRICS, post_training_pb2.JOB_EVENT_KIND_LOG]
    found = []
    for response in jobs.WatchJob(post_training_pb2.WatchJobRequest(job_uuid=uuid, kinds=kinds), timeout=120):
        event = response.event
        if event.HasField("end"):
            assert event.end.job.status == jobs_pb2.JOB_STATUS_COMPLETED, event.end.job.status_reason
            break
        found.append(time.time() - event.timestamp.ToNanoseconds() / 1e9)
    return found


def _listed(jobs: post_training_pb2_grpc.PostTrainingServiceStub, count: int) -> float:
    began, token, found = time.perf_counter(), "", 0
    while True:
        page = jobs.ListJobs(post_training_pb2.ListJobsRequest(page_size=_PAGE, page_token=token), timeout=60)
        found += len(page.data)
        token = page.next_page_token
        if not token:
            break
    took = time.perf_counter() - began
    assert found == count
    return took
