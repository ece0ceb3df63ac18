"""The adapter against a real `vllm serve`. Nothing here depends on how well the small model writes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from caravan.registry.v1 import models_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, FailedPreconditionError, InvalidArgumentError
from services.core.provider_data import PROVIDER_DATA_KEY, enter_provider_data
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.remote_openai.provider import RemoteOpenAIProvider
from tests.services.inference.conversation import assistant, call, content, parameter, system, tool, tool_response, user
from tests.services.inference.providers.remote_openai.conftest import Start
from tests.support.eventually import until
from tests.support.vllm_server import API_KEY, GROUP, MODEL_ID, VllmServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(GROUP)]

OUT_OF_TOKENS = types_pb2.STOP_REASON_OUT_OF_TOKENS
SUCCEEDED = types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED
WEATHER = tool(
    "get_weather", "Tells the weather.", city=parameter("string", schema={"type": "string", "enum": ["Rome", "Oslo"]})
)
SCHEMA = (
    '{"type": "object", "properties": {"z": {"enum": ["left", "right"]}, "a": {"type": "boolean"}},'
    ' "required": ["z", "a"], "additionalProperties": false}'
)


@pytest.fixture(scope="module")
async def provider(vllm_server: VllmServer) -> AsyncIterator[RemoteOpenAIProvider]:
    config = RemoteOpenAIConfig.model_validate({"base_url": vllm_server.url, "dialect": "vllm", "api_key": API_KEY})
    running = RemoteOpenAIProvider("remote", config)
    await running.start()
    await until(lambda: running.readiness.ready)
    yield running
    await running.stop()


def chat_fields(**fields: Any) -> dict[str, Any]:
    return {"model_id": MODEL_ID, "messages": [user("Hello!")], "sampling_params": {"max_tokens": 12}, **fields}


def completion_fields(**fields: Any) -> dict[str, Any]:
    return {"model_id": MODEL_ID, "content": content("The capital of"), "sampling_params": {"max_tokens": 12}, **fields}


async def chat(provider: RemoteOpenAIProvider, **fields: Any) -> inference_pb2.ChatCompletionResponse:
    return await provider.chat_completion(inference_pb2.ChatCompletionRequest(**chat_fields(**fields)))


async def stream_chat(
    provider: RemoteOpenAIProvider, **fields: Any
) -> list[inference_pb2.StreamChatCompletionResponse]:
    request = inference_pb2.StreamChatCompletionRequest(**chat_fields(**fields))
    return [event async for event in provider.stream_chat_completion(request)]


async def completion(provider: RemoteOpenAIProvider, **fields: Any) -> inference_pb2.CompletionResponse:
    return await provider.completion(inference_pb2.CompletionRequest(**completion_fields(**fields)))


def text_of(response: inference_pb2.ChatCompletionResponse) -> str:
    return "".join(item.text for item in response.completion_message.content.items)


def numbers(metrics: Any) -> dict[str, float]:
    return {metric.metric: metric.value for metric in metrics if metric.metric != "cached_tokens"}


async def test_the_servers_model_is_listed_with_its_context(provider: RemoteOpenAIProvider):
    (model,) = [resource.model for resource in provider.resources()]
    assert (model.model_id, model.model_type) == (MODEL_ID, models_pb2.MODEL_TYPE_LLM)
    assert model.metadata["context_length"] == 1024


async def test_a_streamed_chat_is_the_unary_one_in_pieces(provider: RemoteOpenAIProvider):
    whole = await chat(provider, logprobs={"top_k": 2})
    events = await stream_chat(provider, logprobs={"top_k": 2})
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["start", *["progress"] * (len(events) - 2), "complete"]
    assert "".join(event.progress.delta.text for event in events[1:-1]) == text_of(whole)
    complete = events[-1].complete
    assert complete.stop_reason == whole.completion_message.stop_reason
    assert numbers(complete.metrics) == numbers(whole.metrics)
    pieces = [position for event in events for position in (*event.progress.logprobs, *event.complete.logprobs)]
    assert len(pieces) == len(whole.logprobs) == numbers(whole.metrics)["completion_tokens"]
    assert all(2 <= len(position.logprobs_by_token) <= 3 for position in pieces)


async def test_a_streamed_completion_is_the_unary_one_in_pieces(provider: RemoteOpenAIProvider):
    whole = await completion(provider, logprobs={"top_k": 0})
    request = inference_pb2.StreamCompletionRequest(**completion_fields(logprobs={"top_k": 0}))
    pieces = [piece async for piece in provider.stream_completion(request)]
    assert "".join(piece.delta for piece in pieces) == whole.content
    assert [bool(piece.metrics) for piece in pieces] == [*[False] * (len(pieces) - 1), True]
    assert pieces[-1].stop_reason == whole.stop_reason
    assert numbers(pieces[-1].metrics) == numbers(whole.metrics)
    assert sum(len(piece.logprobs) for piece in pieces) == len(whole.logprobs)
    assert all(len(position.logprobs_by_token) == 1 for position in whole.logprobs)


@pytest.mark.parametrize(
    "strategy",
    [
        # As hot as it gets: a model may be sure of what it says.
        {"top_p": {"temperature": 2.0, "top_p": 1.0}},
        {"top_k": {"top_k": 40, "temperature": 2.0}},
        {
            "top_k": {"top_k": 40, "temperature": 2.0},
            "repetition_penalty": 1.3,
            "frequency_penalty": 0.5,
            "presence_penalty": -0.5,
        },
    ],
)
async def test_a_seed_repeats_a_sample(provider: RemoteOpenAIProvider, strategy: dict[str, Any]):
    async def sample(seed: int) -> str:
        return (await completion(provider, sampling_params={"max_tokens": 24, "seed": seed, **strategy})).content

    assert await sample(42) == await sample(42)
    assert len({await sample(seed) for seed in range(6)}) > 1


async def test_top_k_chooses_among_the_most_likely_tokens(provider: RemoteOpenAIProvider):
    async def outside(strategy: dict[str, Any]) -> int:
        """Number of tokens less likely than the three most likely ones; ties count as inside."""
        answer = await completion(
            provider, sampling_params={"max_tokens": 40, "seed": 1, **strategy}, logprobs={"top_k": 3}
        )
        ranked = [sorted(position.logprobs_by_token.values(), reverse=True) for position in answer.logprobs]
        return sum(len(values) > 3 and values[3] < values[2] for values in ranked)

    assert await outside({"top_k": {"top_k": 3, "temperature": 2.0}}) == 0
    assert await outside({"top_p": {"top_p": 1.0, "temperature": 2.0}}) > 0


async def test_a_stop_sequence_ends_the_text_before_it(provider: RemoteOpenAIProvider):
    whole = (await completion(provider, sampling_params={"max_tokens": 30})).content
    stop = whole[len(whole) // 2 :][:3]
    ended = await completion(provider, sampling_params={"max_tokens": 30, "stop": [stop]})
    assert ended.content == whole[: whole.index(stop)]
    assert ended.stop_reason == types_pb2.STOP_REASON_END_OF_TURN


async def test_a_completion_without_limit_fills_the_context(provider: RemoteOpenAIProvider):
    grammar = {"grammar": {"bnf": 'root ::= "a" root'}}
    answer = await completion(provider, content=content("word " * 450), sampling_params={}, response_format=grammar)
    assert answer.stop_reason == OUT_OF_TOKENS
    assert numbers(answer.metrics)["total_tokens"] == 1024


async def test_guided_answers_have_their_form(provider: RemoteOpenAIProvider):
    answer = await chat(provider, response_format={"json_schema_text": SCHEMA}, sampling_params={"max_tokens": 60})
    found = json.loads(text_of(answer))
    assert list(found) == ["z", "a"]
    grammar = {"grammar": {"bnf": 'root ::= "yes" | "no"'}}
    assert text_of(await chat(provider, response_format=grammar)) in {"yes", "no"}
    assert (await completion(provider, response_format=grammar)).content in {"yes", "no"}


@pytest.mark.parametrize("choice", [{"tool_choice": types_pb2.TOOL_CHOICE_REQUIRED}, {"tool_name": "get_weather"}])
async def test_a_demanded_call_is_made(provider: RemoteOpenAIProvider, choice: dict[str, Any]):
    fields = {"tools": [WEATHER, tool("other")] if "tool_name" in choice else [WEATHER], "tool_config": choice}
    fields["sampling_params"] = {"max_tokens": 100}
    answer = (await chat(provider, **fields)).completion_message
    assert {c.tool_name for c in answer.tool_calls} == {"get_weather"}
    assert json.loads(answer.tool_calls[0].arguments_json)["city"] in {"Rome", "Oslo"}
    assert answer.stop_reason in {types_pb2.STOP_REASON_END_OF_MESSAGE, OUT_OF_TOKENS}
    deltas = [event.progress.delta.tool_call for event in await stream_chat(provider, **fields)]
    called = [delta.tool_call for delta in deltas if delta.parse_status == SUCCEEDED]
    assert [c.arguments_json for c in called] == [c.arguments_json for c in answer.tool_calls]
    assert all(c.call_id for c in called)


async def test_a_conversation_with_tools_and_context_is_understood(provider: RemoteOpenAIProvider):
    messages = [
        system("Be brief."),
        system("Be kind."),
        user("What is the weather?", context=["It is Monday."]),
        assistant(calls=[call("get_weather", {"city": "Rome"}, "c1")]),
        tool_response("sunny", name="get_weather", call_id="c1"),
    ]
    answer = await chat(provider, messages=messages, tools=[WEATHER])
    assert numbers(answer.metrics)["prompt_tokens"] > 30


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": [user("word " * 3000)]}, "messages"),
        ({"response_format": {"grammar": {"bnf": "root ::= ((("}}}, "response_format"),
        ({"response_format": {"json_schema_text": '{"type": "nonsense"}'}}, "response_format"),
    ],
)
async def test_what_vllm_refuses_is_an_invalid_argument_with_its_field(
    provider: RemoteOpenAIProvider, fields: dict[str, Any], field: str
):
    for operation in (chat, stream_chat):
        with pytest.raises(InvalidArgumentError) as caught:
            await operation(provider, **fields)
        assert [violation.field for violation in caught.value.violations] == [field]


async def test_embeddings_of_a_language_model_are_refused(provider: RemoteOpenAIProvider):
    with pytest.raises(FailedPreconditionError):
        await provider.embeddings(inference_pb2.EmbeddingsRequest(model_id=MODEL_ID, contents=[content("x")]))


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_frees_the_engines_slot(
    provider: RemoteOpenAIProvider, vllm_server: VllmServer, streamed: bool
):
    endless = {"response_format": {"grammar": {"bnf": 'root ::= "a" root'}}, "sampling_params": {"max_tokens": 900}}
    task = asyncio.create_task((stream_chat if streamed else chat)(provider, **endless))
    await _until_running(vllm_server, 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await _until_running(vllm_server, 0)


async def test_many_calls_at_once(provider: RemoteOpenAIProvider):
    async def one(number: int) -> str:
        params = {"max_tokens": 8}
        return text_of(await chat(provider, messages=[user(f"Say {number}.")], sampling_params=params))

    answers = await asyncio.gather(*(one(number) for number in range(32)))
    assert len(answers) == 32


async def test_the_wrong_key_is_never_ready_and_a_callers_own_key_works(vllm_server: VllmServer, start: Start):
    wrong = await start(vllm_server.url, "vllm", ready=False, api_key="sk-wrong-key-123456")
    await until(lambda: "operator" in wrong.readiness.reason)
    models = [{"model_id": MODEL_ID, "context_length": 1024}]
    keyless = await start(vllm_server.url, "vllm", allow_request_credentials=True, models=models)

    async def with_key(key: str) -> str:
        enter_provider_data([(PROVIDER_DATA_KEY, json.dumps({"api_key": key}))])
        return text_of(await chat(keyless))

    assert await asyncio.create_task(with_key(API_KEY))
    with pytest.raises(CaravanError) as caught:
        await asyncio.create_task(with_key("sk-another-wrong-key"))
    assert caught.value.reason == "PROVIDER_CREDENTIALS"


async def _until_running(server: VllmServer, count: int) -> None:
    async with asyncio.timeout(10):
        while await asyncio.to_thread(server.running) != count:  # noqa: ASYNC110 - the server has no event for us
            await asyncio.sleep(0.02)
