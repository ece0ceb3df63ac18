"""Messages and tools in OpenAI's form, and back."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.openai_messages import (
    from_openai_messages,
    from_openai_tools,
    openai_messages,
    openai_tools,
)
from services.inference.tool_calls.schema import parameters_schema
from tests.services.inference.conversation import (
    assistant,
    call,
    parameter,
    system,
    tool,
    tool_response,
    user,
)

PNG = b"\x89PNG\r\n\x1a\n..."
LINKED = types_pb2.Image(url=types_pb2.URL(uri="https://x.y/z.jpg"))


def test_text_becomes_strings():
    assert openai_messages([system("Be", " brief."), user("hi"), assistant("Hello.")]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello."},
    ]


def test_a_users_context_follows_after_an_empty_line():
    assert openai_messages([user("hi", context=["ctx"])])[0]["content"] == "hi\n\nctx"


def test_images_become_parts_in_their_place_whoever_sends_them():
    inline = types_pb2.Image(data=PNG)
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()}},
        {"type": "image_url", "image_url": {"url": "https://x.y/z.jpg"}},
    ]
    assert openai_messages([user("a", inline, LINKED)])[0]["content"] == parts
    assert openai_messages([system("a", inline, LINKED)])[0]["content"] == parts
    with_context = openai_messages([user("a", context=[LINKED])])[0]["content"]
    assert with_context == [parts[0], {"type": "text", "text": "\n\n"}, parts[2]]


@pytest.mark.parametrize(
    ("data", "kind"), [(PNG, "png"), (b"\xff\xd8\xff0", "jpeg"), (b"GIF89a", "gif"), (b"RIFF0000WEBP", "webp")]
)
def test_inline_images_tell_their_type(data, kind):
    (part,) = openai_messages([user(types_pb2.Image(data=data))])[0]["content"]
    assert part["image_url"]["url"].startswith(f"data:image/{kind};base64,")


def test_all_calls_of_an_answer_go_with_json_arguments_and_plain_names():
    made = [call("brave_search", {"query": "it's"}, "c1"), call("f", {"b": 2, "a": {"k": None}}, "c2")]
    (message, response) = openai_messages([assistant(calls=made), tool_response("found", call_id="c1")])
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "brave_search", "arguments": '{"query": "it\'s"}'}},
            {"id": "c2", "type": "function", "function": {"name": "f", "arguments": '{"b": 2, "a": {"k": null}}'}},
        ],
    }
    assert response == {"role": "tool", "tool_call_id": "c1", "content": "found"}


def test_arguments_of_a_struct_alone_are_sent_too():
    made = types_pb2.ToolCall(call_id="c", tool_name="f")
    made.arguments.update({"n": 3.0, "x": 2.5})
    (sent,) = openai_messages([assistant(calls=[made])])[0]["tool_calls"]
    assert sent["function"]["arguments"] == '{"n": 3, "x": 2.5}'


def test_arguments_that_are_no_json_are_the_callers_error():
    with pytest.raises(InvalidArgumentError):
        openai_messages([assistant(calls=[types_pb2.ToolCall(tool_name="f", arguments_json="{")])])


def test_tools_carry_their_schema():
    defined = tool("f", "Does it.", b=parameter("str", "The b."), a=parameter("int", required=False, default=5.0))
    assert openai_tools([defined]) == [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "Does it.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "b": {"type": "string", "description": "The b."},
                        "a": {"type": "integer", "default": 5},
                    },
                    "required": ["b"],
                    "additionalProperties": False,
                },
            },
        }
    ]


def test_builtin_tools_become_functions_with_their_parameter():
    (search, code) = openai_tools([tool("brave_search"), tool("code_interpreter", "Mine.")])
    assert search["function"]["name"] == "brave_search"
    assert search["function"]["description"]
    assert search["function"]["parameters"]["required"] == ["query"]
    assert code["function"]["parameters"]["required"] == ["code"]
    assert code["function"]["description"] == "Mine."


# From OpenAI's form ----------------------------------------------------------------------------------------------------


def test_openai_messages_become_ours():
    answer = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    assert from_openai_messages(
        [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": "https://x.y/z.jpg"}},
                ],
            },
            answer,
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
            {"role": "assistant", "content": "Done."},
        ]
    ) == [
        system("Be brief."),
        user("hi", LINKED),
        assistant(calls=[call("f", {"a": 1})], stop_reason=types_pb2.STOP_REASON_END_OF_MESSAGE),
        tool_response("ok"),
        assistant("Done."),
    ]


@pytest.mark.parametrize("arguments", ["", " ", None, "{}", {}])
def test_missing_arguments_are_none(arguments):
    sent = [{"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": arguments}}]}]
    assert from_openai_messages(sent)[0].assistant.tool_calls == [call("f")]


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ("hi", "messages[0]"),
        ({"content": "hi"}, "messages[0].role"),
        ({"role": "robot", "content": "hi"}, "messages[0].role"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].image_url"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "messages[0].content[0].text"),
        ({"role": "assistant", "tool_calls": {}}, "messages[0].tool_calls"),
        ({"role": "assistant", "tool_calls": [{}]}, "messages[0].tool_calls[0].function"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "messages[0].tool_calls[0].function.name"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{'a': 1"}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_wrong_openai_messages_are_named_by_their_path(message, path):
    with pytest.raises(InvalidArgumentError) as caught:
        from_openai_messages([message])
    assert [violation.field for violation in caught.value.violations] == [path]


def test_openai_tools_become_ours_with_their_whole_schema():
    schema = {
        "type": "object",
        "properties": {
            "when": {"$ref": "#/$defs/day", "description": "The day."},
            "n": {"type": "integer", "default": 3},
        },
        "required": ["when"],
        "$defs": {"day": {"type": "string", "enum": ["today", "tomorrow"]}},
    }
    sent = {"type": "function", "function": {"name": "f", "description": "Does it.", "parameters": schema}}
    (made,) = from_openai_tools([sent])
    assert (made.tool_name, made.description) == ("f", "Does it.")
    properties = parameters_schema(made)["properties"]
    assert properties["n"] == {"type": "integer", "default": 3}
    assert properties["when"]["$ref"] == "#/properties/when/$defs/day"
    assert properties["when"]["$defs"] == schema["$defs"]
    assert parameters_schema(made)["required"] == ["when"]


def test_tools_without_parameters_take_none():
    (made,) = from_openai_tools([{"type": "function", "function": {"name": "f"}}])
    assert parameters_schema(made)["properties"] == {}


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ({"type": "retrieval"}, "tools[0].type"),
        ({"type": "function"}, "tools[0].function"),
        ({"type": "function", "function": {"name": "f", "parameters": [1]}}, "tools[0].function.parameters"),
        (
            {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": 5}}}},
            "tools[0].function.parameters.properties.a",
        ),
    ],
)
def test_wrong_openai_tools_are_named_by_their_path(sent, path):
    with pytest.raises(InvalidArgumentError) as caught:
        from_openai_tools([sent])
    assert [violation.field for violation in caught.value.violations] == [path]


texts = st.text(max_size=20)
parts = st.lists(st.one_of(texts.filter(bool), st.just(LINKED)), max_size=3)
made_calls = st.lists(
    st.builds(
        call, st.sampled_from(["f", "brave_search"]), st.dictionaries(texts, st.integers() | texts | st.none()), texts
    ),
    min_size=1,
    max_size=3,
)
said = st.one_of(
    st.builds(lambda p: user(*p), parts),
    st.builds(lambda p: system(*p), parts),
    st.builds(lambda p: assistant(*p), parts),
    st.builds(lambda p, c: assistant(*p, calls=c, stop_reason=types_pb2.STOP_REASON_END_OF_MESSAGE), parts, made_calls),
)


@given(st.lists(said, max_size=5))
def test_what_goes_to_openai_comes_back_the_same(messages):
    written = openai_messages(messages)
    assert openai_messages(from_openai_messages(json.loads(json.dumps(written)))) == written
    assert [message.assistant.tool_calls for message in from_openai_messages(written)] == [
        message.assistant.tool_calls for message in messages
    ]
