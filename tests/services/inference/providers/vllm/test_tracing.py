"""One trace from the caller through the service into vLLM's own spans."""

import grpc

from caravan.inference.v1 import inference_pb2_grpc
from tests.support.otlp import otlp_sink
from tests.support.processes import serving, vllm_arguments
from tests.support.requests import chat, sampling

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


def test_the_engines_span_belongs_to_the_callers_trace_and_holds_no_text() -> None:
    secret = "my secret question"
    with otlp_sink() as sink:
        arguments = vllm_arguments(max_model_len=512)
        with serving("services.inference", "--otlp-endpoint", sink.endpoint, *arguments) as (_, address):
            with grpc.insecure_channel(address) as channel:
                inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(
                    chat(secret, sampling_params=sampling(4)), metadata=[("traceparent", f"00-{TRACE}-{CALLER}-01")]
                )
            engine = sink.wait_for_span("llm_request", within=30)
            server = sink.wait_for_span("InferenceService/ChatCompletion", within=30)
        assert (engine.trace_id, server.trace_id) == (TRACE, TRACE)
        assert server.parent_span_id == CALLER
        assert engine.parent_span_id == server.span_id
        assert {"caravan.engine.running", "caravan.engine.waiting", "caravan.engine.kv_cache.usage"} <= set(
            sink.metrics
        )
        assert {"gen_ai.server.request.duration", "gen_ai.usage.tokens"} <= set(sink.metrics)
        assert not any(secret.encode() in raw for raw in sink.raw)
