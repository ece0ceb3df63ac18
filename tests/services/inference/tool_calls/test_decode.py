"""Answers taken apart: what is a call, what is not, and that pieces of any size give the same as the whole."""

import json
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caravan.types.v1 import types_pb2
from services.inference.tool_calls.calls import make_call
from services.inference.tool_calls.decode import StreamDecoder, decode
from services.inference.tool_calls.encode import encode
from tests.services.inference.conversation import FORMATS, FUNCTION_TAG, JSON, PYTHON_LIST, call, parameter, tool

TOOLS = [
    tool("f"),
    tool("g"),
    tool("get-weather.v2", city=parameter()),
    tool("brave_search"),
    tool("code_interpreter"),
]
STARTED = types_pb2.TOOL_CALL_PARSE_STATUS_STARTED
IN_PROGRESS = types_pb2.TOOL_CALL_PARSE_STATUS_IN_PROGRESS
FAILED = types_pb2.TOOL_CALL_PARSE_STATUS_FAILED
SUCCEEDED = types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED


def numbered():
    numbers = count(1)
    return lambda: f"c{next(numbers)}"


def taken_apart(text, tool_format, tools=TOOLS, **options):
    """The text and the calls, as (name, arguments)."""
    answer = decode(text, tools, tool_format, **options)
    return answer.text, [(made.tool_name, json.loads(made.arguments_json)) for made in answer.tool_calls]


def events(pieces, tool_format, tools=TOOLS, stop_reason=types_pb2.STOP_REASON_END_OF_TURN):
    """The events of a streamed answer as tuples, neighbours of one kind put together."""
    decoder = StreamDecoder(tools, tool_format, call_ids=numbered())
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)] + decoder.finish(stop_reason)
    found = []
    for delta in deltas:
        kind, value = _event(delta)
        if found and found[-1][0] == kind and kind in {"text", "in_progress"}:
            found[-1] = (kind, found[-1][1] + value)
        else:
            found.append((kind, value))
    return found


def _event(delta):
    if delta.HasField("text"):
        return "text", delta.text
    status = delta.tool_call.parse_status
    if status == SUCCEEDED:
        made = delta.tool_call.tool_call
        return "succeeded", (made.call_id, made.tool_name, made.arguments_json)
    assert delta.tool_call.HasField("text")
    return {STARTED: "started", IN_PROGRESS: "in_progress", FAILED: "failed"}[status], delta.tool_call.text


