"""Constraints on tool calls, compiled and run by xgrammar: what they accept is what the decoder reads."""

import json
import random

import pytest
import xgrammar

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.tool_calls.constraint import free_choice_constraint, tool_call_constraint
from services.inference.tool_calls.decode import decode
from tests.services.inference.conversation import FORMATS, FUNCTION_TAG, JSON, PYTHON_LIST, parameter, tool

REQUIRED = types_pb2.ToolConfig(tool_choice=types_pb2.TOOL_CHOICE_REQUIRED)
BYTES = xgrammar.TokenizerInfo([*(bytes([byte]) for byte in range(256)), b"<end>"], stop_token_ids=[256])

CITY = tool(
    "get_weather", city=parameter(), days=parameter("int", required=False), metric=parameter("bool", required=False)
)
CLOCK = tool("clock")
SEARCH = tool("brave_search")


def accepts(constraint, text):
    compiled = xgrammar.GrammarCompiler(BYTES).compile_structural_tag(constraint.value)
    matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
    taken = all(matcher.accept_token(byte) for byte in text.encode())
    return taken and matcher.is_completed()


def calls_in(text, tools, tool_format):
    answer = decode(text, tools, tool_format)
    return answer.text, [(call.tool_name, json.loads(call.arguments_json)) for call in answer.tool_calls]


def by_name(name):
    return types_pb2.ToolConfig(tool_name=name)


WEATHER_CALLS = {
    JSON: '{"type": "function", "name": "get_weather", "parameters": {"city": "Köln \\"X\\" it\'s", "days": 3}}',
    FUNCTION_TAG: '<function=get_weather>{"city": "Köln \\"X\\" it\'s", "days": 3}</function>',
    PYTHON_LIST: '[get_weather(city="Köln \\"X\\" it\'s", days=3)]',
}
CLOCK_CALLS = {
    JSON: '{"type": "function", "name": "clock", "parameters": {}}',
    FUNCTION_TAG: "<function=clock>{}</function>",
    PYTHON_LIST: "[clock()]",
}


@pytest.mark.parametrize("tool_format", FORMATS)
def test_a_required_call_is_accepted_and_decodes(tool_format):
    tools = [CITY, CLOCK, SEARCH]
    constraint = tool_call_constraint(tools, tool_format, REQUIRED)
    for text, name, arguments in [
        (WEATHER_CALLS[tool_format], "get_weather", {"city": 'Köln "X" it\'s', "days": 3}),
        (CLOCK_CALLS[tool_format], "clock", {}),
        ('brave_search.call(query="a \\"b\\"")', "brave_search", {"query": 'a "b"'}),
    ]:
        assert accepts(constraint, text), text
        assert calls_in(text, tools, tool_format) == ("", [(name, arguments)])


@pytest.mark.parametrize("tool_format", FORMATS)
@pytest.mark.parametrize(
    "text", ["", "Hello", "{}", "[]", '{"name": "clock"}', "<function=other>{}</function>", "[other()]"]
)
def test_text_and_other_tools_are_rejected_when_a_call_is_required(tool_format, text):
    assert not accepts(tool_call_constraint([CITY, CLOCK], tool_format, REQUIRED), text)


@pytest.mark.parametrize("tool_format", FORMATS)
def test_a_choice_by_name_allows_that_tool_alone(tool_format):
    constraint = tool_call_constraint([CITY, CLOCK], tool_format, by_name("clock"))
    assert accepts(constraint, CLOCK_CALLS[tool_format])
    assert not accepts(constraint, WEATHER_CALLS[tool_format])


@pytest.mark.parametrize("tool_format", FORMATS)
def test_required_arguments_must_come_and_unknown_ones_must_not(tool_format):
    constraint = tool_call_constraint([CITY], tool_format, REQUIRED)
    whole = WEATHER_CALLS[tool_format]
    assert not accepts(
        constraint, whole.replace('"city": "Köln \\"X\\" it\'s", ', "").replace('city="Köln \\"X\\" it\'s", ', "")
    )
    assert not accepts(constraint, whole.replace("days", "weeks"))
    assert not accepts(constraint, whole.replace("3", '"3"'))


