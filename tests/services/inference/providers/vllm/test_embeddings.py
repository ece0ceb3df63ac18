"""A pooling model on vLLM."""

from collections.abc import Iterator

import grpc
import pytest

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.types.v1 import types_pb2
from tests.support.processes import serving, vllm_arguments
from tests.support.requests import content, metrics, reason, violations

Stub = inference_pb2_grpc.InferenceServiceStub


@pytest.fixture(scope="module")
def inference() -> Iterator[Stub]:
    arguments = vllm_arguments(model_type="embedding", model_id="vectors", max_model_len=64)
    with serving("services.inference", *arguments) as (_, address), grpc.insecure_channel(address) as channel:
        yield Stub(channel)


def embed(*texts: str, **fields: object) -> inference_pb2.EmbeddingsRequest:
    return inference_pb2.EmbeddingsRequest(model_id="vectors", contents=[content(text) for text in texts], **fields)


def test_vectors_come_in_order_and_say_what_they_cost(inference: Stub) -> None:
    both = inference.Embeddings(embed("apple", "gateway"))
    alone = [inference.Embeddings(embed(text)).embeddings[0] for text in ("apple", "gateway")]
    for vector, expected in zip(both.embeddings, alone, strict=True):
        assert vector.values == pytest.approx(expected.values, abs=0.02)
    assert metrics(both.metrics)["prompt_tokens"] > 0


def test_a_content_that_is_too_long_is_refused_by_its_place_or_truncated(inference: Stub) -> None:
    long = "word " * 200
    with pytest.raises(grpc.RpcError) as caught:
        inference.Embeddings(embed("short", long))
    assert violations(caught.value) == ["contents[1]"]
    kept = inference.Embeddings(embed(long, text_truncation=inference_pb2.TEXT_TRUNCATION_END))
    assert metrics(kept.metrics)["prompt_tokens"] == 64


def test_an_image_or_nothing_is_refused(inference: Stub) -> None:
    image = types_pb2.InterleavedContent(items=[{"image": {"data": b"x"}}])
    for contents in ([image], [types_pb2.InterleavedContent()]):
        with pytest.raises(grpc.RpcError) as caught:
            inference.Embeddings(inference_pb2.EmbeddingsRequest(model_id="vectors", contents=contents))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_dimension_that_the_model_cannot_give_is_refused(inference: Stub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        inference.Embeddings(embed("a", output_dimension=3))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_it_answers_no_chat(inference: Stub) -> None:
    request = inference_pb2.ChatCompletionRequest(model_id="vectors", messages=[{"user": {"content": content("hi")}}])
    with pytest.raises(grpc.RpcError) as caught:
        inference.ChatCompletion(request)
    assert reason(caught.value) == "WRONG_MODEL_TYPE"