# What is a call ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('{"type": "function", "name": "f", "parameters": {"a": 1}}', [("f", {"a": 1})]),
        ('{"name": "f", "parameters": {"a": {"b": [1, {"c": null}]}}}', [("f", {"a": {"b": [1, {"c": None}]}})]),
        ('{"name": "f", "parameters": {"a": "it\'s \\"so\\" {[("}}', [("f", {"a": 'it\'s "so" {[('})]),
        ('{"name": "f"}', [("f", {})]),
        ('{"name": "f", "parameters": null}', [("f", {})]),
        ('{"name": "f", "arguments": {"a": 1}}', [("f", {"a": 1})]),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', [("f", {"a": 1})]),
        ('{"parameters": {"a": 1}, "name": "f"}', [("f", {"a": 1})]),
        ('{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}', [("f", {"a": 1})]),
        (
            '{\n    "type" : "function",\n    "name": "f",\n    "parameters": {\n        "a": 1\n    }\n}',
            [("f", {"a": 1})],
        ),
        ('{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}', [("f", {}), ("g", {})]),
        ('{"name": "f", "parameters": {}}\n{"name": "g", "parameters": {}}', [("f", {}), ("g", {})]),
        ('[{"name": "f", "parameters": {}}, {"name": "g", "parameters": {}}]', [("f", {}), ("g", {})]),
        ('  \n{"name": "f"}  \n', [("f", {})]),
        ('<|python_tag|>{"name": "f", "parameters": {"a": 1}}', [("f", {"a": 1})]),
        ('{"name": "get-weather.v2", "parameters": {"city": "Köln 🙂"}}', [("get-weather.v2", {"city": "Köln 🙂"})]),
        ('{"name": "f", "parameters": {"a": "line\nend"}}', [("f", {"a": "line\nend"})]),
        (
            '{"name": "f", "parameters": {"n": 123456789012345678901234567890}}',
            [("f", {"n": 123456789012345678901234567890})],
        ),
        ('{"name": "code_interpreter", "parameters": {"code": "1"}}', [("code_interpreter", {"code": "1"})]),
    ],
)
def test_json_calls(text, calls):
    assert taken_apart(text, JSON) == ("", calls)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<function=f>{"a": 1}</function>', [("f", {"a": 1})]),
        (
            '<function=f>{"a": {"b": {"c": "it\'s </function> {"}}}</function>',
            [("f", {"a": {"b": {"c": "it's </function> {"}}})],
        ),
        ("<function=f>{}</function>", [("f", {})]),
        ("<function=f></function>", [("f", {})]),
        ('<function=f> {"a": 1} \n</function>', [("f", {"a": 1})]),
        ('<function=f>{"a": 1}', [("f", {"a": 1})]),
        ('<function=f>{"a": 1}</func', [("f", {"a": 1})]),
        ("<function=f>{}</function><function=g>{}</function>", [("f", {}), ("g", {})]),
        ("<function=f>{}</function>\n<function=g>{}", [("f", {}), ("g", {})]),
        ('<function=get-weather.v2>{"city": "x"}</function>', [("get-weather.v2", {"city": "x"})]),
    ],
)
def test_function_tag_calls(text, calls):
    assert taken_apart(text, FUNCTION_TAG) == ("", calls)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[f(a=1)]", [("f", {"a": 1})]),
        ("[f()]", [("f", {})]),
        (
            "[f(a='San Francisco', b=\"it's\"), g(n=-1.5e3)]",
            [("f", {"a": "San Francisco", "b": "it's"}), ("g", {"n": -1500.0})],
        ),
        (
            "[f(a=[1, 'x', {'k': None}], b={'x': {'y': [True, False]}})]",
            [("f", {"a": [1, "x", {"k": None}], "b": {"x": {"y": [True, False]}}})],
        ),
        ("[f(a=true, b=false, c=null)]", [("f", {"a": True, "b": False, "c": None})]),
        ("[f(a=(1, 2), b=(3), c=())]", [("f", {"a": [1, 2], "b": 3, "c": []})]),
        ("[f(a=0x1F, b=1_000, c=+2, d=.5)]", [("f", {"a": 31, "b": 1000, "c": 2, "d": 0.5})]),
        ("[ f ( a = 1 , ) , g ( ) ]", [("f", {"a": 1}), ("g", {})]),
        ("[f(from='a', class='b', max-size=3)]", [("f", {"from": "a", "class": "b", "max-size": 3})]),
        ("[get-weather.v2(city='x')]", [("get-weather.v2", {"city": "x"})]),
        ('[f(a="""x "y" \'z\' )]""", b="")]', [("f", {"a": "x \"y\" 'z' )]", "b": ""})]),
        ("[f(a='\\'\\\\\\n\\x41\\u00e9\\d')]", [("f", {"a": "'\\\n\x41é\\d"})]),
        ('[f(a="\\ud83d\\ude42\\/")]', [("f", {"a": "🙂/"})]),
        ("[f(a='x\ny')]", [("f", {"a": "x\ny"})]),
        ("[f(**{'a b': 1}, c=2)]", [("f", {"a b": 1, "c": 2})]),
        ("[f(a=1)", [("f", {"a": 1})]),
        ("[f(a=1),\n g(b=2)]\n", [("f", {"a": 1}), ("g", {"b": 2})]),
        ("[f()][g()]", [("f", {}), ("g", {})]),
        ("<|python_tag|>[f(a=1)]", [("f", {"a": 1})]),
    ],
)
def test_python_list_calls(text, calls):
    assert taken_apart(text, PYTHON_LIST) == ("", calls)


