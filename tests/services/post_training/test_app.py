"""The service as a whole: what a client sees of jobs over gRPC, and when it says that it can answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from caravan.datasets.v1 import datasets_pb2, datasets_pb2_grpc
from caravan.post_training.v1 import post_training_pb2, post_training_pb2_grpc, training_pb2
from services.core.gateway import GatewaySettings
from services.core.redis.connection import ConnectionSettings
from services.core.server import ServiceServer
from services.post_training.app import build
from services.post_training.settings import PostTrainingSettings
from tests.services.post_training.jobs.world import eventually
from tests.support.processes import CHAT_MODEL
from tests.support.valkey import ValkeyServer, valkey_server

POST_TRAINING = "caravan.post_training.v1.PostTrainingService"
ROW = '{"dialog": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture
async def service(server: ValkeyServer, tmp_path: Path) -> AsyncIterator[ServiceServer]:
    """The service; no gateway is there."""
    settings = PostTrainingSettings(
        connection=ConnectionSettings(redis_url=server.url, retry_seconds=0.5),  # type: ignore[arg-type]
        storage_dir=tmp_path,
        gateway=GatewaySettings(address="127.0.0.1:9"),
        planning={"model_folders": [str(CHAT_MODEL.parent)], "hub": False},  # type: ignore[arg-type]
        local={"slots": 0},  # type: ignore[arg-type]
    )
    made = build(settings)
    await made.start()
    await made.wait_ready()
    try:
        yield made
    finally:
        await made.stop()


@pytest.fixture
async def channel(service: ServiceServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(service.address) as channel:
        yield channel


def training(**changes: Any) -> training_pb2.SupervisedFineTuneRequest:
    data = {"data_config": {"dataset_id": "rows"}}
    return training_pb2.SupervisedFineTuneRequest(**{"model": str(CHAT_MODEL), "training_config": data, **changes})


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_request_that_cannot_be_is_refused_before_there_is_a_job(channel: grpc.aio.Channel) -> None:
    stub = post_training_pb2_grpc.PostTrainingServiceStub(channel)
    sets = datasets_pb2_grpc.DatasetsServiceStub(channel)
    unknown = await refused(stub.SupervisedFineTune(training()))
    assert (unknown.code(), "rows" in (unknown.details() or "")) == (grpc.StatusCode.NOT_FOUND, True)
    await sets.CreateDataset(
        datasets_pb2.CreateDatasetRequest(
            dataset_id="rows",
            format=datasets_pb2.DATASET_FORMAT_DIALOG,
            source={"rows": {"rows_json": [ROW]}},
        )
    )
    nowhere = await refused(stub.SupervisedFineTune(training()))
    assert (nowhere.code(), "no training runs" in (nowhere.details() or "")) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        True,
    )
    cluster = await refused(stub.SupervisedFineTune(training(executor={"kubernetes": {}})))
    assert cluster.code() == grpc.StatusCode.FAILED_PRECONDITION
    malformed = await refused(stub.SupervisedFineTune(training(job_uuid="../x")))
    assert (malformed.code(), "job_uuid" in (malformed.details() or "")) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    listed = await stub.ListJobs(post_training_pb2.ListJobsRequest())
    assert not listed.data


async def test_what_is_not_there_is_told_by_its_name(channel: grpc.aio.Channel) -> None:
    stub = post_training_pb2_grpc.PostTrainingServiceStub(channel)
    for call in (
        stub.GetJobStatus(post_training_pb2.GetJobStatusRequest(job_uuid="none")),
        stub.CancelJob(post_training_pb2.CancelJobRequest(job_uuid="none")),
        stub.DeleteJob(post_training_pb2.DeleteJobRequest(job_uuid="none")),
        stub.GetJobArtifacts(post_training_pb2.GetJobArtifactsRequest(job_uuid="none")),
        stub.GetCheckpoint(post_training_pb2.GetCheckpointRequest(job_uuid="none", identifier="final")),
        stub.ListCheckpoints(post_training_pb2.ListCheckpointsRequest(job_uuid="none")),
    ):
        error = await refused(call)
        assert (error.code(), "none" in (error.details() or "")) == (grpc.StatusCode.NOT_FOUND, True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.WatchJob(post_training_pb2.WatchJobRequest(job_uuid="none")):
            pass
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_it_serves_only_while_its_store_answers(channel: grpc.aio.Channel, server: ValkeyServer) -> None:
    health = health_pb2_grpc.HealthStub(channel)

    async def status() -> int:
        return int((await health.Check(health_pb2.HealthCheckRequest(service=POST_TRAINING))).status)

    assert await status() == health_pb2.HealthCheckResponse.SERVING
    await asyncio.to_thread(server.kill)
    for wanted in (health_pb2.HealthCheckResponse.NOT_SERVING, health_pb2.HealthCheckResponse.SERVING):
        for _ in range(200):
            if await status() == wanted:
                break
            await asyncio.sleep(0.05)
        assert await status() == wanted
        if wanted == health_pb2.HealthCheckResponse.NOT_SERVING:
            stub = post_training_pb2_grpc.PostTrainingServiceStub(channel)
            error = await refused(stub.ListJobs(post_training_pb2.ListJobsRequest()))
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            await asyncio.to_thread(server.start)


async def test_it_serves_only_while_its_folder_can_be_written_to(
    channel: grpc.aio.Channel, service: ServiceServer, tmp_path: Path
) -> None:
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").write_text("in the way")
    assert service.provider is not None
    readiness = service.provider.readiness
    await eventually(lambda: not readiness.ready)
    assert "storage_dir" in readiness.reason
    (tmp_path / "spool").unlink()
    await eventually(lambda: readiness.ready)
