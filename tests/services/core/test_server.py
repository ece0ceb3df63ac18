import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from services.core.errors import FailedPreconditionError, UnavailableError
from services.core.server import Binding, ServiceServer
from services.core.settings import ServiceSettings
from tests.services.core.loopback import (
    SERVICE,
    FakeProvider,
    Scripted,
    chat_request,
    serving,
    stream_request,
    told,
)


def lasting(go_on: asyncio.Event) -> Scripted:
    """Streams begin at once and end when told."""

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield inference_pb2.StreamChatCompletionResponse()
        await go_on.wait()
        yield inference_pb2.StreamChatCompletionResponse()

    return Scripted(stream=stream)


async def test_a_drain_finishes_a_running_stream_and_refuses_new_calls() -> None:
    go_on, provider = asyncio.Event(), FakeProvider()
    async with serving(lasting(go_on), provider=provider, drain_seconds=30) as running:
        call = running.inference.StreamChatCompletion(stream_request())
        await call.read()
        draining = asyncio.create_task(running.server.drain())
        error = await _refusal(running.address)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert not draining.done()
        assert not provider.stopped
        go_on.set()
        assert await call.read() is not grpc.aio.EOF
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        async with asyncio.timeout(10):
            await draining
            await running.server.wait()
        assert provider.stopped


class _Told:
    """Notes what it is told."""

    def __init__(self, name: str, told: list[str], error: Exception | None = None) -> None:
        self._name, self._told, self._error = name, told, error

    async def close(self) -> None:
        self._told.append(self._name)
        if self._error is not None:
            raise self._error


async def test_a_drain_tells_the_provider_first_and_closes_the_rest_last_and_in_order() -> None:
    told: list[str] = []

    class Working(FakeProvider):
        async def drain(self) -> None:
            told.append("provider told")

        async def stop(self) -> None:
            told.append("provider stopped")

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield inference_pb2.StreamChatCompletionResponse()
        while "provider told" not in told:  # noqa: ASYNC110 - what is waited for sends no event
            await asyncio.sleep(0.01)
        told.append("call ended")

    parts = [_Told("first", told, RuntimeError("a defect")), _Told("second", told)]
    scripted = Scripted(stream=stream)
    async with serving(scripted, provider=Working(), drain_seconds=30, arguments={"closing": parts}) as running:
        call = running.inference.StreamChatCompletion(stream_request())
        await call.read()
        async with asyncio.timeout(10):
            await running.server.drain()
    assert told == ["provider told", "call ended", "provider stopped", "first", "second"]


async def test_a_provider_that_has_not_started_is_not_told_to_drain() -> None:
    told: list[str] = []

    class Slow(FakeProvider):
        async def start(self) -> None:
            await asyncio.sleep(600)

        async def drain(self) -> None:
            told.append("drain")

    async with serving(provider=Slow(), ready=False) as running:
        async with asyncio.timeout(10):
            await running.server.drain()
    assert told == []


async def _refusal(address: str) -> grpc.aio.AioRpcError:
    """Calls until the drain has begun to refuse."""
    async with asyncio.timeout(10), grpc.aio.insecure_channel(address) as channel:
        while True:
            try:
                await inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(chat_request())
            except grpc.aio.AioRpcError as error:
                return error


async def test_a_drain_ends_what_takes_too_long() -> None:
    async with serving(lasting(asyncio.Event()), drain_seconds=0.1) as running:
        call = running.inference.StreamChatCompletion(stream_request())
        await call.read()
        async with asyncio.timeout(10):
            await running.server.drain()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("delay", [0.0, 600.0])
async def test_a_stop_cuts_a_drain_short(delay: float) -> None:
    async with serving(lasting(asyncio.Event()), drain_seconds=600, drain_delay_seconds=delay) as running:
        call = running.inference.StreamChatCompletion(stream_request())
        await call.read()
        draining = asyncio.create_task(running.server.drain())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            await running.server.stop()
            await draining


async def test_during_the_delay_of_a_drain_calls_are_still_answered() -> None:
    async with serving(drain_seconds=1, drain_delay_seconds=0.3) as running:
        draining = asyncio.create_task(running.server.drain())
        await asyncio.sleep(0.05)
        health: Any = health_pb2_grpc.HealthStub(running.channel)
        status = (await health.Check(health_pb2.HealthCheckRequest())).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        await running.inference.ChatCompletion(chat_request())
        await draining


