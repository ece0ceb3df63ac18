"""What callers are told when the server refuses, fails, hangs or is away."""

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from services.core.context import REQUEST, RequestContext
from services.core.errors import (
    CaravanError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.inference.providers.remote_openai.failures import clean, retry_after
from services.inference.providers.remote_openai.provider import RemoteOpenAIProvider
from tests.services.inference.conversation import content, user
from tests.services.inference.providers.remote_openai.conftest import Start
from tests.services.inference.providers.remote_openai.test_answers import chat_answer
from tests.support.eventually import until
from tests.support.openai_server import OpenAIServer, Reply, answer, openai_server, plain, stream

KEY = "sk-proj-abcdefgh12345678"
GOOD = answer(chat_answer({"content": "fine"}))
CONTEXT = "This model's maximum context length is 8 tokens. However, you requested 9."


def openai_error(message: str, param: str | None = None, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def request() -> inference_pb2.ChatCompletionRequest:
    return inference_pb2.ChatCompletionRequest(model_id="m", messages=[user("hi")])


async def failure(provider: RemoteOpenAIProvider) -> CaravanError:
    with pytest.raises(CaravanError) as caught:
        await provider.chat_completion(request())
    return caught.value


@pytest.mark.parametrize(
    ("body", "said", "field"),
    [
        (openai_error("bad temperature", "temperature"), "bad temperature", "sampling_params.strategy"),
        (openai_error("no", "messages.[0].content"), "no", "messages"),
        (openai_error("no", "max_completion_tokens"), "no", "sampling_params.max_tokens"),
        (openai_error("Invalid schema", "response_format"), "Invalid schema", "response_format"),
        (openai_error(CONTEXT, code="context_length_exceeded"), CONTEXT, "messages"),
        (openai_error("Grammar error: Invalid type: nonsense"), "Grammar error", "response_format"),
        (openai_error("Model 'm' does not support Matryoshka embeddings"), "Matryoshka", "output_dimension"),
        (openai_error("something else"), "something else", None),
        ({"error": "Input validation error: `top_p` must be > 0.0", "error_type": "validation"}, "must be > 0.0", None),
        (
            {"error": "`inputs` tokens + `max_new_tokens` must be <= 10", "error_type": "validation"},
            "tokens",
            "messages",
        ),
        (
            {"detail": [{"loc": ["body", "top_k"], "msg": "not an int", "type": "int"}]},
            "top_k: not an int",
            "sampling_params.strategy",
        ),
        ({"detail": "unsupported"}, "unsupported", None),
        ({"message": "unsupported"}, "unsupported", None),
        ([1], "HTTP", None),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
async def test_what_the_server_finds_wrong_is_an_invalid_argument(
    server: OpenAIServer, start: Start, status: int, body: Any, said: str, field: str | None
):
    server.will(answer(body, status))
    error = await failure(await start(server.url))
    assert isinstance(error, InvalidArgumentError)
    assert said in error.message
    assert [violation.field for violation in error.violations] == ([field] if field else [])
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_is_the_operators_fault_and_is_never_shown(
    server: OpenAIServer, start: Start, status: int
):
    server.will(answer(openai_error(f"Incorrect API key provided: {KEY}"), status))
    error = await failure(await start(server.url, api_key=KEY))
    assert isinstance(error, FailedPreconditionError)
    assert error.reason == "PROVIDER_CREDENTIALS"
    assert "operator" in error.message
    assert KEY not in error.message


async def test_keys_in_the_servers_messages_are_masked(server: OpenAIServer, start: Start):
    said = f"bad header Authorization: Bearer {KEY}, x-secret: hush, nvapi-1234567890"
    server.will(answer(openai_error(said), 400))
    error = await failure(await start(server.url, api_key=KEY, headers={"x-secret": "hush"}))
    for secret in (KEY, "hush", "nvapi-1234567890"):
        assert secret not in error.message
    assert server.last.headers["x-secret"] == "hush"


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (answer(openai_error("The model `m` does not exist"), 404), NotFoundError, "NOT_FOUND"),
        (plain("slow", 408), DeadlineExceededError, "PROVIDER_TIMEOUT"),
        (plain("", 504), DeadlineExceededError, "PROVIDER_TIMEOUT"),
        (
            answer({"error": "Model is overloaded", "error_type": "overloaded"}, 429),
            ResourceExhaustedError,
            "PROVIDER_BUSY",
        ),
        (
            answer({"error": "Request failed during generation", "error_type": "generation"}, 424),
            UnavailableError,
            "PROVIDER_FAILED",
        ),
        (plain("<html>Internal Server Error</html>", 500), UnavailableError, "PROVIDER_FAILED"),
        (plain("", 502), UnavailableError, "PROVIDER_FAILED"),
        (answer(openai_error("warming up"), 503), UnavailableError, "PROVIDER_FAILED"),
        (plain("", 413), InvalidArgumentError, "PROVIDER_REFUSES"),
        (plain("", 405), FailedPreconditionError, "PROVIDER_REFUSES"),
        (plain("", 501), FailedPreconditionError, "PROVIDER_REFUSES"),
        (plain("", 302, Location="http://elsewhere/"), FailedPreconditionError, "PROVIDER_REFUSES"),
        (Reply(end="abort", before_headers=True), UnavailableError, "PROVIDER_BROKE_OFF"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_statuses(
    server: OpenAIServer, start: Start, reply: Reply, kind: type[CaravanError], reason: str, streamed: bool
):
    server.will(reply)
    provider = await start(server.url)
    if streamed:
        wanted = inference_pb2.StreamChatCompletionRequest(model_id="m", messages=[user("hi")])
        with pytest.raises(CaravanError) as caught:
            await anext(provider.stream_chat_completion(wanted))
        error = caught.value
    else:
        error = await failure(provider)
    assert isinstance(error, kind)
    assert error.reason == reason
    assert "<html>" not in error.message


async def test_a_missing_model_is_named_as_the_caller_did(server: OpenAIServer, start: Start):
    server.will(answer(openai_error("The model `m` does not exist"), 404))
    error = await failure(await start(server.url))
    assert isinstance(error, NotFoundError)
    assert (error.resource_type, error.resource_name) == ("model", "m")


async def test_a_busy_server_is_asked_again_and_its_wish_is_heeded(server: OpenAIServer, start: Start):
    provider = await start(server.url)
    server.will(answer({}, 429, Retry_After="0.1"), answer({}, 503), GOOD)
    before = time.monotonic()
    await provider.chat_completion(request())
    assert len(server.received) == 3
    assert time.monotonic() - before >= 0.1
    identifiers = {received.headers["X-Request-Id"] for received in server.received}
    assert len(identifiers) == 3, "repetitions can be told apart in the server's log"


async def test_repetitions_are_bounded(server: OpenAIServer, start: Start):
    server.will(answer({}, 503))
    error = await failure(await start(server.url, max_retries=1))
    assert isinstance(error, UnavailableError)
    assert len(server.received) == 2


async def test_a_server_that_wants_a_long_rest_is_not_asked_again(server: OpenAIServer, start: Start):
    server.will(answer(openai_error("Rate limit reached"), 429, Retry_After="30"))
    error = await failure(await start(server.url))
    assert isinstance(error, ResourceExhaustedError)
    assert error.retry_after == 30
    assert "Rate limit reached" in error.message
    assert len(server.received) == 1


async def test_a_quota_that_is_used_up_is_no_reason_to_ask_again(server: OpenAIServer, start: Start):
    server.will(answer(openai_error("You exceeded your current quota", code="insufficient_quota"), 429))
    error = await failure(await start(server.url))
    assert isinstance(error, ResourceExhaustedError)
    assert error.retry_after is None
    assert len(server.received) == 1


async def test_nothing_is_repeated_beyond_the_deadline(server: OpenAIServer, start: Start):
    provider = await start(server.url, max_retries=10)

    async def call() -> CaravanError:
        REQUEST.set(RequestContext("r1", deadline=time.monotonic() + 0.05))
        return await failure(provider)

    server.will(answer({}, 503, Retry_After="0.15"))
    error = await asyncio.create_task(call())
    assert isinstance(error, UnavailableError)
    assert len(server.received) == 1


async def test_a_deadline_ends_a_hanging_request(server: OpenAIServer, start: Start):
    provider = await start(server.url)
    server.will(Reply(end="hang", before_headers=True))

    async def call() -> CaravanError:
        REQUEST.set(
            RequestContext("r1", {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}, time.monotonic() + 0.2)
        )
        return await failure(provider)

    assert isinstance(await asyncio.create_task(call()), DeadlineExceededError)
    assert server.last.headers["traceparent"].startswith("00-111")
    assert server.last.headers["X-Request-Id"].startswith("r1-")
    await until(server.gone.is_set)


@pytest.mark.parametrize(
    "reply", [Reply(end="hang", before_headers=True), stream({"choices": []}, done=False, end="hang")]
)
async def test_a_silent_server_is_given_up(server: OpenAIServer, start: Start, reply: Reply):
    provider = await start(server.url, read_timeout=0.2)
    server.will(reply)
    error = await failure(provider)
    assert isinstance(error, DeadlineExceededError)
    assert error.reason == "PROVIDER_TIMEOUT"
    await until(server.gone.is_set)


async def test_a_full_pool_is_resource_exhausted(server: OpenAIServer, start: Start):
    provider = await start(server.url, max_connections=1, pool_timeout=0.1)
    server.will(Reply(end="hang", before_headers=True))
    running = asyncio.create_task(provider.chat_completion(request()))
    await until(lambda: server.open == 1)
    error = await failure(provider)
    assert isinstance(error, ResourceExhaustedError)
    assert error.retry_after == 1.0
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize(
    "reply", [Reply(end="hang", before_headers=True), stream({"choices": []}, done=False, end="hang")]
)
async def test_cancelling_closes_the_connection_at_once(server: OpenAIServer, start: Start, reply: Reply):
    provider = await start(server.url)
    server.will(reply)
    task = asyncio.create_task(provider.chat_completion(request()))
    await until(lambda: server.open == 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await until(server.gone.is_set, 1.0)


async def test_leaving_a_stream_closes_the_connection_at_once(server: OpenAIServer, start: Start):
    provider = await start(server.url)
    piece = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
    server.will(stream(piece, piece, done=False, end="hang"))
    events = provider.stream_chat_completion(
        inference_pb2.StreamChatCompletionRequest(model_id="m", messages=[user("hi")])
    )
    assert (await anext(events)).HasField("start")
    await events.aclose()
    await until(server.gone.is_set, 1.0)


async def test_a_server_that_is_away_is_unavailable_and_found_again(start: Start):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    provider = await start(
        f"http://127.0.0.1:{port}/v1", ready=False, refresh_seconds=30, models=[{"model_id": "m"}], max_retries=1
    )
    await until(lambda: "cannot connect" in provider.readiness.reason)
    error = await failure(provider)
    assert isinstance(error, UnavailableError)
    assert error.reason == "NOT_READY"
    async with openai_server(port) as server:
        await until(lambda: provider.readiness.ready)
        server.will(GOOD)
        await provider.chat_completion(request())
    error = await failure(provider)
    assert isinstance(error, UnavailableError)
    assert error.reason == "PROVIDER_UNREACHABLE"
    await until(lambda: not provider.readiness.ready, 2.0)


async def test_a_request_too_large_for_its_field_names_the_field(server: OpenAIServer, start: Start):
    server.will(answer(openai_error(CONTEXT, "input_tokens", 400), 400))
    provider = await start(server.url)
    with pytest.raises(InvalidArgumentError) as caught:
        await provider.completion(
            inference_pb2.CompletionRequest(model_id="m", content=content("x"), sampling_params={"max_tokens": 1})
        )
    assert caught.value.violations[0].field == "content"


async def test_half_a_surrogate_pair_in_json_is_an_invalid_argument(server: OpenAIServer, start: Start):
    provider = await start(server.url)
    wanted = inference_pb2.ChatCompletionRequest(
        model_id="m", messages=[user("hi")], response_format={"json_schema_text": r'{"enum": ["\ud83d"]}'}
    )
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        await provider.chat_completion(wanted)


def test_the_servers_words_are_one_bounded_line():
    assert clean("a\nb\x00\x1b[31mc") == "a b [31mc"
    assert len(clean("x" * 5000)) == 1003


def test_retry_after_in_all_its_forms():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    date = format_datetime(now + timedelta(seconds=7), usegmt=True)
    assert retry_after({"retry-after": "5"}) == 5.0
    assert retry_after({"retry-after": date}, now) == 7.0
    assert retry_after({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    for nonsense in ({}, {"retry-after": "soon"}, {"retry-after-ms": "?"}, {"retry-after": "99999999999999999999 GMT"}):
        assert retry_after(nonsense) is None