@pytest.mark.parametrize("tool_format", FORMATS)
@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<|python_tag|>brave_search.call(query="gold price")', [("brave_search", {"query": "gold price"})]),
        ('brave_search.call(query="it\'s \\"x\\"")', [("brave_search", {"query": 'it\'s "x"'})]),
        (
            '<|python_tag|>brave_search.call(query="a"); brave_search.call(query="b")',
            [("brave_search", {"query": "a"}), ("brave_search", {"query": "b"})],
        ),
        ("<|python_tag|>print('x')\nprint(\"y\")", [("code_interpreter", {"code": "print('x')\nprint(\"y\")"})]),
        ("<|python_tag|> x = [1]\n", [("code_interpreter", {"code": " x = [1]\n"})]),
        ("<|python_tag|>1<|python_tag|>2", [("code_interpreter", {"code": "1"}), ("code_interpreter", {"code": "2"})]),
        (
            '<|python_tag|>a < "<|pyth"<|python_tag|>brave_search.call(query="a")',
            [("code_interpreter", {"code": 'a < "<|pyth"'}), ("brave_search", {"query": "a"})],
        ),
        ("<|python_tag|>", []),
        ("<|python_tag|> \n", []),
    ],
)
def test_builtin_calls_in_every_format(tool_format, text, calls):
    assert taken_apart(text, tool_format) == ("", calls)


# What is none --------------------------------------------------------------------------------------------------------

NOT_CALLS = [
    (JSON, "Hello."),
    (JSON, ""),
    (JSON, " \n"),
    (JSON, "{}"),
    (JSON, "[1, 2]"),
    (JSON, '{"name": "Bob", "age": 3}'),
    (JSON, '{"name": "unknown", "parameters": {"a": 1}}'),
    (JSON, '{"type": "function", "name": "unknown"}'),
    (JSON, '{"type": "object", "name": "f"}'),
    (JSON, '{"type": "function", "name": "f", "parameters": {"a": "cut o'),
    (JSON, '{"type": "func'),
    (JSON, '{"name": "f", "parameters": [1]}'),
    (JSON, '{"name": "f", "parameters": "x"}'),
    (JSON, '{"name": "f", "parameters": {"a": NaN}}'),
    (JSON, '{"name": "f", "parameters": {"a": 1e999}}'),
    (JSON, '{"name": "f", "parameters": {"a": "\\ud800"}}'),
    (JSON, '{"name": "f", "parameters": {a: 1}}'),
    (JSON, '{"name": "f", "parameters": {"a": 1]}'),
    (JSON, '{"name": "f", "parameters": ' + '{"a": ' * 50 + "1" + "}" * 51),
    (JSON, '{"name": "f", "parameters": ' + '{"a": ' * 30 + "1" + "}" * 31),
    (JSON, '{"name": "f", "parameters": {"n": ' + "9" * 5000 + "}}"),
    (JSON, '[{"name": "unknown", "parameters": {}}, {"name": "other", "parameters": {}}]'),
    (JSON, 'You could write {"name": "f", "parameters": {}} here.'),
    (JSON, '<function=f>{"a": 1}</function>'),
    (FUNCTION_TAG, "a < b and <b>bold</b> <function"),
    (FUNCTION_TAG, "<function=unknown>{}</function>"),
    (FUNCTION_TAG, '<function=f>{"a": 1'),
    (FUNCTION_TAG, "<function=f>a=1</function> and more"),
    (FUNCTION_TAG, '<function=f>{"a": 1]</function>.'),
    (FUNCTION_TAG, "<function=f><b></function>"),
    (FUNCTION_TAG, "<function=f>"),
    (FUNCTION_TAG, "<function=f f>{}</function>"),
    (FUNCTION_TAG, "<function=>{}</function>"),
    (PYTHON_LIST, "[f(x=g())]"),
    (PYTHON_LIST, "[f(x=y)]"),
    (PYTHON_LIST, '[f("x")]'),
    (PYTHON_LIST, '[f(a="tru'),
    (PYTHON_LIST, "[f(a=1, a=2)]"),
    (PYTHON_LIST, "[f(a=1) for x in y]"),
    (PYTHON_LIST, "[f(a=1)[0]]"),
    (PYTHON_LIST, "[f(a=1+1)]"),
    (PYTHON_LIST, "[f(a={1: 2})]"),
    (PYTHON_LIST, "[f(a={1, 2})]"),
    (PYTHON_LIST, "[f(a=1e999)]"),
    (PYTHON_LIST, '[f(a="\\ud800")]'),
    (PYTHON_LIST, "[f(**3)]"),
    (PYTHON_LIST, "[f(a=" + "[" * 60 + "]" * 60 + ")]"),
    (PYTHON_LIST, "[f(a=" + "-" * 100_000 + "1)]"),
    (PYTHON_LIST, "[f(a=__import__('os').system('x'))]"),
    (PYTHON_LIST, "[unknown(a=1), other()]"),
    (PYTHON_LIST, "[link](https://x.y) and [1]"),
    (PYTHON_LIST, "x = [f(a=1)]"),
    (PYTHON_LIST, "f(a=1)"),
    (JSON, 'wolfram_alpha.call(query="x")'),
    (JSON, 'brave_search.call(query="x'),
    (JSON, "brave_search.call(query=x)"),
    (JSON, "brave_search.calls are fine"),
]


