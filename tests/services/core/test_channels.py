import asyncio
import time
from typing import Any

import grpc

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from services.core.channels import call_timeout, open_channel
from services.core.context import RequestContext, current_request
from tests.services.core.loopback import Running, Scripted, chat_request, serving, stream_request

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_outside_a_call_a_timeout_is_what_was_asked_for() -> None:
    assert call_timeout(7) == 7


def through(behind: Running, timeouts: list[float]) -> Scripted:
    """A service that asks the one behind it."""

    async def chat(request: Any, context: Any) -> Any:
        timeouts.append(call_timeout(30))
        async with open_channel(behind.address) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            async for _ in stub.StreamChatCompletion(stream_request(), timeout=call_timeout(30)):
                pass
            return await stub.ChatCompletion(request, timeout=call_timeout(30), metadata=[("own", "kept")])

    return Scripted(chat)


async def test_request_id_trace_and_deadline_travel_on() -> None:
    seen: list[tuple[RequestContext, dict[str, Any]]] = []
    timeouts: list[float] = []

    async def chat(request: Any, context: Any) -> Any:
        seen.append((current_request(), dict(context.invocation_metadata())))
        return inference_pb2.ChatCompletionResponse()

    async with serving(Scripted(chat)) as behind, serving(through(behind, timeouts)) as running:
        await running.inference.ChatCompletion(
            chat_request(), timeout=9, metadata=[("x-request-id", "mine"), ("traceparent", PARENT)]
        )
    ((request, metadata),) = seen
    assert (request.request_id, request.trace_headers) == ("mine", {"traceparent": PARENT})
    assert metadata["own"] == "kept"
    assert 5 < timeouts[0] < 9.5
    assert request.deadline is not None
    assert request.deadline - time.monotonic() < 9.5


async def test_a_channel_comes_back_soon_after_a_restart() -> None:
    async with serving() as running:
        address = running.address
        channel = open_channel(address)
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        await stub.ChatCompletion(chat_request())
    async with channel:
        await asyncio.sleep(0.3)
        async with serving(listen=address):
            await stub.ChatCompletion(chat_request(), wait_for_ready=True, timeout=5)


async def test_messages_beyond_grpcs_default_pass() -> None:
    request = chat_request()
    request.messages[0].user.content.items[0].text = "x" * 5_000_000
    async with serving() as running, open_channel(running.address) as channel:
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        await stub.ChatCompletion(request)


async def test_a_unix_socket_can_be_called(tmp_path: Any) -> None:
    async with serving(listen=f"unix:{tmp_path}/socket") as running, open_channel(running.address) as channel:
        await inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(chat_request())
    assert isinstance(channel, grpc.aio.Channel)
