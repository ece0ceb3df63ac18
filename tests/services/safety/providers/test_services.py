"""Each kind of shield as its own process, over gRPC."""

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from benchmarks.shields.secret_cases import ISSUED
from caravan.safety.v1 import safety_pb2, safety_pb2_grpc
from caravan.types.v1 import types_pb2
from tests.support.http_endpoint import Endpoint
from tests.support.processes import serving
from tests.support.requests import content, user

ERROR, WARN = types_pb2.VIOLATION_LEVEL_ERROR, types_pb2.VIOLATION_LEVEL_WARN
Stub = safety_pb2_grpc.SafetyServiceStub


@contextmanager
def service(provider: Mapping[str, Any]) -> Iterator[Stub]:
    environment = {"CARAVAN_PROVIDER": json.dumps(provider), "OMP_NUM_THREADS": "1"}
    with (
        serving("services.safety", "--provider-id", "shields", environment=environment) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        yield Stub(channel)


def judged(stub: Stub, shield_id: str, message: types_pb2.Message) -> safety_pb2.RunShieldResponse:
    return stub.RunShield(safety_pb2.RunShieldRequest(shield_id=shield_id, messages=[message]), timeout=30)


def call_of_a_tool(arguments: str) -> types_pb2.Message:
    call = types_pb2.ToolCall(call_id="c1", tool_name="code_interpreter", arguments_json=arguments)
    return types_pb2.Message(assistant=types_pb2.CompletionMessage(tool_calls=[call]))


def test_secrets_are_masked_in_texts_and_in_the_arguments_of_tools():
    token = ISSUED["github_token"](random.Random(1))
    with service({"type": "inline::secrets"}) as stub:
        response = judged(stub, "secrets", user(f"push with {token} now"))
        assert response.violation.violation_level == WARN
        assert token not in str(response)
        assert response.result.masked_messages[0].user.content.items[0].text == "push with [GITHUB_TOKEN] now"
        response = judged(stub, "secrets", call_of_a_tool(json.dumps({"env": {"TOKEN": token}, "n": 1})))
        [masked] = response.result.masked_messages
        assert json.loads(masked.assistant.tool_calls[0].arguments_json) == {"env": {"TOKEN": "[GITHUB_TOKEN]"}, "n": 1}
        assert not judged(stub, "secrets", user("nothing to hide")).HasField("violation")


def test_what_identifies_a_person_is_masked():
    with service({"type": "inline::pii"}) as stub:
        response = judged(stub, "pii", user("I am jane@example.com, card 4539 1488 0343 6467"))
        assert response.result.masked_messages[0].user.content.items[0].text == "I am [EMAIL], card [CARD]"
        assert {finding.category for finding in response.result.findings} == {"email_address", "credit_card"}


def test_insecure_code_is_an_error_in_answers_and_in_the_arguments_of_tools():
    with service({"type": "inline::code-scanner"}) as stub:
        code = "import os\nos.system('rm ' + name)\n"
        answer = types_pb2.Message(assistant={"content": content(f"Sure:\n```python\n{code}```")})
        [finding] = judged(stub, "code-scanner", answer).result.findings
        assert (finding.category, finding.metadata["line"], finding.metadata["language"]) == ("B605", 2, "python")
        response = judged(stub, "code-scanner", call_of_a_tool(json.dumps({"code": "eval(text)"})))
        assert [finding.category for finding in response.result.findings if finding.location.call_id == "c1"]
        assert not judged(stub, "code-scanner", user("Use print() instead.")).HasField("violation")


def test_rules_that_cannot_be_used_keep_the_process_from_starting():
    shields = [{"shield_id": "words", "params": {"deny": [{"name": "a", "pattern": "(?=x)"}]}}]
    with (
        pytest.raises(AssertionError, match=r"params\.deny\[0\]\.pattern: is no expression of RE2"),
        service({"type": "inline::rules", "shields": shields}),
    ):
        pass


@pytest.mark.parametrize(("fail_open", "level"), [(False, ERROR), (True, types_pb2.VIOLATION_LEVEL_UNSPECIFIED)])
def test_an_endpoint_that_is_down_is_seen_in_the_result_whether_it_fails_open_or_closed(
    endpoint: Endpoint, fail_open: bool, level: int
):
    endpoint.says("oops", status=503)
    shields = [{"shield_id": "moderation", "params": {"fail_open": fail_open}}]
    provider = {"type": "remote::http", "url": endpoint.url, "shields": shields, "max_retry_delay": 0.1}
    with service(provider) as stub:
        response = judged(stub, "moderation", user("hello"))
        assert response.violation.violation_level == level
        assert response.result.error.code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert len(endpoint.seen) == 3