@pytest.mark.parametrize(("tool_format", "text"), NOT_CALLS)
def test_what_is_no_call_comes_back_as_text(tool_format, text):
    assert taken_apart(text, tool_format) == (text, [])


def test_code_without_a_code_interpreter_comes_back_as_text():
    assert taken_apart("<|python_tag|>print(1)", JSON, tools=[tool("f")]) == ("print(1)", [])
    assert taken_apart('<|python_tag|>wolfram_alpha.call(query="x")', JSON) == ('wolfram_alpha.call(query="x")', [])


def test_code_that_ran_out_of_tokens_is_not_run():
    cut_off = types_pb2.STOP_REASON_OUT_OF_TOKENS
    assert taken_apart("<|python_tag|>rm(a", JSON, stop_reason=cut_off) == ("rm(a", [])
    assert taken_apart("<|python_tag|>1<|python_tag|>rm(a", JSON, stop_reason=cut_off) == (
        "rm(a",
        [("code_interpreter", {"code": "1"})],
    )


def test_without_tools_answers_are_text():
    for tool_format, text in [
        (JSON, '{"name": "f", "parameters": {}}'),
        (FUNCTION_TAG, "<function=f>{}</function>"),
        (PYTHON_LIST, "[f()]"),
    ]:
        assert events([text], tool_format, tools=[]) == [("text", text)]


@pytest.mark.parametrize("tool_format", FORMATS)
def test_text_and_calls_may_follow_one_another(tool_format):
    called = encode([call("f", {"a": 1}), call("g")], tool_format)
    assert taken_apart(f"Let me see.\n{called}\nDone.", tool_format) == (
        "Let me see.\n\nDone.",
        [("f", {"a": 1}), ("g", {})],
    )


def test_declared_calls_of_a_list_run_beside_failed_ones():
    assert taken_apart("[unknown(a=1), f(b=2)]", PYTHON_LIST)[1] == [("f", {"b": 2})]
    assert taken_apart('[{"name": "f"}, {"name": "unknown", "parameters": {}}]', JSON)[1] == [("f", {})]


def test_calls_carry_ids_and_both_forms_of_the_arguments():
    answer = decode('{"name": "f", "parameters": {"b": 1, "a": [2.5, null]}}', TOOLS, JSON, call_ids=lambda: "my-id")
    (made,) = answer.tool_calls
    assert made.call_id == "my-id"
    assert made.arguments_json == '{"b": 1, "a": [2.5, null]}'
    assert made.arguments["b"] == 1
    ids = {decode("[f()]", TOOLS, PYTHON_LIST).tool_calls[0].call_id for _ in range(9)}
    assert len(ids) == 9


