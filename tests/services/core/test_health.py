import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.core.errors import InvalidArgumentError, NotFoundError
from tests.services.core.loopback import SERVICE, FakeProvider, serving, told

PROVIDER_SERVICE = "caravan.providers.v1.ProviderService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def health(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


def asked(service: str = "") -> Any:
    return health_pb2.HealthCheckRequest(service=service)


async def status(channel: grpc.aio.Channel, service: str = "") -> int:
    return (await health(channel).Check(asked(service))).status


async def test_it_listens_before_the_provider_has_started_and_does_not_serve() -> None:
    started = asyncio.Event()
    async with serving(provider=FakeProvider(start=started.wait), ready=False) as running:
        assert await status(running.channel) == NOT_SERVING
        assert await status(running.channel, SERVICE) == NOT_SERVING
        assert await status(running.channel, PROVIDER_SERVICE) == SERVING
        started.set()
        await running.server.wait_ready()
        assert await status(running.channel) == SERVING
        assert await status(running.channel, SERVICE) == SERVING


async def test_it_follows_the_providers_readiness() -> None:
    provider = FakeProvider()
    async with serving(provider=provider) as running:
        provider.readiness.set_not_ready("the engine died")
        assert await status(running.channel, SERVICE) == NOT_SERVING
        provider.readiness.set_ready()
        assert await status(running.channel, SERVICE) == SERVING


async def test_a_provider_that_goes_on_starting_is_not_serving() -> None:
    provider = FakeProvider()

    async def start() -> None:
        provider.readiness.set_not_ready("loading")

    provider._start = start
    async with serving(provider=provider, ready=False) as running:
        await asyncio.sleep(0.01)
        assert await status(running.channel) == NOT_SERVING
        provider.readiness.set_ready()
        await running.server.wait_ready()
        assert await status(running.channel) == SERVING


async def test_a_watch_sees_every_change_and_ends_with_the_drain() -> None:
    provider = FakeProvider()
    async with serving(provider=provider, drain_seconds=30) as running:
        watch = health(running.channel).Watch(asked(SERVICE))
        assert (await watch.read()).status == SERVING
        provider.readiness.set_not_ready("busy")
        assert (await watch.read()).status == NOT_SERVING
        provider.readiness.set_ready()
        assert (await watch.read()).status == SERVING
        async with asyncio.timeout(10):
            await running.server.drain()
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF


async def test_an_unknown_service_is_not_found_but_can_be_watched() -> None:
    async with serving() as running:
        error = await told(health(running.channel).Check(asked("nonsense")))
        assert isinstance(error, NotFoundError)
        assert (error.resource_type, error.resource_name) == ("service", "nonsense")
        watch = health(running.channel).Watch(asked("nonsense"))
        assert (await watch.read()).status == UNKNOWN
        watch.cancel()


async def test_all_services_are_listed() -> None:
    async with serving(provider=FakeProvider()) as running:
        statuses = (await health(running.channel).List(health_pb2.HealthListRequest())).statuses  # type: ignore[attr-defined]
        assert {name: found.status for name, found in statuses.items()} == dict.fromkeys(
            ["", SERVICE, PROVIDER_SERVICE], SERVING
        )


@pytest.mark.parametrize(
    "method", ["grpc.health.v1.Health/Check", "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
)
async def test_bytes_that_are_no_request_are_an_invalid_argument(method: str) -> None:
    async with serving() as running:
        stub: Any = running.channel.stream_stream(f"/{method}")
        assert isinstance(await told(stub(iter([b"\xff"]))), InvalidArgumentError)
