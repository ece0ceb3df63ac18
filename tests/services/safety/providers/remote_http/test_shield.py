import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from caravan.types.v1 import types_pb2
from services.core.errors import (
    CaravanError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.core.provider_data import PROVIDER_DATA_KEY, enter_provider_data
from services.safety.ports import ConversationShield, Verdict
from services.safety.providers.remote_http.config import RemoteHttpConfig, RemoteHttpParams
from services.safety.providers.remote_http.provider import RemoteHttpProvider
from tests.support.http_endpoint import Endpoint

KEY = "key-of-the-operator"
SAFE = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.01}}
BAD = {
    "flagged": True,
    "categories": {"violence": True, "hate": False},
    "category_scores": {"violence": 0.9, "hate": 0.2},
}
TEMPLATE = {
    "kind": "template",
    "body": {"document": {"content": "{{text}}", "by": "{{ role }}"}, "lang": "en"},
    "flagged": "/outcome/verdict",
    "flagged_values": ["BLOCK"],
    "safe_values": ["PASS"],
    "scores": "/outcome/scores",
}

Ask = Callable[..., Any]


def user(*texts: str) -> types_pb2.Message:
    items = [types_pb2.InterleavedContentItem(text=text) for text in texts]
    return types_pb2.Message(user=types_pb2.UserMessage(content=types_pb2.InterleavedContent(items=items)))


@pytest.fixture
async def ask(endpoint: Endpoint) -> AsyncIterator[Ask]:
    """Has messages judged by the endpoint."""
    providers: list[RemoteHttpProvider] = []

    async def judge(messages: list[types_pb2.Message], params: dict[str, Any] | None = None, **config: Any) -> Verdict:
        settings = {"url": f"{endpoint.url}/v1/moderations", "api_key": KEY, "max_retry_delay": 0.2, **config}
        provider = RemoteHttpProvider("remote", RemoteHttpConfig.model_validate({"shields": [], **settings}))
        providers.append(provider)
        shield = await provider.prepare("moderation", RemoteHttpParams.model_validate(params or {}))
        assert isinstance(shield, ConversationShield)
        return await shield.judge(messages, range(len(messages)))

    yield judge
    for provider in providers:
        await provider.stop()


async def test_openais_shape_flags_a_text_with_category_score_and_place(endpoint: Endpoint, ask: Ask):
    endpoint.says({"id": "modr-1", "model": "omni-moderation-latest", "results": [SAFE, BAD]})
    verdict = await ask([user("hello"), user("kill ", "them")])
    [first, second] = verdict.findings
    assert (first.category, first.score) == ("violence", 0.9)
    assert first.violation_level == types_pb2.VIOLATION_LEVEL_ERROR
    assert [(one.location.message_index, one.location.item_index, one.location.end) for one in (first, second)] == [
        (1, 0, 5),
        (1, 1, 4),
    ]
    assert verdict.score == 0.9
    [seen] = endpoint.seen
    assert seen.method == "POST"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.json == {"model": "omni-moderation-latest", "input": ["hello", "kill them"]}


async def test_a_threshold_and_excluded_categories_decide_in_the_endpoints_place(endpoint: Endpoint, ask: Ask):
    endpoint.says({"results": [BAD]})
    assert [one.category for one in (await ask([user("x")], {"threshold": 0.1})).findings] == ["violence", "hate"]
    assert (await ask([user("x")], {"threshold": 0.95})).findings == []
    assert (await ask([user("x")], {"excluded_categories": ["violence"]})).findings == []


async def test_a_text_that_is_flagged_for_nothing_is_still_flagged(endpoint: Endpoint, ask: Ask):
    endpoint.says({"results": [{"flagged": True}]})
    assert [one.category for one in (await ask([user("x")])).findings] == ["flagged"]


async def test_a_template_escapes_what_it_is_filled_with(endpoint: Endpoint, ask: Ask):
    endpoint.says({"outcome": {"verdict": "BLOCK", "scores": {"toxic": 0.8}}})
    text = 'say "{{role}}", \\ and\nmore 😀'
    verdict = await ask([user(text)], format=TEMPLATE)
    assert endpoint.seen[0].json == {"document": {"content": text, "by": "user"}, "lang": "en"}
    assert [one.category for one in verdict.findings] == ["flagged"]
    assert verdict.score == 0.8


async def test_a_template_asks_for_each_text_and_knows_what_is_safe(endpoint: Endpoint, ask: Ask):
    for _ in range(12):
        endpoint.says({"outcome": {"verdict": "PASS", "scores": {}}})
    assert (await ask([user(f"text {at}") for at in range(12)], format=TEMPLATE)).findings == []
    assert {seen.json["document"]["content"] for seen in endpoint.seen} == {f"text {at}" for at in range(12)}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"[" * 5000,
        b'"' + b"x" * 100,
        {},
        {"results": []},
        {"results": [SAFE, SAFE]},
        {"results": [None]},
        {"results": [{"flagged": "no"}]},
        {"results": [{"categories": {}}]},
        {"results": [{"flagged": False, "categories": "none"}]},
        {"results": [{"flagged": False, "category_scores": {"a": "low"}}]},
        {"results": [{"flagged": False, "category_scores": {"a": 7}}]},
        b'{"results": [{"flagged": false, "category_scores": {"a": NaN}}]}',
        {"results": "safe"},
    ],
)
async def test_an_answer_that_cannot_be_read_is_never_safe(endpoint: Endpoint, ask: Ask, answer: Any):
    endpoint.says(answer)
    with pytest.raises(UnavailableError) as caught:
        await ask([user("x")])
    assert caught.value.reason == "ENDPOINT_ANSWER"


