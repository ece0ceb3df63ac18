import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan import llama_stack
from caravan.agents.v1 import turns_pb2
from caravan.errors import InvalidInputError
from caravan.inference.v1 import inference_pb2
from caravan.registry.v1 import memory_banks_pb2
from caravan.types.v1 import types_pb2


def build(kind, value):
    return llama_stack.build(kind, value)


def test_content_may_be_a_string_an_item_or_a_list():
    image = {"type": "image", "image": {"url": {"uri": "https://example.com/a.png"}}}
    assert build(types_pb2.InterleavedContent, "a").items[0].text == "a"
    assert build(types_pb2.InterleavedContent, {"type": "text", "text": "a"}).items[0].text == "a"
    content = build(types_pb2.InterleavedContent, ["a", {"type": "text", "text": "b"}, image])
    assert [item.text for item in content.items] == ["a", "b", ""]
    assert content.items[2].image.url.uri == "https://example.com/a.png"


def test_bytes_come_as_base64():
    assert build(types_pb2.Image, {"data": "aGk="}).data == b"hi"


def test_each_role_makes_its_own_message():
    call = {"call_id": "1", "tool_name": "f", "arguments": {"z": 1, "a": [True, None]}}
    assistant = build(
        types_pb2.Message, {"role": "assistant", "content": "", "stop_reason": "end_of_turn", "tool_calls": [call]}
    )
    assert assistant.assistant.stop_reason == types_pb2.STOP_REASON_END_OF_TURN
    assert json.loads(assistant.assistant.tool_calls[0].arguments_json) == {"z": 1, "a": [True, None]}
    tool = build(types_pb2.Message, {"role": "tool", "call_id": "1", "tool_name": "f", "content": "7"})
    assert tool.tool.content.items[0].text == "7"
    user = build(types_pb2.Message, {"role": "user", "content": "q", "context": "found"})
    assert user.user.context.items[0].text == "found"


@pytest.mark.parametrize(
    ("shape", "member"),
    [
        ({"strategy": {"type": "greedy"}}, "greedy"),
        ({"strategy": {"type": "top_p", "temperature": 0.5, "top_p": 0.9}}, "top_p"),
        ({"strategy": {"type": "top_k", "top_k": 4}}, "top_k"),
        ({"type": "top_k", "top_k": 4}, "top_k"),
        ({"top_k": {"top_k": 4}}, "top_k"),
    ],
)
def test_a_sampling_strategy_may_be_written_in_each_way(shape, member):
    params = build(types_pb2.SamplingParams, {**shape, "max_tokens": 3})
    assert params.WhichOneof("strategy") == member
    assert params.max_tokens == 3
    if member == "top_k":
        assert params.top_k.top_k == 4


def test_a_tool_choice_is_a_mode_or_a_name():
    assert build(types_pb2.ToolConfig, {"tool_choice": "required"}).tool_choice == types_pb2.TOOL_CHOICE_REQUIRED
    assert build(types_pb2.ToolConfig, {"tool_choice": "weather"}).tool_name == "weather"
    assert build(types_pb2.ToolConfig, {"tool_name": "weather"}).tool_name == "weather"


def test_a_response_format_has_a_schema_or_a_grammar():
    schema = build(types_pb2.ResponseFormat, {"type": "json_schema", "json_schema": {"type": "object"}})
    assert schema.json_schema["type"] == "object"
    assert build(types_pb2.ResponseFormat, {"type": "grammar", "bnf": "root ::= x"}).grammar.bnf == "root ::= x"


def test_a_tool_s_parameters_are_a_map():
    tool = build(types_pb2.ToolDefinition, {"tool_name": "f", "parameters": {"n": {"param_type": "int", "default": 3}}})
    assert tool.parameters["n"].default.number_value == 3


def test_a_bank_s_kind_stands_beside_its_parameters():
    params = build(memory_banks_pb2.MemoryBankParams, {"memory_bank_type": "keyword", "language": "de"})
    assert params.keyword.language == "de"


def test_messages_may_stand_in_for_shapes():
    conversation = build(inference_pb2.Conversation, [types_pb2.Message(), {"role": "user", "content": "a"}])
    assert len(conversation.messages) == 2


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (
            types_pb2.Message,
            {"role": "robot", "content": "a"},
            r"Message\.role: 'robot' is none of user, system, tool, assistant",
        ),
        (types_pb2.Message, {"role": "user", "contents": "a"}, "unknown field 'contents'; known are content, context"),
        (types_pb2.Message, 3, "a number does not stand for a Message"),
        (types_pb2.InterleavedContent, {"type": "text"}, r"items\[0\]|text is missing"),
        (types_pb2.InterleavedContent, 3, "a list is needed, not a number"),
        (types_pb2.Image, {"data": "%"}, "not base64"),
        (types_pb2.SamplingParams, {"max_tokens": "many"}, r"max_tokens: a string does not fit"),
        (types_pb2.SamplingParams, {"strategy": {"type": "beam"}}, "'beam' is none of greedy, top_p, top_k"),
        (types_pb2.SamplingParams, {"strategy": {"type": "greedy", "k": 1}}, "unknown field 'k'"),
        (types_pb2.ToolDefinition, {"parameters": ["a"]}, "an object is needed, not a list"),
        (types_pb2.CompletionMessage, {"stop_reason": "tired"}, "'tired' is none of unspecified, end_of_turn"),
        (types_pb2.Message, types_pb2.UserMessage(), "does not stand for a caravan"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(kind, value, problem):
    with pytest.raises(InvalidInputError, match=problem):
        build(kind, value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
shapes = st.dictionaries(
    st.sampled_from(
        ["role", "content", "type", "text", "tool_calls", "context", "stop_reason", "user", "arguments", "x"]
    ),
    json_values | st.sampled_from(["user", "assistant", "tool", "text", "image"]),
    max_size=5,
)


@given(shapes | json_values)
def test_nothing_but_invalid_input_is_raised(value):
    for kind in (
        types_pb2.Message,
        types_pb2.SamplingParams,
        types_pb2.ToolConfig,
        types_pb2.ToolCall,
        types_pb2.ToolDefinition,
    ):
        with contextlib.suppress(InvalidInputError):
            build(kind, value)


@pytest.mark.parametrize(
    ("content", "member"),
    [
        ("some text", "content"),
        ({"uri": "https://example.com/a.txt"}, "url"),
        ({"type": "text", "text": "some text"}, "content"),
        ([{"type": "text", "text": "some text"}], "content"),
    ],
)
def test_a_documents_content_is_told_from_its_address_by_its_form(content, member):
    attachment = build(turns_pb2.Attachment, {"content": content, "mime_type": "text/plain"})
    assert attachment.WhichOneof("source") == member
