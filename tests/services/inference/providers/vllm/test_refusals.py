"""What the service refuses, with which code, at which field, and in which words."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.types.v1 import types_pb2
from tests.support.requests import WEATHER, chat, completion, content, reason, sampling, violations

Stub = inference_pb2_grpc.InferenceServiceStub
REQUIRED = {"tool_choice": types_pb2.TOOL_CHOICE_REQUIRED}


def refused(call: Any, request: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    assert reason(caught.value)
    return caught.value


def test_an_unknown_model_is_not_found_and_named(inference: Stub) -> None:
    error = refused(inference.ChatCompletion, chat(model_id="nope"))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert "nope" in error.details()
    assert "caravan-chat" in error.details()


def test_embeddings_of_a_language_model_are_a_failed_precondition(inference: Stub) -> None:
    request = inference_pb2.EmbeddingsRequest(model_id="caravan-chat", contents=[content("a")])
    error = refused(inference.Embeddings, request)
    assert (error.code(), reason(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_MODEL_TYPE")


CHATS: list[tuple[str, Any, str]] = [
    ("no messages", chat(messages=[]), "messages"),
    ("a message without a role", chat(messages=[types_pb2.Message()]), "messages[0].role"),
    ("a temperature of zero", chat(sampling_params={"top_p": {"temperature": 0}}), "sampling_params.top_p.temperature"),
    ("a top_p of two", chat(sampling_params={"top_p": {"top_p": 2}}), "sampling_params.top_p.top_p"),
    ("a top_k of zero", chat(sampling_params={"top_k": {}}), "sampling_params.top_k.top_k"),
    ("a negative penalty", chat(sampling_params={"repetition_penalty": -1}), "sampling_params.repetition_penalty"),
    ("an empty stop sequence", chat(sampling_params={"stop": [""]}), "sampling_params.stop[0]"),
    ("too many logprobs", chat(logprobs={"top_k": 1000}), "logprobs.top_k"),
    ("a schema that is no JSON", chat(response_format={"json_schema_text": "{{"}), "response_format.json_schema_text"),
    (
        "a schema of an unknown type",
        chat(response_format={"json_schema_text": '{"type": "objekt"}'}),
        "response_format.json_schema_text",
    ),
    ("a broken grammar", chat(response_format={"grammar": {"bnf": "root ::= ((("}}), "response_format.grammar.bnf"),
    ("a grammar without root", chat(response_format={"grammar": {"bnf": 'x ::= "a"'}}), "response_format.grammar.bnf"),
    ("an oversized prompt", chat("word " * 4000), "messages"),
    ("an undeclared tool by name", chat(tools=[WEATHER], tool_config={"tool_name": "f"}), "tool_config.tool_name"),
    ("a required call without tools", chat(tool_config=REQUIRED), "tools"),
    ("two tools of one name", chat(tools=[WEATHER, WEATHER]), "tools[1].tool_name"),
    (
        "a required call in a JSON answer",
        chat(tools=[WEATHER], tool_config=REQUIRED, response_format={"json_schema_text": "{}"}),
        "response_format",
    ),
]


@pytest.mark.parametrize(("request_", "field"), [case[1:] for case in CHATS], ids=[case[0] for case in CHATS])
def test_an_invalid_chat_names_the_field(inference: Stub, request_: Any, field: str) -> None:
    error = refused(inference.ChatCompletion, request_)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.details()
    assert field in violations(error)


def test_an_image_is_refused_by_a_model_that_takes_none(inference: Stub) -> None:
    image = types_pb2.Message()
    image.user.content.items.add(image={"data": b"\x89PNG"})
    error = refused(inference.ChatCompletion, chat(messages=[image]))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "images" in error.details()


def test_an_empty_completion_is_refused(inference: Stub) -> None:
    error = refused(inference.Completion, completion(content=types_pb2.InterleavedContent()))
    assert violations(error) == ["content"]


def test_a_wrong_text_of_a_batch_is_named_by_its_place(inference: Stub) -> None:
    request = inference_pb2.BatchCompletionRequest(
        model_id="caravan-chat", content_batch=[content("fine"), content("word " * 4000)], sampling_params=sampling(4)
    )
    assert violations(refused(inference.BatchCompletion, request)) == ["content_batch[1]"]


@pytest.fixture
def undecodable(engine: Any) -> Iterator[Any]:
    with grpc.insecure_channel(engine.address) as channel:
        yield channel.unary_unary("/caravan.inference.v1.InferenceService/ChatCompletion")


def test_bytes_that_are_no_message_are_an_invalid_argument(undecodable: Any) -> None:
    assert refused(undecodable, b"\xff\xff\xff").code() == grpc.StatusCode.INVALID_ARGUMENT


def test_an_oversized_message_is_refused_and_the_next_call_answered(inference: Stub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        inference.Completion(completion("x" * (33 << 20)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert inference.Completion(completion("Hi", sampling_params=sampling(1)))


def test_a_storm_of_bad_requests_leaves_no_slot_taken(inference: Stub) -> None:
    bad = [request for _, request, _ in CHATS]

    def send(request: Any) -> grpc.StatusCode:
        with pytest.raises(grpc.RpcError) as caught:
            inference.ChatCompletion(request, timeout=60)
        return caught.value.code()

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, bad * 5)) == {grpc.StatusCode.INVALID_ARGUMENT}
    assert inference.ChatCompletion(chat("Hello!", sampling_params=sampling(4)))
