"""The client against the real services."""

import json

import pytest

import caravan
from caravan import errors

CITIES = {"type": "string", "enum": ["Paris", "Rome"]}
TOOL = {"tool_name": "get_weather", "parameters": {"city": {"param_type": "string", "schema": CITIES}}}


@pytest.fixture
def client(driver, stack):
    return driver.client(stack.target, timeout=120)


def test_a_chat_streams_and_counts(driver, client):
    stream = client.chat("caravan-chat", "Hello", stream=True, max_tokens=16)
    texts = driver.run(stream.texts())
    assert "".join(texts) == stream.so_far.text
    assert stream.so_far.usage["completion_tokens"] <= 16


def test_a_direct_chat_says_the_same(driver, client):
    answers = {
        driver.run(c.chat("caravan-chat", "Hello", max_tokens=16)).text
        for c in (client, client.with_options(direct=True))
    }
    assert len(answers) == 1


def test_a_required_tool_is_called_with_valid_arguments(driver, client):
    reply = driver.run(
        client.chat("caravan-chat", "Weather in Paris?", tools=[TOOL], tool_choice="required", max_tokens=64)
    )
    assert reply.stop_reason == "end_of_message"
    assert [call.tool_name for call in reply.tool_calls] == ["get_weather"]
    assert caravan.tool_arguments(reply.tool_calls[0])["city"] in CITIES["enum"]


def test_a_schema_is_followed(driver, client):
    schema = {
        "type": "object",
        "properties": {"size": {"enum": ["small", "large"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["size", "count"],
    }
    answer = json.loads(driver.run(client.chat("caravan-chat", "Hello", json_schema=schema, max_tokens=64)).text)
    assert answer["size"] in ("small", "large")
    assert 0 <= answer["count"] <= 9


def test_batches_and_embeddings(driver, client):
    batch = driver.run(client.inference.batch_chat_completion("caravan-chat", [["Hello"], ["Bye"]], max_tokens=8)).batch
    assert all(caravan.text_of(answer.completion_message) for answer in batch)
    assert [len(vector) for vector in driver.run(client.embed("all-MiniLM-L6-v2", ["a", "b"]))] == [384, 384]


def test_leaving_a_stream_early_leaves_nothing_behind(driver, client):
    for _ in range(3):
        assert len(driver.leave_after(2, lambda: client.chat("caravan-chat", "Tell me all.", stream=True))) == 2
    assert driver.run(client.chat("caravan-chat", "Hello", max_tokens=8)).text


def test_errors_name_the_field(driver, client):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        driver.run(client.chat("caravan-chat", "Hello", sampling_params={"strategy": {"type": "top_p", "top_p": 7.0}}))
    assert [violation.subject for violation in caught.value.violations] == ["sampling_params.top_p.top_p"]
    with pytest.raises(errors.NotFoundError) as missing:
        driver.run(client.chat("nope", "Hello"))
    assert missing.value.resource_name == "nope"
    with pytest.raises(errors.FailedPreconditionError):
        driver.run(client.embed("caravan-chat", "Hello"))
