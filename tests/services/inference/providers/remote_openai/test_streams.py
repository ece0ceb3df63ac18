"""Streams as servers send them, odd ones too, in our events."""

from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, InvalidArgumentError, ResourceExhaustedError, UnavailableError
from services.inference.providers.remote_openai.provider import RemoteOpenAIProvider
from tests.services.inference.conversation import content, parameter, tool, user
from tests.services.inference.providers.remote_openai.conftest import Start
from tests.support.eventually import until
from tests.support.openai_server import OpenAIServer, Reply, plain, stream

WEATHER = tool("get_weather", city=parameter("string"))
ROLE = {"role": "assistant", "content": ""}
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}

STARTED = types_pb2.TOOL_CALL_PARSE_STATUS_STARTED
IN_PROGRESS = types_pb2.TOOL_CALL_PARSE_STATUS_IN_PROGRESS
SUCCEEDED = types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED
FAILED = types_pb2.TOOL_CALL_PARSE_STATUS_FAILED


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}],
    }


def call(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": call_id, "type": "function"} if call_id else {})


def chat_request(**fields: Any) -> inference_pb2.StreamChatCompletionRequest:
    return inference_pb2.StreamChatCompletionRequest(model_id="m", **{"messages": [user("hi")], **fields})


async def chat(provider: RemoteOpenAIProvider, **fields: Any) -> list[inference_pb2.StreamChatCompletionResponse]:
    return [event async for event in provider.stream_chat_completion(chat_request(**fields))]


def texts(events: list[inference_pb2.StreamChatCompletionResponse]) -> list[str]:
    return [e.progress.delta.text for e in events if e.progress.delta.WhichOneof("delta") == "text"]


def calls(events: list[inference_pb2.StreamChatCompletionResponse]) -> list[tuple[int, str]]:
    deltas = [e.progress.delta.tool_call for e in events if e.progress.delta.HasField("tool_call")]
    return [(d.parse_status, d.tool_call.arguments_json if d.HasField("tool_call") else d.text) for d in deltas]


async def test_one_start_any_progress_one_complete(server: OpenAIServer, start: Start):
    server.will(stream(chunk(ROLE), chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"), USAGE))
    events = await chat(await start(server.url))
    assert [e.WhichOneof("event") for e in events] == ["start", "progress", "progress", "complete"]
    assert events[0].start.delta.WhichOneof("delta") == "text"
    assert texts(events) == ["Hel", "lo"]
    complete = events[-1].complete
    assert complete.stop_reason == types_pb2.STOP_REASON_END_OF_TURN
    assert {m.metric: m.value for m in complete.metrics} == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
    }


async def test_text_in_the_first_and_in_the_last_chunk_is_not_swallowed(server: OpenAIServer, start: Start):
    server.will(stream(chunk({"role": "assistant", "content": "a"}), chunk({"content": "b"}, "stop"), USAGE))
    assert texts(await chat(await start(server.url))) == ["a", "b"]


async def test_usage_in_every_chunk_counts_once(server: OpenAIServer, start: Start):
    first = {**chunk({"content": "a"}), "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    last = {**chunk({"content": "b"}, "stop"), "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    server.will(stream(first, last, {"choices": [], "usage": None}))
    events = await chat(await start(server.url))
    assert events[-1].complete.metrics[1].value == 2


async def test_odd_chunks_are_passed_over(server: OpenAIServer, start: Start):
    server.will(
        stream(
            b": keep-alive\n\n",
            {"choices": []},
            {"object": "ping"},
            chunk(None),
            chunk({"content": None, "tool_calls": None}),
            {"choices": [{"index": 1, "delta": {"content": "another choice"}, "finish_reason": None}]},
            chunk({"content": "é\u2028日"}),
            chunk({}, "stop", logprobs=None),
        )
    )
    assert texts(await chat(await start(server.url))) == ["é\u2028日"]


async def test_half_a_surrogate_pair_is_replaced(server: OpenAIServer, start: Start):
    server.will(
        stream(
            rb'data: {"choices":[{"delta":{"content":"a\ud83d"},"finish_reason":null}]}' + b"\n\n",
            rb'data: {"choices":[{"delta":{"content":"\ud83d\ude00"},"finish_reason":null}]}' + b"\n\n",
            chunk({"tool_calls": [call(0, r'{"city": "\ud83d"}', "a", "get_weather")]}, "tool_calls"),
        )
    )
    events = await chat(await start(server.url), tools=[WEATHER])
    assert texts(events) == ["a\ufffd", "\U0001f600"]
    assert calls(events)[-1] == (FAILED, r'{"name": "get_weather", "arguments": {"city": "\ud83d"}}')


async def test_a_character_that_is_cut_between_packets_arrives_whole(server: OpenAIServer, start: Start):
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"\xe6\x97\xa5"},"finish_reason":"stop"}]}\r\n\r\n'
    cut = raw.index(b"\x97")
    server.will(stream(raw[:cut], 0.02, raw[cut:]))
    assert texts(await chat(await start(server.url))) == ["日"]