def test_optional_python_arguments_may_begin_with_any_of_them():
    free = tool(
        "f", a=parameter("int", required=False), b=parameter("int", required=False), c=parameter("bool", required=False)
    )
    constraint = tool_call_constraint([free], PYTHON_LIST, REQUIRED)
    for text in ["[f()]", "[f(a=1)]", "[f(b=2)]", "[f(c=True)]", "[f(a=1, c=False)]", "[f(a=1, b=2, c=True)]"]:
        assert accepts(constraint, text), text
        assert len(decode(text, [free], PYTHON_LIST).tool_calls) == 1
    for text in ["[f(a=1,)]", "[f(b=2, a=1)]", "[f(, a=1)]", "[f(a=1 b=2)]"]:
        assert not accepts(constraint, text), text


def test_many_optional_python_arguments_carry_a_comma_each():
    many = tool("f", **{f"p{i}": parameter("int", required=False) for i in range(9)})
    constraint = tool_call_constraint([many], PYTHON_LIST, by_name("f"))
    assert accepts(constraint, "[f()]")
    assert accepts(constraint, "[f(p2=1, p7=2, )]")
    assert calls_in("[f(p2=1, p7=2, )]", [many], PYTHON_LIST) == ("", [("f", {"p2": 1, "p7": 2})])


def test_a_required_python_list_may_hold_several_calls():
    tools = [CITY, CLOCK]
    text = '[clock(), get_weather(city="a"), clock()]'
    assert accepts(tool_call_constraint(tools, PYTHON_LIST, REQUIRED), text)
    assert not accepts(tool_call_constraint(tools, PYTHON_LIST, by_name("clock")), text)
    assert len(decode(text, tools, PYTHON_LIST).tool_calls) == 3


@pytest.mark.parametrize("tool_format", FORMATS)
def test_nested_schemas_hold_with_their_own_definitions(tool_format):
    node = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
                "required": ["value"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    }
    linked = tool("f", chain=parameter("object", schema=node))
    constraint = tool_call_constraint([linked], tool_format, REQUIRED)
    value = '{"next": {"value": 2}, "value": 1}'
    text = {
        JSON: '{"type": "function", "name": "f", "parameters": {"chain": %s}}',
        FUNCTION_TAG: '<function=f>{"chain": %s}</function>',
        PYTHON_LIST: "[f(chain=%s)]",
    }[tool_format]
    assert accepts(constraint, text % value)
    assert not accepts(constraint, text % value.replace("2", '"2"'))
    assert calls_in(text % value, [linked], tool_format)[1] == [("f", {"chain": json.loads(value)})]


@pytest.mark.parametrize("tool_format", FORMATS)
def test_the_code_interpreter_is_called_like_a_custom_tool_when_it_must_be(tool_format):
    tools = [tool("code_interpreter")]
    constraint = tool_call_constraint(tools, tool_format, by_name("code_interpreter"))
    text = {
        JSON: '{"type": "function", "name": "code_interpreter", "parameters": {"code": "print(\\n1)"}}',
        FUNCTION_TAG: '<function=code_interpreter>{"code": "print(\\n1)"}</function>',
        PYTHON_LIST: '[code_interpreter(code="print(\\n1)")]',
    }[tool_format]
    assert accepts(constraint, text)
    assert calls_in(text, tools, tool_format) == ("", [("code_interpreter", {"code": "print(\n1)"})])


@pytest.mark.parametrize("tool_format", FORMATS)
def test_space_does_not_go_on_forever(tool_format):
    constraint = tool_call_constraint([CITY], tool_format, REQUIRED)
    text = WEATHER_CALLS[tool_format]
    assert not accepts(constraint, text.replace('"city":', '"city":   \n').replace("city=", "city=   \n"))


