"""A real training on a cluster: the service asks an API on loopback for a TrainJob, whose pod is torchrun with the trainer."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from caravan.datasets.v1 import datasets_pb2, datasets_pb2_grpc
from caravan.post_training.v1 import jobs_pb2, post_training_pb2, post_training_pb2_grpc, training_pb2
from services.core.gateway import GatewaySettings
from services.core.redis.connection import ConnectionSettings
from services.post_training.app import build
from services.post_training.executors.train_jobs.settings import KubernetesSettings
from services.post_training.settings import PostTrainingSettings
from tests.services.post_training.jobs.world import eventually
from tests.services.post_training.trainer.trainings import dialogs, tiny_llama
from tests.support.kubernetes_cluster import KubernetesCluster, kubernetes_cluster
from tests.support.valkey import valkey_server

STEPS = 80


@pytest.fixture
def cluster() -> Iterator[KubernetesCluster]:
    with kubernetes_cluster() as running:
        yield running


@pytest.fixture
async def channel(cluster: KubernetesCluster, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """The service, whose storage every pod sees; the base model is in it."""
    tiny_llama(tmp_path / "storage" / "bases" / "tiny")
    with valkey_server() as store:
        settings = PostTrainingSettings(
            connection=ConnectionSettings(redis_url=store.url),  # type: ignore[arg-type]
            storage_dir=tmp_path / "storage",
            gateway=GatewaySettings(address="127.0.0.1:9"),
            planning={"model_folders": [str(tmp_path / "storage" / "bases")], "hub": False},  # type: ignore[arg-type]
            executor="kubernetes",
            local={"slots": 0, "reserve_bytes": 0},  # type: ignore[arg-type]
            kubernetes=KubernetesSettings(
                namespace="trainings",
                image="caravan-post-training:1",
                storage_claim="storage",
                cpu="1",
                kubeconfig=cluster.kubeconfig(tmp_path),
                poll_seconds=0.1,
                grace_seconds=60,
            ),
        )
        made = build(settings)
        await made.start()
        await made.wait_ready()
        async with grpc.aio.insecure_channel(made.address) as opened:
            yield opened
        await made.stop()


@pytest.mark.slow
async def test_a_training_on_a_cluster_is_paused_and_goes_on_in_another_train_job(
    channel: grpc.aio.Channel, cluster: KubernetesCluster, tmp_path: Path
) -> None:
    jobs = post_training_pb2_grpc.PostTrainingServiceStub(channel)
    rows = [json.dumps(row) for row in dialogs(16)]
    await datasets_pb2_grpc.DatasetsServiceStub(channel).CreateDataset(
        datasets_pb2.CreateDatasetRequest(
            dataset_id="rows", format=datasets_pb2.DATASET_FORMAT_DIALOG, source={"rows": {"rows_json": rows}}
        )
    )
    request = training_pb2.SupervisedFineTuneRequest(
        model=str(tmp_path / "storage" / "bases" / "tiny"),
        algorithm_config={"lora": {"rank": 4}},
        training_config={
            "n_iters": STEPS,
            "n_epochs": 100,
            "data_config": {"dataset_id": "rows", "batch_size": 4},
            "checkpoint_interval_steps": 10,
        },
    )
    uuid = (await jobs.SupervisedFineTune(request)).job_uuid
    told: list[jobs_pb2.JobEvent] = []
    async for response in jobs.WatchJob(post_training_pb2.WatchJobRequest(job_uuid=uuid)):
        event = response.event
        told.append(event)
        if event.metrics.step == 3:
            await jobs.PauseJob(post_training_pb2.PauseJobRequest(job_uuid=uuid))
        if event.state.status == jobs_pb2.JOB_STATUS_PAUSED:
            await jobs.ResumeJob(post_training_pb2.ResumeJobRequest(job_uuid=uuid))
    job = (await jobs.GetJobStatus(post_training_pb2.GetJobStatusRequest(job_uuid=uuid))).job
    assert (job.status, job.attempts) == (jobs_pb2.JOB_STATUS_COMPLETED, 2), job.status_reason
    steps = [event.metrics.step for event in told if event.HasField("metrics")]
    assert steps == list(range(1, STEPS + 1)), "what was done before the pause is not done again"
    assert job.checkpoints[-1].is_final
    assert (Path(job.checkpoints[-1].path) / "adapter_model.safetensors").is_file()
    assert [one["metadata"]["name"][-2:] for one in cluster.created] == ["-1", "-2"]
    await eventually(lambda: not cluster.train_jobs and not cluster.pods)
