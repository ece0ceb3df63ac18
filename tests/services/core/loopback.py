"""A small service on loopback, scripted by the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from pydantic import BaseModel

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.providers.v1 import providers_pb2
from services.core.errors import CaravanError
from services.core.provider import Provider
from services.core.server import Binding, ServiceServer
from services.core.settings import ServiceSettings
from services.core.status import error_from_rpc

SERVICE = "caravan.inference.v1.InferenceService"


async def _answer(request: Any, context: Any) -> inference_pb2.ChatCompletionResponse:
    return inference_pb2.ChatCompletionResponse()


async def _stream(request: Any, context: Any) -> AsyncIterator[inference_pb2.StreamChatCompletionResponse]:
    for _ in range(3):
        yield inference_pb2.StreamChatCompletionResponse()


class Scripted(inference_pb2_grpc.InferenceServiceServicer):
    """An inference service that does what the test says; its other methods are those of the generated base class."""

    def __init__(
        self,
        chat: Callable[[Any, Any], Awaitable[Any]] = _answer,
        stream: Callable[[Any, Any], AsyncIterator[Any]] = _stream,
    ) -> None:
        self._chat = chat
        self._stream = stream

    async def ChatCompletion(self, request: Any, context: Any) -> Any:
        return await self._chat(request, context)

    async def StreamChatCompletion(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in self._stream(request, context):
            yield response


class FakeProvider(Provider):
    """A provider without an engine."""

    def __init__(self, config: BaseModel | None = None, start: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(provider_id="fake", provider_type="inline::fake", services=[SERVICE], config=config)
        self._start = start
        self.stopped = False

    async def start(self) -> None:
        if self._start is not None:
            await self._start()

    async def stop(self) -> None:
        self.stopped = True

    def resources(self) -> Sequence[providers_pb2.Resource]:
        resource = providers_pb2.Resource()
        resource.model.model_id = "own"
        return [resource]


@dataclass
class Running:
    """A server that runs, and a channel to it."""

    server: ServiceServer
    channel: grpc.aio.Channel
    address: str

    @property
    def inference(self) -> Any:
        return inference_pb2_grpc.InferenceServiceStub(self.channel)


@asynccontextmanager
async def serving(
    servicer: Any = None,
    *,
    provider: Provider | None = None,
    bindings: Sequence[Binding] | None = None,
    ready: bool = True,
    arguments: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Runs a server with the scripted service, in this process."""
    add = inference_pb2_grpc.add_InferenceServiceServicer_to_server
    bound = [Binding(SERVICE, add, servicer or Scripted())] if bindings is None else bindings
    settings.setdefault("drain_seconds", 0.0)
    server = ServiceServer(ServiceSettings(**settings), bound, provider, **(arguments or {}))
    await server.start()
    try:
        if ready:
            await server.wait_ready()
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield Running(server, channel, server.address)
    finally:
        await server.stop()


def chat_request(**fields: Any) -> inference_pb2.ChatCompletionRequest:
    """Returns a valid request."""
    request = inference_pb2.ChatCompletionRequest(model_id="m", **fields)
    request.messages.add().user.content.items.add().text = "hi"
    return request


def stream_request() -> inference_pb2.StreamChatCompletionRequest:
    """Returns a valid request."""
    return inference_pb2.StreamChatCompletionRequest.FromString(chat_request().SerializeToString())


async def eventually(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Waits until the condition holds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what is waited for sends no event
            await asyncio.sleep(0.002)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """Returns the error that a call ends with."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    message = "the call went well"
    raise AssertionError(message)


async def told(call: Any) -> CaravanError:
    """Returns what the server tells about a call that fails."""
    return error_from_rpc(await failure(call))
