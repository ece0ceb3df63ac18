import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from services.core.channels import open_channel
from services.core.context import RequestContext, current_request
from services.core.errors import UnavailableError
from services.core.telemetry import client_interceptors
from tests.services.core.loopback import SERVICE, FakeProvider, Scripted, chat_request, failure, serving, stream_request
from tests.support.otlp import OtlpSink, otlp_sink

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with otlp_sink() as collector:
        yield collector


async def test_a_call_becomes_a_span_below_its_callers(sink: OtlpSink) -> None:
    async with serving(otlp_endpoint=sink.endpoint, provider_id="replica") as running:
        await running.inference.ChatCompletion(chat_request(), metadata=[("traceparent", PARENT)])
    span = sink.wait_for_span(f"{SERVICE}/ChatCompletion")
    assert (span.kind, span.trace_id, span.parent_span_id) == (2, TRACE, "b7ad6b7169203331")
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "ChatCompletion",
        "rpc.grpc.status_code": 0,
    }
    assert span.resource["service.name"] == "caravan-inference"
    assert span.resource["service.instance.id"] == "replica"


async def test_the_handler_hands_its_own_span_on(sink: OtlpSink) -> None:
    seen: list[RequestContext] = []

    async def chat(request: Any, context: Any) -> Any:
        seen.append(current_request())
        return inference_pb2.ChatCompletionResponse()

    async with serving(Scripted(chat), otlp_endpoint=sink.endpoint) as running:
        await running.inference.ChatCompletion(chat_request())
    span = sink.wait_for_span("ChatCompletion")
    assert seen[0].trace_headers["traceparent"].startswith(f"00-{span.trace_id}-{span.span_id}-")


async def test_a_failure_is_marked_with_its_reason(sink: OtlpSink) -> None:
    async def chat(request: Any, context: Any) -> Any:
        message = "later"
        raise UnavailableError(message, reason="QUEUE_FULL")

    async with serving(Scripted(chat), otlp_endpoint=sink.endpoint) as running:
        await failure(running.inference.ChatCompletion(chat_request()))
    span = sink.wait_for_span("ChatCompletion")
    assert (span.status, span.attributes["error.type"], span.attributes["rpc.grpc.status_code"]) == (
        2,
        "QUEUE_FULL",
        14,
    )


async def test_a_cancelled_call_ends_its_span(sink: OtlpSink) -> None:
    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield inference_pb2.StreamChatCompletionResponse()
        await asyncio.Event().wait()

    async with serving(Scripted(stream=stream), otlp_endpoint=sink.endpoint) as running:
        call = running.inference.StreamChatCompletion(stream_request())
        await call.read()
        call.cancel()
    assert sink.wait_for_span("StreamChatCompletion").attributes["rpc.grpc.status_code"] == 1


async def test_calls_are_measured(sink: OtlpSink) -> None:
    async with serving(otlp_endpoint=sink.endpoint) as running:
        await running.inference.ChatCompletion(chat_request())
        async for _ in running.inference.StreamChatCompletion(stream_request()):
            pass
    methods = {point["rpc.method"] for point in sink.metrics["rpc.server.duration"]}
    assert methods == {"ChatCompletion", "StreamChatCompletion"}
    assert [point["rpc.method"] for point in sink.metrics["rpc.server.responses_per_rpc"]] == ["StreamChatCompletion"]
    assert "rpc.server.active_requests" in sink.metrics


async def test_neither_contents_nor_credentials_are_exported(sink: OtlpSink) -> None:
    request = chat_request()
    request.messages[0].user.content.items[0].text = "hunter2"
    metadata = [("authorization", "Bearer hunter2"), ("caravan-provider-data", '{"key": "hunter2"}')]

    async def chat(request: Any, context: Any) -> Any:
        raise ValueError(request.messages[0].user.content.items[0].text)

    async with serving(Scripted(chat), otlp_endpoint=sink.endpoint) as running:
        await failure(running.inference.ChatCompletion(request, metadata=metadata))
    sink.wait_for_span("ChatCompletion")
    assert sink.raw
    assert not any(b"hunter2" in raw for raw in sink.raw)


async def test_plumbing_is_not_traced(sink: OtlpSink) -> None:
    async with serving(provider=FakeProvider(), otlp_endpoint=sink.endpoint) as running:
        await failure(running.channel.unary_unary("/grpc.health.v1.Health/Nonsense")(b""))
        # The gateway asks it every second.
        await running.channel.unary_unary("/caravan.providers.v1.ProviderService/DescribeProvider")(b"")
        await running.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        await running.inference.ChatCompletion(chat_request())
    sink.wait_for_span("ChatCompletion")
    assert [span.name for span in sink.spans] == [f"{SERVICE}/ChatCompletion"]


async def test_a_sampled_out_call_is_not_exported_but_its_trace_goes_on(sink: OtlpSink) -> None:
    seen: list[RequestContext] = []

    async def chat(request: Any, context: Any) -> Any:
        seen.append(current_request())
        return inference_pb2.ChatCompletionResponse()

    async with serving(Scripted(chat), otlp_endpoint=sink.endpoint) as running:
        await running.inference.ChatCompletion(chat_request(), metadata=[("traceparent", PARENT[:-2] + "00")])
    assert seen[0].trace_headers["traceparent"].startswith(f"00-{TRACE}-")
    assert seen[0].trace_headers["traceparent"].endswith("-00")
    assert sink.spans == []


async def test_a_collector_that_is_away_holds_the_stop_up_for_a_moment_only() -> None:
    began = time.monotonic()
    async with serving(otlp_endpoint="http://127.0.0.1:9") as running:
        await running.inference.ChatCompletion(chat_request())
    assert time.monotonic() - began < 10


async def test_an_outgoing_call_becomes_a_client_span() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    seen: list[RequestContext] = []

    async def chat(request: Any, context: Any) -> Any:
        seen.append(current_request())
        return inference_pb2.ChatCompletionResponse()

    async with serving(Scripted(chat)) as running:
        async with open_channel(running.address, interceptors=client_interceptors(provider)) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            await stub.ChatCompletion(chat_request())
            async for _ in stub.StreamChatCompletion(stream_request()):
                pass
            await failure(stub.ChatCompletion(inference_pb2.ChatCompletionRequest()))
        await asyncio.sleep(0.05)
    found = {
        (span.name.rpartition("/")[2], dict(span.attributes or {})["rpc.grpc.status_code"])
        for span in exporter.get_finished_spans()
    }
    assert found == {("ChatCompletion", 0), ("StreamChatCompletion", 0), ("ChatCompletion", 3)}
    assert seen[0].trace_headers["traceparent"][3:35] in {
        f"{span.context.trace_id:032x}" for span in exporter.get_finished_spans() if span.context
    }