@pytest.mark.parametrize("tool_format", FORMATS)
def test_a_free_choice_allows_text_and_holds_calls_to_their_schema(tool_format):
    constraint = free_choice_constraint([CITY, CLOCK, SEARCH], tool_format)
    call = WEATHER_CALLS[tool_format]
    assert accepts(constraint, "Just text.")
    assert accepts(constraint, call)
    assert not accepts(constraint, call.replace("days", "weeks"))
    assert free_choice_constraint([SEARCH], tool_format) is None


def test_other_choices_leave_the_model_free():
    for choice in (types_pb2.TOOL_CHOICE_AUTO, types_pb2.TOOL_CHOICE_NONE, types_pb2.TOOL_CHOICE_UNSPECIFIED):
        assert tool_call_constraint([CITY], JSON, types_pb2.ToolConfig(tool_choice=choice)) is None


def test_a_name_must_be_one_of_the_tools():
    with pytest.raises(InvalidArgumentError, match=r"tool_config.tool_name: .*get_weather, clock"):
        tool_call_constraint([CITY, CLOCK], JSON, by_name("other"))


def test_a_required_call_needs_a_tool():
    with pytest.raises(InvalidArgumentError, match="tools: must not be empty"):
        tool_call_constraint([], JSON, REQUIRED)


# Texts that a model would write if it chose among the allowed tokens by dice; the end is the likeliest where it is allowed.
TOKENS = [
    *map(chr, range(32, 127)),
    "\n",
    "é",
    "🙂",
    "\\n",
    "\\u00e9",
    "\\ud83d\\ude42",
    "\\/",
    "\\\\",
    "true",
    "null",
    "-1.5e3",
    '", "',
    "), ",
]
VOCABULARY = xgrammar.TokenizerInfo([*TOKENS, "<end>"], stop_token_ids=[len(TOKENS)])
CLOSING = [TOKENS.index(token) for token in '"}])']


def written_by_dice(constraint, dice):
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(VOCABULARY).compile_structural_tag(constraint.value))
    mask = xgrammar.allocate_token_bitmask(1, VOCABULARY.vocab_size)
    text = []
    while True:
        matcher.fill_next_token_bitmask(mask)
        allowed = [token for token in range(VOCABULARY.vocab_size) if mask[0, token // 32].item() >> (token % 32) & 1]
        closing = [token for token in allowed if token in CLOSING]
        token = (
            len(TOKENS)
            if len(TOKENS) in allowed
            else dice.choice(closing if closing and dice.random() < 0.4 else allowed)
        )
        assert matcher.accept_token(token)
        if token == len(TOKENS):
            return "".join(text)
        text.append(TOKENS[token])


NESTED = {
    "type": "object",
    "properties": {"k": {"type": "array", "items": {"type": ["string", "null"]}, "maxItems": 3}},
    "required": ["k"],
    "additionalProperties": False,
}
EVERY_TYPE = tool(
    "every-type.v1",
    s=parameter("str"),
    n=parameter("int"),
    x=parameter("float", required=False),
    b=parameter("bool", required=False),
    o=parameter("object", schema=NESTED, required=False),
    e=parameter("str", schema={"enum": ["it's", 'a"b', 3, None]}, required=False),
)


@pytest.mark.parametrize("tool_format", FORMATS)
@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_constraint_lets_through_is_a_call(tool_format, seed):
    tools = [EVERY_TYPE, CLOCK, SEARCH, tool("code_interpreter")]
    text = written_by_dice(tool_call_constraint(tools, tool_format, REQUIRED), random.Random(seed))
    rest, calls = calls_in(text, tools, tool_format)
    assert rest == "", text
    assert calls, text
    assert len(calls) == 1 or tool_format == PYTHON_LIST