@pytest.mark.parametrize(
    "answer",
    [
        {"outcome": {"verdict": "MAYBE", "scores": {}}},
        {"outcome": {"verdict": None, "scores": {}}},
        {"outcome": {"scores": {}}},
        {"outcome": {"verdict": "PASS"}},
        {"outcome": {"verdict": "PASS", "scores": "none"}},
        [],
    ],
)
async def test_a_template_that_does_not_fit_the_answer_is_never_safe(endpoint: Endpoint, ask: Ask, answer: Any):
    endpoint.says(answer)
    with pytest.raises(UnavailableError):
        await ask([user("x")], format=TEMPLATE)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_busy_or_failing_endpoint_is_asked_again(endpoint: Endpoint, ask: Ask, status: int):
    endpoint.says({"error": "later"}, status=status)
    endpoint.says({"results": [BAD]})
    assert (await ask([user("x")])).findings
    assert len(endpoint.seen) == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, ResourceExhaustedError),
        (500, UnavailableError),
        (401, FailedPreconditionError),
        (400, FailedPreconditionError),
    ],
)
async def test_an_endpoint_that_goes_on_failing_is_an_error_that_shows_no_key(
    endpoint: Endpoint, ask: Ask, status: int, error: type[CaravanError]
):
    endpoint.says({"error": {"message": f"wrong key {KEY} for secret text"}}, status=status)
    with pytest.raises(error) as caught:
        await ask([user("secret text")], max_retries=1)
    assert KEY not in caught.value.message
    assert "secret text" not in caught.value.message
    assert len(endpoint.seen) == (2 if status in (429, 500) else 1)


async def test_retry_after_is_kept_to_and_too_long_a_wait_is_not_begun(endpoint: Endpoint, ask: Ask):
    endpoint.says({}, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(ResourceExhaustedError) as caught:
        await ask([user("x")], max_retries=5)
    assert caught.value.retry_after == 3600
    assert len(endpoint.seen) == 1


async def test_a_redirect_is_not_followed(endpoint: Endpoint, ask: Ask):
    endpoint.says("", status=307, headers={"Location": "http://169.254.169.254/latest"})
    with pytest.raises(FailedPreconditionError):
        await ask([user("x")])
    assert len(endpoint.seen) == 1


async def test_a_slow_endpoint_is_given_up(endpoint: Endpoint, ask: Ask):
    endpoint.takes(1.0)
    with pytest.raises(DeadlineExceededError):
        await ask([user("x")], request_seconds=0.2, max_retries=0)


async def test_an_endpoint_that_is_not_there_is_unavailable(ask: Ask):
    with pytest.raises(UnavailableError) as caught:
        await ask([user("x")], url="http://127.0.0.1:9/", max_retries=0)
    assert caught.value.reason == "ENDPOINT_UNREACHABLE"


async def test_an_answer_that_is_too_large_is_not_read_on(endpoint: Endpoint, ask: Ask):
    endpoint.says({"results": [SAFE], "padding": "x" * 5000})
    with pytest.raises(UnavailableError, match="larger than 2048 bytes"):
        await ask([user("x")], max_response_bytes=2048)


async def test_a_call_brings_its_own_key_only_where_the_operator_allows_it(endpoint: Endpoint, ask: Ask):
    endpoint.says({"results": [SAFE]})
    enter_provider_data([(PROVIDER_DATA_KEY, json.dumps({"safety_api_key": "own-key"}))])
    try:
        await ask([user("x")])
        await ask([user("x")], allow_request_credentials=True)
        assert [seen.headers["authorization"] for seen in endpoint.seen] == [f"Bearer {KEY}", "Bearer own-key"]
        enter_provider_data([(PROVIDER_DATA_KEY, json.dumps({"safety_api_key": "bad\nkey"}))])
        with pytest.raises(InvalidArgumentError) as caught:
            await ask([user("x")], allow_request_credentials=True)
        assert "bad" not in caught.value.message
    finally:
        enter_provider_data(None)


async def test_messages_without_text_are_not_sent(endpoint: Endpoint, ask: Ask):
    assert (await ask([user(""), user("  ")])).findings == []
    assert endpoint.seen == []


@pytest.mark.parametrize(
    "config",
    [
        {"url": "http://user:password@host/"},
        {"url": "file:///etc/passwd"},
        {"url": "http://host/", "format": {"kind": "template", "body": {"a": 1}, "flagged": "/f"}},
        {"url": "http://host/", "format": {"kind": "template", "body": {"a": "{{text}}"}}},
        {"url": "http://host/", "format": {"kind": "template", "body": {"a": "{{text}}"}, "flagged": "no/slash"}},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config: dict[str, Any]):
    with pytest.raises(ValidationError):
        RemoteHttpConfig.model_validate(config)


async def test_a_threshold_without_scores_and_scores_without_a_threshold_are_refused(ask: Ask):
    body = {"kind": "template", "body": "{{text}}"}
    with pytest.raises(InvalidArgumentError, match=r"params\.threshold"):
        await ask([user("x")], {"threshold": 0.5}, format={**body, "flagged": "/f"})
    with pytest.raises(InvalidArgumentError, match=r"params\.threshold"):
        await ask([user("x")], format={**body, "scores": "/s"})
