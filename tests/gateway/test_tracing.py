"""Spans of relayed calls, as a collector gets them."""

from collections.abc import Iterator

import pytest

from caravan.inference.v1 import inference_pb2_grpc
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from tests.gateway.conftest import eventually
from tests.gateway.test_proxy import CHAT, chat, refusal, stream
from tests.services.core.loopback import FakeProvider, serving
from tests.support.otlp import OtlpSink, Span, otlp_sink

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with otlp_sink() as collector:
        yield collector


async def spans_of(gateway, sink: OtlpSink) -> list[Span]:
    """All spans of the gateway, which is stopped for that."""
    await gateway.stop()
    return [span for span in sink.spans if span.resource["service.name"] == "caravan-gateway"]


async def test_a_relayed_call_becomes_a_span_between_the_callers_and_the_services(make_gateway, sink):
    async with serving(provider=FakeProvider(), otlp_endpoint=sink.endpoint) as service:
        gateway = await make_gateway({"fake": [service.address]}, otlp_endpoint=sink.endpoint)
        stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
        await stub.ChatCompletion(chat(model_id="own"), metadata=(("traceparent", TRACEPARENT), ("tracestate", "a=b")))
        (relayed,) = await spans_of(gateway, sink)
    (served,) = [span for span in sink.spans if span.resource["service.name"] == "caravan-inference"]
    assert (relayed.name, relayed.kind, relayed.trace_id, relayed.parent_span_id) == (CHAT[1:], 2, TRACE, CALLER)
    assert (served.name, served.trace_id, served.parent_span_id) == (CHAT[1:], TRACE, relayed.span_id)
    assert relayed.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "caravan.inference.v1.InferenceService",
        "rpc.method": "ChatCompletion",
        "rpc.grpc.status_code": 0,
        "caravan.provider_id": "fake",
        "caravan.retries": 0,
    }
    assert relayed.status == 0


async def test_a_call_without_a_trace_begins_one_that_the_replica_hears_of(make_gateway, replica, sink):
    gateway = await make_gateway({"echo": [replica]}, otlp_endpoint=sink.endpoint)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    await stub.ChatCompletion(chat())
    heard = replica.last_metadata["traceparent"]
    assert [one async for one in stub.StreamChatCompletion(stream())]
    unary, streamed = await spans_of(gateway, sink)
    assert heard[:53] == f"00-{unary.trace_id}-{unary.span_id}-"
    assert streamed.name.endswith("StreamChatCompletion")
    assert {unary.parent_span_id, streamed.parent_span_id} == {""}
    assert unary.trace_id != streamed.trace_id


async def test_a_call_that_was_tried_twice_says_so(make_gateway, make_replica, sink):
    one, two = await make_replica(), await make_replica()
    gateway = await make_gateway({"echo": [one, two]}, otlp_endpoint=sink.endpoint)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    await refusal(stub.ChatCompletion(chat("unavailable")))
    (span,) = await spans_of(gateway, sink)
    assert (span.attributes["caravan.retries"], span.attributes["rpc.grpc.status_code"], span.status) == (1, 14, 2)
    heard = {replica.last_metadata["traceparent"][:53] for replica in (one, two)}
    assert heard == {f"00-{span.trace_id}-{span.span_id}-"}


async def test_what_the_gateway_refuses_has_its_reason(make_gateway, replica, sink):
    gateway = await make_gateway({"echo": [replica]}, otlp_endpoint=sink.endpoint)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    await refusal(stub.ChatCompletion(chat(model_id="nobody")))
    (span,) = await spans_of(gateway, sink)
    assert (span.attributes["error.type"], span.attributes["rpc.grpc.status_code"]) == ("NOT_FOUND", 5)
    # The caller's fault, not the gateway's.
    assert span.status == 0


async def test_a_caller_that_goes_away_ends_the_span(make_gateway, replica, sink):
    gateway = await make_gateway({"echo": [replica]}, otlp_endpoint=sink.endpoint)
    call = inference_pb2_grpc.InferenceServiceStub(gateway.channel()).ChatCompletion(chat("sleep"))
    await eventually(lambda: replica.calls)
    call.cancel()
    await replica.cancelled.wait()
    (span,) = await spans_of(gateway, sink)
    assert (span.attributes["rpc.grpc.status_code"], span.status) == (1, 0)


async def test_a_callers_decision_against_sampling_is_kept(make_gateway, replica, sink):
    gateway = await make_gateway({"echo": [replica]}, otlp_endpoint=sink.endpoint)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    await stub.ChatCompletion(chat(), metadata=(("traceparent", f"{TRACEPARENT[:-2]}00"),))
    heard = replica.last_metadata["traceparent"]
    assert (heard[:36], heard[-2:]) == (TRACEPARENT[:36], "00")
    assert await spans_of(gateway, sink) == []


async def test_what_the_gateway_answers_itself_has_one_span_and_health_none(make_gateway, replica, sink):
    gateway = await make_gateway({"echo": [replica]}, otlp_endpoint=sink.endpoint)
    channel = gateway.channel()
    await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    await models_pb2_grpc.ModelsServiceStub(channel).ListModels(models_pb2.ListModelsRequest())
    (span,) = await spans_of(gateway, sink)
    assert span.name == "caravan.registry.v1.ModelsService/ListModels"


async def test_without_a_collector_the_callers_context_passes_as_it_is(make_gateway, replica):
    gateway = await make_gateway({"echo": [replica]})
    await inference_pb2_grpc.InferenceServiceStub(gateway.channel()).ChatCompletion(
        chat(), metadata=(("traceparent", TRACEPARENT),)
    )
    assert replica.last_metadata["traceparent"] == TRACEPARENT


async def test_neither_contents_nor_credentials_are_exported(make_gateway, replica, sink):
    gateway = await make_gateway({"echo": [replica]}, otlp_endpoint=sink.endpoint)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    metadata = (("authorization", "Bearer hunter2"), ("caravan-provider-data", '{"key": "hunter2"}'))
    await stub.ChatCompletion(chat("hunter2"), metadata=metadata)
    assert await spans_of(gateway, sink)
    assert not any(b"hunter2" in raw for raw in sink.raw)
