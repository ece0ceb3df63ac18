"""Whole answers of each kind of server, as their documentation shows them, in our messages."""

import base64
import struct
from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import UnavailableError
from tests.services.inference.conversation import content, parameter, tool, user
from tests.services.inference.providers.remote_openai.conftest import Start
from tests.support.openai_server import OpenAIServer, answer, plain

WEATHER = tool("get_weather", city=parameter("string"))


def chat_answer(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **more}
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def chat_request(**fields: Any) -> inference_pb2.ChatCompletionRequest:
    return inference_pb2.ChatCompletionRequest(model_id="m", **{"messages": [user("hi")], **fields})


def text_of(message: types_pb2.CompletionMessage) -> str:
    return "".join(item.text for item in message.content.items)


def numbers(metrics: Any) -> dict[str, float]:
    return {metric.metric: metric.value for metric in metrics}


async def test_an_answer_with_its_usage(server: OpenAIServer, start: Start):
    server.will(answer(chat_answer({"content": "Hello!", "refusal": None})))
    provider = await start(server.url)
    response = await provider.chat_completion(chat_request())
    assert text_of(response.completion_message) == "Hello!"
    assert response.completion_message.stop_reason == types_pb2.STOP_REASON_END_OF_TURN
    assert numbers(response.metrics) == {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
        "cached_tokens": 4,
    }
    assert server.last.path == "/v1/chat/completions"
    assert server.last.headers["User-Agent"].startswith("caravan-remote-openai/")


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", types_pb2.STOP_REASON_END_OF_TURN),
        ("eos_token", types_pb2.STOP_REASON_END_OF_TURN),
        ("stop_sequence", types_pb2.STOP_REASON_END_OF_TURN),
        ("length", types_pb2.STOP_REASON_OUT_OF_TOKENS),
        (None, types_pb2.STOP_REASON_UNSPECIFIED),
        ("what_is_this", types_pb2.STOP_REASON_UNSPECIFIED),
    ],
)
async def test_stop_reasons(server: OpenAIServer, start: Start, finish: str | None, reason: int):
    server.will(answer(chat_answer({"content": "x"}, finish)))
    response = await (await start(server.url)).chat_completion(chat_request())
    assert response.completion_message.stop_reason == reason