async def test_generic_handlers_are_not_asked_while_the_server_drains() -> None:
    class Everything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            async def answer(request: bytes, context: Any) -> bytes:
                return request

            return grpc.unary_unary_rpc_method_handler(answer)

    async with serving(drain_seconds=1, arguments={"generic_handlers": [Everything()]}) as running:
        call: Any = running.channel.unary_unary("/any.v1.Thing/Do")
        await call(b"abc")
        draining = asyncio.create_task(running.server.drain())
        await asyncio.sleep(0.05)
        error = await told(call(b"abc"))
        assert isinstance(error, UnavailableError)
        assert error.reason == "DRAINING"
        await draining


async def test_an_idle_reflection_stream_does_not_hold_a_drain_up() -> None:
    async with serving(drain_seconds=600) as running:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await call.read()
        async with asyncio.timeout(10):
            await running.server.drain()


async def test_reflection_lists_the_services_and_has_their_descriptors() -> None:
    async with serving(provider=FakeProvider()) as running:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        ]
        listed, file = [answer async for answer in stub.ServerReflectionInfo(iter(requests))]
    assert {service.name for service in listed.list_services_response.service} == {
        SERVICE,
        "caravan.providers.v1.ProviderService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert file.file_descriptor_response.file_descriptor_proto


async def test_a_provider_that_cannot_start_ends_the_wait() -> None:
    async def start() -> None:
        message = "no such model"
        raise FailedPreconditionError(message)

    provider = FakeProvider(start=start)
    async with serving(provider=provider, ready=False) as running:
        for wait in (running.server.wait_ready(), running.server.wait()):
            with pytest.raises(FailedPreconditionError, match="no such model"):
                await wait
        assert provider.stopped


async def test_a_stop_during_the_start_calls_the_start_off() -> None:
    called_off = asyncio.Event()

    async def start() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            called_off.set()
            raise

    provider = FakeProvider(start=start)
    async with serving(provider=provider, ready=False) as running:
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await running.server.stop()
    assert called_off.is_set()
    assert provider.stopped


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = ServiceServer(ServiceSettings(listen=address), [])
        with pytest.raises(FailedPreconditionError, match=address) as caught:
            await server.start()
        assert caught.value.reason == "CANNOT_LISTEN"
        await server.stop()


async def test_only_with_reuse_port_two_servers_share_a_port() -> None:
    async with serving(reuse_port=True) as first:
        async with serving(reuse_port=True, listen=first.address) as second:
            assert second.address == first.address
        with pytest.raises(FailedPreconditionError):
            async with serving(listen=first.address):
                pass


async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    async with serving(listen=f"unix:{tmp_path}/socket") as running:
        await running.inference.ChatCompletion(chat_request())


async def test_generic_handlers_get_what_no_binding_has() -> None:
    class Everything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            async def answer(request: bytes, context: Any) -> bytes:
                return request[::-1]

            return grpc.unary_unary_rpc_method_handler(answer)

    async with serving(arguments={"generic_handlers": [Everything()]}) as running:
        call: Any = running.channel.unary_unary("/any.v1.Thing/Do")
        assert await call(b"abc") == b"cba"
        await running.inference.ChatCompletion(chat_request())


async def test_interceptors_see_every_call() -> None:
    seen: list[str] = []

    class Seeing(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            seen.append(handler_call_details.method)
            return await continuation(handler_call_details)

    async with serving(arguments={"interceptors": [Seeing()]}) as running:
        await running.inference.ChatCompletion(chat_request())
    assert seen == [f"/{SERVICE}/ChatCompletion"]


async def test_rules_that_do_not_compile_keep_the_server_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(message_class: type) -> None:
        raise ValueError(message_class.__name__)

    monkeypatch.setattr("services.core.validation.prepare", wrong)
    add = inference_pb2_grpc.add_InferenceServiceServicer_to_server
    with pytest.raises(ValueError, match="Request"):
        await ServiceServer(ServiceSettings(), [Binding(SERVICE, add, Scripted())]).start()
