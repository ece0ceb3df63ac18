"""Calling endpoints that callers describe."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from caravan.types.v1 import remote_execution_pb2
from services.core.errors import CaravanError, DeadlineExceededError, InvalidArgumentError, UnavailableError
from services.core.fetch import FetchLimits
from services.core.rest import execute, fill
from tests.support.http_endpoint import Endpoint

FIELD = "tools[0].remote_execution"
HERE = FetchLimits(allow_private=True, timeout=2.0, max_bytes=1000)


def config(url: str, **fields: Any) -> remote_execution_pb2.RestApiExecutionConfig:
    found = remote_execution_pb2.RestApiExecutionConfig()
    json_format.ParseDict({"url": {"uri": url}, **fields}, found)
    return found


async def failure_of(described: Any, arguments: dict[str, Any], limits: FetchLimits = HERE) -> CaravanError:
    with pytest.raises(CaravanError) as caught:
        await execute(described, arguments, limits, FIELD)
    return caught.value


async def test_without_a_body_the_arguments_are_posted_as_json(endpoint: Endpoint) -> None:
    answer = await execute(config(endpoint.url), {"city": "Oslo", "days": 3}, HERE, FIELD)
    (seen,) = endpoint.seen
    assert (seen.method, seen.headers["content-type"], json.loads(seen.body)) == (
        "POST",
        "application/json",
        {"city": "Oslo", "days": 3},
    )
    assert (answer.status, answer.mime_type, answer.text) == (200, "application/json", "{}")


async def test_every_part_is_a_template(endpoint: Endpoint) -> None:
    described = config(
        endpoint.url + "/v1/{{city}}",
        method="REST_API_METHOD_PUT",
        params={"days": "{{days}}", "say": "in {{city}}"},
        headers={"Authorization": "Bearer {{token}}"},
        body={"where": "{{city}}", "days": "{{days}}", "tags": ["{{city}}", "fixed"]},
    )
    await execute(described, {"city": "New York/../admin", "days": 3, "token": "t"}, HERE, FIELD)
    (seen,) = endpoint.seen
    assert seen.method == "PUT"
    assert seen.path.startswith("/v1/New%20York%2F..%2Fadmin?")
    assert seen.query == {"days": "3", "say": "in New York/../admin"}
    assert seen.headers["authorization"] == "Bearer t"
    assert json.loads(seen.body) == {"where": "New York/../admin", "days": 3, "tags": ["New York/../admin", "fixed"]}


async def test_get_sends_no_body(endpoint: Endpoint) -> None:
    await execute(config(endpoint.url, method="REST_API_METHOD_GET"), {"a": 1}, HERE, FIELD)
    assert endpoint.seen[0].body == b""


async def test_an_answer_keeps_its_status(endpoint: Endpoint) -> None:
    endpoint.says('{"error": "busy"}', status=503)
    answer = await execute(config(endpoint.url), {}, HERE, FIELD)
    assert (answer.status, answer.json()) == (503, {"error": "busy"})


async def test_a_redirect_is_not_followed(endpoint: Endpoint) -> None:
    endpoint.says("", status=302, headers={"Location": "http://169.254.169.254/"})
    assert (await execute(config(endpoint.url), {}, HERE, FIELD)).status == 302


async def test_what_is_wrong_is_named_by_its_field(endpoint: Endpoint) -> None:
    cases = {
        f"{FIELD}.url.uri": config("ftp://x"),
        f"{FIELD}.body.a[0]": config(endpoint.url, body={"a": ["{{missing}}"]}),
        f"{FIELD}.headers.Host": config(endpoint.url, headers={"Host": "other"}),
        f"{FIELD}.headers.X": config(endpoint.url, headers={"X": "a\r\nInjected: 1"}),
    }
    for field, described in cases.items():
        failure = await failure_of(described, {})
        assert isinstance(failure, InvalidArgumentError)
        assert failure.violations[0].field == field
    assert not endpoint.seen


async def test_a_private_address_is_refused_unless_that_is_allowed(endpoint: Endpoint) -> None:
    failure = await failure_of(config(endpoint.url), {}, FetchLimits())
    assert isinstance(failure, InvalidArgumentError)
    assert "private address" in str(failure)


async def test_too_much_and_nobody_there_are_clear_errors(endpoint: Endpoint) -> None:
    endpoint.says("x" * 2000)
    assert isinstance(await failure_of(config(endpoint.url), {}), InvalidArgumentError)
    assert isinstance(await failure_of(config("http://127.0.0.1:1"), {}), UnavailableError)


async def test_an_endpoint_that_hangs_ends_with_the_time(endpoint: Endpoint) -> None:
    endpoint.takes(1.0)
    failure = await failure_of(config(endpoint.url), {}, FetchLimits(allow_private=True, timeout=0.2))
    assert isinstance(failure, DeadlineExceededError)


@given(st.text())
def test_what_an_argument_says_is_never_a_template(said: str) -> None:
    assert fill("a {{x}} b", {"x": said, "secret": "s"}, "f") == f"a {said} b"
    assert fill("{{x}}", {"x": said, "secret": "s"}, "f") == said