def test_arguments_take_the_types_of_the_schema_where_nothing_is_lost():
    typed = tool(
        "f",
        n=parameter("int"),
        x=parameter("number"),
        b=parameter("bool"),
        s=parameter("str"),
        l=parameter("list[int]"),
        o=parameter("object", schema={"type": "object", "properties": {"k": {"type": "integer"}}}),
    )
    text = '{"name": "f", "parameters": {"n": "10", "x": "2.5", "b": "true", "s": 7, "l": "[\\"1\\", 2]", "o": {"k": 3.0}, "u": "1"}}'
    assert taken_apart(text, JSON, tools=[typed])[1] == [
        ("f", {"n": 10, "x": 2.5, "b": True, "s": "7", "l": [1, 2], "o": {"k": 3}, "u": "1"})
    ]
    kept = {"n": "ten", "x": "1e999", "b": "yes", "s": True, "l": "[x", "o": "7"}
    assert taken_apart(json.dumps({"name": "f", "parameters": kept}), JSON, tools=[typed])[1] == [("f", kept)]


# Streams -------------------------------------------------------------------------------------------------------------


def test_a_streamed_call_starts_progresses_and_succeeds():
    pieces = ["I ", "look.", "\n", '{"na', 'me": "f', '"', ', "parameters": {"a"', ": 1}", "}", "\n", "So"]
    decoder = StreamDecoder(TOOLS, JSON, call_ids=lambda: "c1")
    seen = [[_event(delta) for delta in decoder.feed(piece)] for piece in pieces]
    assert seen == [
        [("text", "I ")],
        [("text", "look.")],
        [("text", "\n")],
        [],
        [],
        [("started", ""), ("in_progress", '{"name": "f"')],
        [("in_progress", ', "parameters": {"a"')],
        [("in_progress", ": 1}")],
        [("in_progress", "}"), ("succeeded", ("c1", "f", '{"a": 1}'))],
        [],
        [("text", "\nSo")],
    ]
    assert decoder.finish() == []


def test_an_undeclared_tool_fails_with_its_raw_text():
    assert events(["[nope(a=1", ")]"], PYTHON_LIST) == [
        ("started", ""),
        ("in_progress", "[nope(a=1)]"),
        ("failed", "[nope(a=1)]"),
    ]


@pytest.mark.parametrize("tool_format", FORMATS)
@pytest.mark.parametrize("piece", ["Hello", " world", ".", "2 > 1", "é🙂", "[1]", "{x}", "b", "(", "<p>", "x\n\ny"])
def test_plain_text_flows_at_once(tool_format, piece):
    decoder = StreamDecoder(TOOLS, tool_format)
    decoder.feed("So")
    assert [_event(delta) for delta in decoder.feed(piece)] == [("text", piece)]


def test_only_a_possible_beginning_is_held_back():
    decoder = StreamDecoder(TOOLS, FUNCTION_TAG)
    assert [_event(d) for d in decoder.feed("a <func")] == [("text", "a ")]
    assert [_event(d) for d in decoder.feed("y> b")] == [("text", "<funcy> b")]


@pytest.mark.parametrize("tool_format", FORMATS)
def test_no_tool_syntax_leaks_as_text(tool_format):
    text = encode([call("f", {"a": [1, "x"]}), call("brave_search", {"query": "q"}), call("g")], tool_format)
    found = events(text, tool_format)
    assert [kind for kind, _ in found] == ["started", "in_progress", "succeeded"] * 3


# Properties ----------------------------------------------------------------------------------------------------------

MARKS = ["{", "}", "[", "]", "(", ")", '"', "'", "\\", ",", ";", ":", " ", "\n", "<", ">", "=", "**", '"""']
JSON_PIECES = [
    '{"type": "function", ',
    '"name": "f"',
    '"parameters": ',
    '{"name": "f"}',
    '{"name": "unknown", "parameters"',
]
TAG_PIECES = ["<function=f>", "<function=g>{}", "</function>", "</func"]
PYTHON_PIECES = ["[f(", "[f(a=1)", ", g(b='x')", "[unknown(", "f", "nul", "1", "-1.5", "None"]
BUILTIN_PIECES = ["<|python_tag|>", "<|pyth", "brave_search.call(", 'query="x")', "wolfram_alpha.call("]
fragments = st.sampled_from([*MARKS, *JSON_PIECES, *TAG_PIECES, *PYTHON_PIECES, *BUILTIN_PIECES, "text ", "é🙂"])
answers = st.one_of(st.lists(fragments, max_size=16).map("".join), st.text(max_size=60))
formats = st.sampled_from(FORMATS)