async def test_several_tool_calls_with_content_and_a_finish_that_says_stop(server: OpenAIServer, start: Start):
    calls = [
        {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Köln"}'}},
        {"id": "b", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
    ]
    server.will(answer(chat_answer({"content": "Let me see.", "tool_calls": calls}, "stop")))
    response = await (await start(server.url)).chat_completion(chat_request(tools=[WEATHER]))
    message = response.completion_message
    assert [(c.call_id, c.arguments_json) for c in message.tool_calls] == [("a", '{"city": "Köln"}'), ("b", "{}")]
    assert text_of(message) == "Let me see."
    assert message.stop_reason == types_pb2.STOP_REASON_END_OF_MESSAGE


async def test_tgi_sends_arguments_as_an_object(server: OpenAIServer, start: Start):
    calls = [{"id": "0", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Bonn"}}}]
    server.will(answer(chat_answer({"tool_calls": calls}, "stop")))
    response = await (await start(server.url, "tgi")).chat_completion(chat_request(tools=[WEATHER]))
    assert response.completion_message.tool_calls[0].arguments_json == '{"city": "Bonn"}'


@pytest.mark.parametrize("arguments", ['{"city": ', '"text"', "nonsense"])
async def test_a_call_with_bad_arguments_is_text(server: OpenAIServer, start: Start, arguments: str):
    calls = [{"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}]
    server.will(answer(chat_answer({"content": None, "tool_calls": calls}, "tool_calls")))
    message = (await (await start(server.url)).chat_completion(chat_request(tools=[WEATHER]))).completion_message
    assert not message.tool_calls
    assert text_of(message) == f'{{"name": "get_weather", "arguments": {arguments}}}'
    assert message.stop_reason == types_pb2.STOP_REASON_END_OF_TURN


@pytest.mark.parametrize("tools", [[], [tool("other")]])
async def test_a_call_of_an_undeclared_tool_is_text(server: OpenAIServer, start: Start, tools: list[Any]):
    calls = [{"id": "a", "type": "function", "function": {"name": "rm_rf", "arguments": "{}"}}]
    server.will(answer(chat_answer({"content": None, "tool_calls": calls}, "tool_calls")))
    message = (await (await start(server.url)).chat_completion(chat_request(tools=tools))).completion_message
    assert not message.tool_calls
    assert "rm_rf" in text_of(message)


async def test_a_call_cut_off_before_its_arguments_is_no_call(server: OpenAIServer, start: Start):
    calls = [{"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": ""}}]
    server.will(answer(chat_answer({"content": None, "tool_calls": calls}, "length")))
    message = (await (await start(server.url)).chat_completion(chat_request(tools=[WEATHER]))).completion_message
    assert not message.tool_calls
    assert message.stop_reason == types_pb2.STOP_REASON_OUT_OF_TOKENS


async def test_a_refusal_and_content_in_parts_are_text(server: OpenAIServer, start: Start):
    provider = await start(server.url)
    server.will(answer(chat_answer({"content": None, "refusal": "I cannot."})))
    assert text_of((await provider.chat_completion(chat_request())).completion_message) == "I cannot."
    server.will(answer(chat_answer({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})))
    assert text_of((await provider.chat_completion(chat_request())).completion_message) == "ab"


async def test_log_probabilities_of_a_chat(server: OpenAIServer, start: Start):
    positions = [
        {
            "token": "Hi",
            "logprob": -0.5,
            "top_logprobs": [{"token": "Hi", "logprob": -0.5}, {"token": "Yo", "logprob": -1.5}],
        },
        {"token": "!", "logprob": -9999.0, "top_logprobs": [{"token": ".", "logprob": None}]},
    ]
    provider = await start(server.url)
    server.will(answer(chat_answer({"content": "Hi!"}, logprobs={"content": positions})))
    two = await provider.chat_completion(chat_request(logprobs={"top_k": 2}))
    assert [dict(p.logprobs_by_token) for p in two.logprobs] == [{"Hi": -0.5, "Yo": -1.5}, {"!": -9999.0}]
    none = await provider.chat_completion(chat_request(logprobs={"top_k": 0}))
    assert [dict(p.logprobs_by_token) for p in none.logprobs] == [{"Hi": -0.5}, {"!": -9999.0}]
    assert not (await provider.chat_completion(chat_request())).logprobs


async def test_a_completion_with_log_probabilities(server: OpenAIServer, start: Start):
    logprobs = {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.25, None],
        "top_logprobs": [{"a": -0.25, "c": -2}, None],
        "text_offset": [0, 1],
    }
    choice = {"index": 0, "text": " there", "logprobs": logprobs, "finish_reason": "length"}
    server.will(answer({"object": "text_completion", "choices": [choice], "usage": {"prompt_tokens": 1}}))
    request = inference_pb2.CompletionRequest(
        model_id="m", content=content("Hello"), logprobs={"top_k": 1}, sampling_params={"max_tokens": 2}
    )
    response = await (await start(server.url)).completion(request)
    assert response.content == " there"
    assert response.stop_reason == types_pb2.STOP_REASON_OUT_OF_TOKENS
    assert [dict(p.logprobs_by_token) for p in response.logprobs] == [{"a": -0.25, "c": -2.0}, {}]
    assert numbers(response.metrics) == {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}


async def test_vectors_come_in_the_contents_order_as_numbers_or_packed(server: OpenAIServer, start: Start):
    packed = base64.b64encode(struct.pack("<2f", 3.0, 4.0)).decode()
    data = [{"index": 1, "embedding": packed}, {"index": 0, "embedding": [1, 2.5]}]
    server.will(answer({"object": "list", "data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}))
    request = inference_pb2.EmbeddingsRequest(model_id="text-embed", contents=[content("a"), content("b")])
    response = await (await start(server.url)).embeddings(request)
    assert [list(e.values) for e in response.embeddings] == [[1.0, 2.5], [3.0, 4.0]]
    assert numbers(response.metrics) == {"prompt_tokens": 5, "total_tokens": 5}


@pytest.mark.parametrize(
    "data",
    [
        [],
        None,
        [{"index": 0, "embedding": [1]}],
        [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}],
        [{"index": 0, "embedding": [1]}, {"index": 5, "embedding": [1]}],
        [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": "not base64!"}],
        [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": "AAA="}],
        [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": ["x"]}],
        [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [10**400]}],
        [{"index": "0", "embedding": [1]}, {"index": None, "embedding": []}],
    ],
)
async def test_malformed_vectors_are_an_error(server: OpenAIServer, start: Start, data: Any):
    server.will(answer({"data": data}))
    request = inference_pb2.EmbeddingsRequest(model_id="text-embed", contents=[content("a"), content("b")])
    provider = await start(server.url)
    with pytest.raises(UnavailableError):
        await provider.embeddings(request)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"choices": "x"},
        {"choices": [{"finish_reason": "abort", "message": {"content": "x"}}]},
        {"error": {"message": "engine died", "code": 500}},
        [],
        "text",
    ],
)
async def test_an_answer_that_is_none_is_an_error(server: OpenAIServer, start: Start, body: Any):
    server.will(answer(body))
    provider = await start(server.url)
    with pytest.raises(UnavailableError):
        await provider.chat_completion(chat_request())


async def test_an_answer_that_is_no_json_is_an_error(server: OpenAIServer, start: Start):
    server.will(plain("<html>Welcome to nginx</html>", content_type="text/html"))
    provider = await start(server.url)
    with pytest.raises(UnavailableError, match="not JSON"):
        await provider.chat_completion(chat_request())


@pytest.mark.parametrize(
    "message",
    [None, {}, {"content": 5}, {"content": None, "tool_calls": None}, {"tool_calls": [None, {"function": None}]}],
)
async def test_odd_shapes_do_not_crash(server: OpenAIServer, start: Start, message: Any):
    body = chat_answer({})
    body["choices"][0]["message"] = message
    body["usage"] = {"prompt_tokens": "many"}
    body["choices"][0]["logprobs"] = {"content": [None, {"token": 5}, {"token": "a", "logprob": -(10**400)}]}
    server.will(answer(body))
    response = await (await start(server.url)).chat_completion(chat_request(logprobs={}))
    assert not response.metrics