async def test_log_probabilities_are_those_of_the_deltas_own_tokens(server: OpenAIServer, start: Start):
    def logprobs(*tokens: str) -> dict[str, Any]:
        return {"content": [{"token": token, "logprob": -1.0, "top_logprobs": []} for token in tokens]}

    server.will(
        stream(
            chunk(ROLE),
            chunk({"content": "a"}, logprobs=logprobs("a")),
            chunk({"content": ""}, logprobs=logprobs("half of")),
            chunk({"content": "ü"}, logprobs=logprobs("ü")),
            chunk({}, "stop", logprobs=logprobs("<eos>")),
            USAGE,
        )
    )
    events = await chat(await start(server.url), logprobs={"top_k": 0})
    told = [
        [token for position in body.logprobs for token in position.logprobs_by_token]
        for e in events
        if (body := e.complete if e.HasField("complete") else e.progress) is not None
    ]
    assert told == [[], ["a"], ["half of", "ü"], ["<eos>"]]


async def test_tool_calls_start_go_on_and_succeed(server: OpenAIServer, start: Start):
    server.will(
        stream(
            chunk({**ROLE, "tool_calls": [call(0, "", "a", "get_weather")]}),
            chunk({"tool_calls": [call(0, '{"city":')]}),
            chunk({"tool_calls": [call(0, '"Rome"}'), call(1, '{"city":"Oslo"}', "b", "get_weather")]}),
            chunk({}, "tool_calls"),
            USAGE,
        )
    )
    events = await chat(await start(server.url), tools=[WEATHER])
    assert calls(events) == [
        (STARTED, ""),
        (IN_PROGRESS, '{"city":'),
        (IN_PROGRESS, '"Rome"}'),
        (SUCCEEDED, '{"city": "Rome"}'),
        (STARTED, ""),
        (IN_PROGRESS, '{"city":"Oslo"}'),
        (SUCCEEDED, '{"city": "Oslo"}'),
    ]
    assert texts(events) == []
    assert events[-1].complete.stop_reason == types_pb2.STOP_REASON_END_OF_MESSAGE


async def test_ollama_sends_whole_calls_under_one_index_and_finishes_with_stop(server: OpenAIServer, start: Start):
    server.will(
        stream(
            chunk({**ROLE, "tool_calls": [call(0, '{"city":"Rome"}', "a", "get_weather")]}),
            chunk({**ROLE, "tool_calls": [call(0, '{"city":"Oslo"}', "b", "get_weather")]}),
            chunk(ROLE, "stop"),
        )
    )
    events = await chat(await start(server.url, "ollama"), tools=[WEATHER])
    assert [text for status, text in calls(events) if status == SUCCEEDED] == ['{"city": "Rome"}', '{"city": "Oslo"}']
    assert events[-1].complete.stop_reason == types_pb2.STOP_REASON_END_OF_MESSAGE


async def test_a_call_that_is_cut_off_or_undeclared_fails_with_its_text(server: OpenAIServer, start: Start):
    provider = await start(server.url)
    server.will(stream(chunk({"tool_calls": [call(0, '{"ci', "a", "get_weather")]}), chunk({}, "length")))
    events = await chat(provider, tools=[WEATHER])
    assert calls(events)[-1] == (FAILED, '{"name": "get_weather", "arguments": {"ci}')
    assert events[-1].complete.stop_reason == types_pb2.STOP_REASON_OUT_OF_TOKENS
    server.will(stream(chunk({"tool_calls": [call(0, "{}", "a", "rm_rf")]}), chunk({}, "tool_calls")))
    events = await chat(provider, tools=[WEATHER])
    assert calls(events)[-1] == (FAILED, '{"name": "rm_rf", "arguments": {}}')
    assert events[-1].complete.stop_reason == types_pb2.STOP_REASON_END_OF_TURN


