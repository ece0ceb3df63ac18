"""Real trainings, run by the real service, outlive whatever is killed: to the last bit they make what an undisturbed one makes."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, post_training_pb2
from caravan.post_training.v1.training_pb2 import SupervisedFineTuneRequest
from services.post_training.trainer.checkpoints import describe_files
from tests.services.post_training.trainer.trainings import dialogs, tiny_llama
from tests.support.small_disk import small_disk
from tests.support.training_service import Curve, Service, Watch, command_of, training_service
from tests.support.valkey import ValkeyServer, valkey_server

pytestmark = pytest.mark.faults

STEPS = 100
COMPLETED, FAILED = jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_FAILED


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with valkey_server(durable=True) as server:
        yield server


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_llama(folder / "tiny")
    return folder


def serving(store: ValkeyServer, folder: Path, models: Path) -> AbstractContextManager[Service]:
    return training_service(store, folder, models, dialogs(24))


def begun(service: Service, models: Path, **config: Any) -> Watch:
    request = SupervisedFineTuneRequest(
        model=str(models / "tiny"),
        algorithm_config={"lora": {"rank": 4, "dropout": 0.1}},
        training_config={
            "n_iters": STEPS,
            "n_epochs": 1000,
            "checkpoint_interval_steps": 7,
            "optimizer_config": {"lr": 0.003, "lr_min": 0.0001, "num_warmup_steps": 4},
            "data_config": {"dataset_id": "rows", "batch_size": 4},
            **config,
        },
    )
    with service.jobs() as jobs:
        return Watch(service, jobs.SupervisedFineTune(request, timeout=60).job_uuid)


def adapter_digest(job: jobs_pb2.Job) -> str:
    (final,) = (one for one in job.checkpoints if one.is_final)
    return next(file.sha256 for file in final.files if file.path == "adapter_model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(store: ValkeyServer, models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Curve, str]:
    """Losses and result of a training that nobody disturbs."""
    with serving(store, tmp_path_factory.mktemp("undisturbed"), models) as service:
        watch = begun(service, models)
        job = watch.end()
        assert (job.status, job.attempts) == (COMPLETED, 1)
        assert list(watch.curve()) == list(range(1, STEPS + 1))
        return watch.curve(), adapter_digest(job)


def test_a_training_whose_trainer_service_and_store_are_killed_makes_the_same_model(
    store: ValkeyServer, models: Path, undisturbed: tuple[Curve, str], tmp_path: Path
) -> None:
    with serving(store, tmp_path, models) as service:
        watch = begun(service, models)
        watch.step(random.randint(3, 15))
        time.sleep(random.uniform(0, 0.05))
        os.kill(service.trainer(), signal.SIGKILL)
        watch.attempt(2)
        time.sleep(random.uniform(0, 0.3))
        trainer = service.trainer()
        service.kill()
        ends = time.monotonic() + 30
        while command_of(trainer):
            # It hears of it, and writes a checkpoint that nobody is told of.
            assert time.monotonic() < ends
            time.sleep(0.05)
        service.start()
        watch.attempt(3)
        store.kill()
        time.sleep(random.uniform(0.2, 1.0))
        store.start()
        job = watch.end()
        assert (job.status, job.attempts) == (COMPLETED, 3)
        assert (watch.curve(), adapter_digest(job)) == undisturbed


def test_a_disk_that_fills_up_fails_the_training_which_goes_on_when_there_is_room_again(
    store: ValkeyServer, models: Path, undisturbed: tuple[Curve, str], tmp_path: Path
) -> None:
    with small_disk(tmp_path, 64), serving(store, tmp_path, models) as service:
        watch = begun(service, models)
        watch.until(lambda event: event.HasField("checkpoint"))
        fill(tmp_path, leave=50_000)
        job = watch.end()
        assert (job.status, job.attempts) == (FAILED, 1)
        assert reason_of(job) == "DISK_FULL"
        assert "free some space" in job.error.message
        # What there was is whole, nothing half-written is left, and nothing is listed that is not there.
        folder = tmp_path / "jobs" / watch.uuid / "checkpoints"
        assert sorted(path.name for path in folder.iterdir()) == [one.identifier for one in job.checkpoints]
        assert all(is_whole(one) for one in job.checkpoints)
        (tmp_path / "filler").unlink()
        with service.jobs() as jobs:
            jobs.ResumeJob(post_training_pb2.ResumeJobRequest(job_uuid=watch.uuid), timeout=20)
        job = watch.end()
        assert (job.status, job.attempts) == (COMPLETED, 2)
        assert (watch.curve(), adapter_digest(job)) == undisturbed


def fill(disk: Path, leave: int) -> None:
    """Leaves so many bytes of a disk."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(free - leave))


def is_whole(checkpoint: checkpoints_pb2.Checkpoint) -> bool:
    found = checkpoints_pb2.Checkpoint()
    describe_files(Path(checkpoint.path), found)
    return found.sha256 == checkpoint.sha256 and list(found.files) == list(checkpoint.files)


def reason_of(job: jobs_pb2.Job) -> str:
    info = error_details_pb2.ErrorInfo()
    assert job.error.details[0].Unpack(info)
    return info.reason