@st.composite
def chunked(draw):
    text = draw(answers)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(chunked(), formats)
@example(["[f(a=1)", " ", " , g()", "]"], PYTHON_LIST)
@example(["<function=f>", " ", "</fun", "ction>"], FUNCTION_TAG)
def test_any_cut_of_an_answer_gives_the_same_events(pieces, tool_format):
    whole = "".join(pieces)
    assert events(pieces, tool_format) == events([whole], tool_format) == events(whole, tool_format)


@given(answers, formats)
def test_a_stream_and_a_whole_answer_agree(text, tool_format):
    streamed = events(text, tool_format)
    answer = decode(text, TOOLS, tool_format, call_ids=numbered())
    assert answer.text == "".join(value for kind, value in streamed if kind in {"text", "failed"})
    assert [("succeeded", (c.call_id, c.tool_name, c.arguments_json)) for c in answer.tool_calls] == [
        event for event in streamed if event[0] == "succeeded"
    ]


@given(answers, formats)
def test_an_answer_without_a_good_call_loses_nothing_but_python_tags(text, tool_format):
    answer = decode(text, TOOLS[:3], tool_format)
    if not answer.tool_calls and "<|python_tag|>" not in text:
        assert answer.text == text


@given(answers, formats)
def test_a_call_that_starts_ends_and_shows_its_raw_text(text, tool_format):
    raw, state = "", "out"
    for kind, value in events(text, tool_format):
        assert (kind in {"text", "started"}) == (state == "out")
        state = "out" if kind in {"text", "succeeded", "failed"} else "in"
        raw = raw + value if kind == "in_progress" else raw
        if kind == "failed":
            assert value == raw
        if kind in {"succeeded", "failed"}:
            raw = ""
    assert state == "out"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["</function>", "<|python_tag|>", "it's", '"', "\\", "\n", '"""', "')]"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
arguments = st.dictionaries(
    st.text(max_size=8) | st.sampled_from(["a", "max-size", "from", "a.b"]), json_values, max_size=4
)
tool_names = st.sampled_from([defined.tool_name for defined in TOOLS])
calls = st.lists(st.builds(make_call, st.just("c"), tool_names, arguments), min_size=1, max_size=4)
queries = st.builds(lambda text: make_call("c", "brave_search", {"query": text}), st.text())
programs = st.builds(
    lambda text: make_call("c", "code_interpreter", {"code": text}),
    st.sampled_from(["print(1)", "x = {'a': \"b\"}\n", "  # <|x|> </function>\n1", "import os\nos.listdir('<')"]),
)


@given(
    calls
    | st.lists(st.one_of(queries, programs), min_size=1, max_size=4)
    | st.lists(st.one_of(queries, programs, calls.map(lambda c: c[0])), max_size=5),
    formats,
)
def test_what_is_encoded_decodes_to_the_same_calls(made, tool_format):
    untyped = [types_pb2.ToolDefinition(tool_name=defined.tool_name) for defined in TOOLS]
    answer = decode(encode(made, tool_format), untyped, tool_format, call_ids=lambda: "c")
    assert (answer.text, answer.tool_calls) == ("", made)


@pytest.mark.parametrize("tool_format", FORMATS)
def test_very_long_values_survive(tool_format):
    long = "x\"'\\\n{[(</function>🙂" * 20_000
    (made,) = decode(encode([call("f", {"a": long})], tool_format), TOOLS, tool_format).tool_calls
    assert json.loads(made.arguments_json) == {"a": long}


HOSTILE = [
    '{"name": "f", "parameters": {"a": "',
    "[f(a=",
    "<function=f>",
    "<",
    "{",
    "[",
    "\n{",
    "\n[f",
    " ",
    "\n",
    "<|python_tag|>",
    "[f(),",
    "}",
    '"',
    "''",
]


@pytest.mark.parametrize("tool_format", FORMATS)
@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_repetition_is_read_to_its_end(tool_format, unit):
    text = unit * (50_000 // len(unit))
    pieces = [text[i : i + 7] for i in range(0, len(text), 7)]
    assert events(pieces, tool_format) == events([text], tool_format)