async def test_a_completion_is_streamed(server: OpenAIServer, start: Start):
    def piece(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
        return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": finish, **more}]}

    logprobs = {"tokens": ["on"], "token_logprobs": [-0.5], "top_logprobs": [{"on": -0.5, "in": -1.0}]}
    server.will(stream(piece("on", logprobs=logprobs), piece("ce", "length"), USAGE))
    provider = await start(server.url)
    request = inference_pb2.StreamCompletionRequest(
        model_id="m", content=content("x"), logprobs={"top_k": 2}, sampling_params={"max_tokens": 2}
    )
    pieces = [p async for p in provider.stream_completion(request)]
    assert [p.delta for p in pieces] == ["on", "ce", ""]
    assert [len(p.logprobs) for p in pieces] == [1, 0, 0]
    assert [bool(p.metrics) for p in pieces] == [False, False, True]
    assert [p.stop_reason for p in pieces] == [0, 0, types_pb2.STOP_REASON_OUT_OF_TOKENS]


async def test_a_stream_is_whole_without_done_if_it_has_a_finish_reason(server: OpenAIServer, start: Start):
    server.will(stream(chunk({"content": "a"}), chunk({}, "stop"), done=False))
    assert (await chat(await start(server.url)))[-1].HasField("complete")


async def test_a_stream_is_whole_at_done_even_if_the_connection_stays(server: OpenAIServer, start: Start):
    server.will(stream(chunk({"content": "a"}), chunk({}, "stop"), end="hang"))
    assert (await chat(await start(server.url)))[-1].HasField("complete")
    await until(server.gone.is_set)


BROKEN: dict[str, Reply] = {
    "ended early": stream(chunk(ROLE), chunk({"content": "a"}), done=False),
    "done without a finish reason": stream(chunk(ROLE), chunk({"content": "a"}), done=True),
    "connection broken": stream(chunk({"content": "a"}), 0.05, done=False, end="abort"),
    "cut inside a chunk": stream(chunk({"content": "a"}), b'data: {"choices": [{"ind', done=False),
    "nothing at all": stream(done=False),
    "not json": stream(chunk({"content": "a"}), b"data: nonsense\n\n"),
    "not an object": stream(chunk({"content": "a"}), b"data: [1]\n\n"),
    "aborted": stream(chunk({"content": "a"}), chunk({}, "abort")),
    "a web page": plain("<html>hello</html>", content_type="text/html"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_stream_that_breaks_off_is_unavailable_and_never_complete(
    server: OpenAIServer, start: Start, name: str
):
    server.will(BROKEN[name])
    provider = await start(server.url)
    events: list[inference_pb2.StreamChatCompletionResponse] = []

    async def collect() -> None:
        async for event in provider.stream_chat_completion(chat_request()):
            events.append(event)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(UnavailableError) as caught:
        await collect()
    assert caught.value.reason == "PROVIDER_BROKE_OFF"
    assert not any(event.HasField("complete") for event in events)
    assert len(server.received) == 1, "what has begun is not repeated"


@pytest.mark.parametrize(
    ("piece", "kind"),
    [
        (b'data: {"error": {"message": "bad input", "code": 400}}\n\n', InvalidArgumentError),
        (b'event: error\ndata: {"error": {"message": "too fast", "code": 429}}\n\n', ResourceExhaustedError),
        (
            b'data: {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}\n\n',
            UnavailableError,
        ),
        (b'data: {"error": "Incomplete generation", "error_type": "incomplete_generation"}\n\n', UnavailableError),
        (b"event: error\ndata: out of memory\n\n", UnavailableError),
    ],
)
async def test_an_error_within_a_stream_is_an_error(
    server: OpenAIServer, start: Start, piece: bytes, kind: type[CaravanError]
):
    server.will(stream(chunk({"content": "a"}), piece))
    provider = await start(server.url)
    with pytest.raises(kind):
        await chat(provider)
