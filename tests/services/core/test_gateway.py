import asyncio
from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from services.core.errors import DeadlineExceededError, NotFoundError
from services.core.gateway import Gateway, GatewaySettings
from services.core.provider_data import PROVIDER_DATA_KEY
from tests.services.core.loopback import Running, Scripted, chat_request, serving, stream_request


def calls_on(behind: Running, seen: list[Any] | None = None) -> Scripted:
    """A service that asks the one behind it, as through a gateway."""

    async def chat(request: Any, context: Any) -> Any:
        gateway = Gateway(GatewaySettings(address=behind.address))
        stub: Any = inference_pb2_grpc.InferenceServiceStub(gateway.channel)
        try:
            if seen is not None:
                seen.extend([message async for message in gateway.stream(stub.StreamChatCompletion, stream_request())])
            return await gateway.call(stub.ChatCompletion, request, timeout=1)
        finally:
            await gateway.close()

    return Scripted(chat)


async def test_provider_data_travels_with_the_call_it_came_with() -> None:
    seen: list[dict[str, Any]] = []

    async def chat(request: Any, context: Any) -> Any:
        seen.append(dict(context.invocation_metadata()))
        return inference_pb2.ChatCompletionResponse()

    async with serving(Scripted(chat)) as behind, serving(calls_on(behind)) as running:
        await running.inference.ChatCompletion(chat_request(), metadata=[(PROVIDER_DATA_KEY, '{"key": "k"}')])
        await running.inference.ChatCompletion(chat_request())
    assert [metadata.get(PROVIDER_DATA_KEY) for metadata in seen] == ['{"key": "k"}', None]


async def test_a_stream_yields_what_the_other_service_sends() -> None:
    seen: list[Any] = []
    async with serving() as behind, serving(calls_on(behind, seen)) as running:
        await running.inference.ChatCompletion(chat_request())
    assert len(seen) == 3


async def test_the_other_services_error_keeps_its_reason_and_details() -> None:
    async def chat(request: Any, context: Any) -> Any:
        raise NotFoundError("no such model", resource_type="model", resource_name="m", reason="MODEL_NOT_FOUND")

    async with serving(Scripted(chat)) as behind:
        gateway = Gateway(GatewaySettings(address=behind.address))
        stub: Any = inference_pb2_grpc.InferenceServiceStub(gateway.channel)
        with pytest.raises(NotFoundError) as refused:
            await gateway.call(stub.ChatCompletion, chat_request())
        await gateway.close()
    assert (refused.value.reason, refused.value.resource_name) == ("MODEL_NOT_FOUND", "m")


async def test_a_call_ends_with_its_deadline() -> None:
    async def chat(request: Any, context: Any) -> Any:
        await asyncio.sleep(30)

    async with serving(Scripted(chat)) as behind:
        gateway = Gateway(GatewaySettings(address=behind.address))
        stub: Any = inference_pb2_grpc.InferenceServiceStub(gateway.channel)
        with pytest.raises(DeadlineExceededError):
            await gateway.call(stub.ChatCompletion, chat_request(), timeout=0.2)
        await gateway.close()
