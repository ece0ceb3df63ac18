"""The adapter as callers meet it: over gRPC, behind everything that surrounds a call."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from services.inference.app import build
from services.inference.settings import InferenceSettings
from tests.services.inference.conversation import user
from tests.services.inference.providers.remote_openai.test_answers import chat_answer
from tests.support.eventually import until
from tests.support.openai_server import OpenAIServer, answer, stream


@asynccontextmanager
async def serving(url: str, **config: Any) -> AsyncIterator[grpc.aio.Channel]:
    """Runs the inference service over a provider of the server at `url`."""
    provider = {"type": "remote::openai", "base_url": url, **config}
    server = build(
        InferenceSettings.model_validate({"provider": provider, "provider_id": "remote", "drain_seconds": 0.0})
    )
    await server.start()
    try:
        await server.wait_ready()
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield channel
    finally:
        await server.stop()


def request() -> inference_pb2.ChatCompletionRequest:
    return inference_pb2.ChatCompletionRequest(model_id="m", messages=[user("hi")])


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The google.rpc details of an error by their message's name."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found = {}
    for packed in status.details:
        message = getattr(error_details_pb2, packed.TypeName().rsplit(".", 1)[-1])()
        packed.Unpack(message)
        found[packed.TypeName().rsplit(".", 1)[-1]] = message
    return found


async def test_a_call_brings_its_key_and_its_trace(server: OpenAIServer):
    server.will(answer(chat_answer({"content": "fine"})))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = [
        ("caravan-provider-data", json.dumps({"api_key": "mine"})),
        ("traceparent", trace),
        ("x-request-id", "r-17"),
    ]
    async with serving(server.url, allow_request_credentials=True, api_key="operators") as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        await stub.ChatCompletion(request(), metadata=metadata)
        assert server.last.headers["Authorization"] == "Bearer mine"
        assert server.last.headers["X-Request-Id"].startswith("r-17-")
        assert server.last.headers["traceparent"].split("-")[1] == trace.split("-")[1]
        await stub.ChatCompletion(request())
        assert server.last.headers["Authorization"] == "Bearer operators"


async def test_errors_carry_their_details(server: OpenAIServer):
    async with serving(server.url) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)

        async def failed() -> grpc.aio.AioRpcError:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ChatCompletion(request())
            return caught.value

        server.will(answer({"error": "slow down"}, 429, Retry_After="30"))
        busy = await failed()
        assert busy.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details(busy)["RetryInfo"].retry_delay.seconds == 30
        server.will(answer({"error": {"message": "too hot", "param": "temperature"}}, 400))
        wrong = await failed()
        assert wrong.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details(wrong)["BadRequest"].field_violations[0].field == "sampling_params.strategy"
        server.will(answer({"error": "?"}, 401))
        refused = await failed()
        assert refused.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert details(refused)["ErrorInfo"].reason == "PROVIDER_CREDENTIALS"


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_caller_who_leaves_takes_the_http_stream_along(server: OpenAIServer, how: str):
    piece = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
    server.will(stream(piece, done=False, end="hang"))
    async with serving(server.url) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        wanted = inference_pb2.StreamChatCompletionRequest(model_id="m", messages=[user("hi")])
        call = stub.StreamChatCompletion(wanted, timeout=0.5 if how == "deadline" else None)
        assert (await call.read()).HasField("start")
        if how == "cancel":
            call.cancel()
        await until(server.gone.is_set, 2.0)
        await asyncio.wait([asyncio.ensure_future(call.code())])


async def test_the_provider_describes_itself_without_its_key(server: OpenAIServer):
    async with serving(server.url, api_key="hush-hush") as channel:
        stub = providers_pb2_grpc.ProviderServiceStub(channel)
        described = await stub.DescribeProvider(providers_pb2.DescribeProviderRequest())
    assert described.provider_type == "remote::openai"
    assert {resource.model.model_id for resource in described.resources} == {"m", "text-embed"}
    assert described.config["api_key"] == "********"
    assert "hush" not in str(described)
