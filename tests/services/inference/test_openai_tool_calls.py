import itertools
import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from caravan.types.v1 import types_pb2
from services.inference.openai_tool_calls import ToolCallStream, read_calls

STARTED = types_pb2.TOOL_CALL_PARSE_STATUS_STARTED
IN_PROGRESS = types_pb2.TOOL_CALL_PARSE_STATUS_IN_PROGRESS
SUCCEEDED = types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED
FAILED = types_pb2.TOOL_CALL_PARSE_STATUS_FAILED


def fragment(index: int | None, call_id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    found = {"index": index, "id": call_id, "function": function}
    return {key: value for key, value in found.items() if value is not None}


def stream(*chunks: list[dict[str, Any]], declared: tuple[str, ...] = ("f", "g")) -> list[types_pb2.ToolCallDelta]:
    numbers = itertools.count()
    calls = ToolCallStream(declared, new_id=lambda: f"new-{next(numbers)}")
    return [delta for chunk in chunks for delta in calls.feed(chunk)] + calls.finish()


def told(deltas: list[types_pb2.ToolCallDelta]) -> list[tuple[int, Any]]:
    return [
        (d.parse_status, (d.tool_call.call_id, d.tool_call.tool_name, json.loads(d.tool_call.arguments_json)))
        if d.HasField("tool_call")
        else (d.parse_status, d.text)
        for d in deltas
    ]


def test_a_call_starts_goes_on_and_succeeds():
    deltas = stream(
        [fragment(0, "c", "f", "")], [fragment(0, None, None, '{"a"')], [fragment(0, None, None, ': {"b": "it\'s"}}')]
    )
    assert told(deltas) == [
        (STARTED, ""),
        (IN_PROGRESS, '{"a"'),
        (IN_PROGRESS, ': {"b": "it\'s"}}'),
        (SUCCEEDED, ("c", "f", {"a": {"b": "it's"}})),
    ]
    assert MessageToDict(deltas[-1].tool_call.arguments) == {"a": {"b": "it's"}}


def test_every_call_of_one_delta_is_read():
    whole = [fragment(0, "a", "f", '{"x": 1}'), fragment(1, "b", "g", "{}")]
    assert told(stream(whole)) == [
        (STARTED, ""),
        (IN_PROGRESS, '{"x": 1}'),
        (SUCCEEDED, ("a", "f", {"x": 1})),
        (STARTED, ""),
        (IN_PROGRESS, "{}"),
        (SUCCEEDED, ("b", "g", {})),
    ]


def test_fragments_of_interleaved_calls_are_told_one_call_after_the_other():
    deltas = stream(
        [fragment(0, "a", "f", '{"x":'), fragment(1, "b", "g", '{"y":')],
        [fragment(1, None, None, "2}")],
        [fragment(0, None, None, "1}")],
    )
    assert told(deltas) == [
        (STARTED, ""),
        (IN_PROGRESS, '{"x":'),
        (IN_PROGRESS, "1}"),
        (SUCCEEDED, ("a", "f", {"x": 1})),
        (STARTED, ""),
        (IN_PROGRESS, '{"y":2}'),
        (SUCCEEDED, ("b", "g", {"y": 2})),
    ]


def test_calls_that_share_an_index_are_told_apart_by_their_ids():
    deltas = stream([fragment(0, "a", "f", "{}")], [fragment(0, "b", "f", "{}")])
    assert [delta.tool_call.call_id for delta in deltas if delta.parse_status == SUCCEEDED] == ["a", "b"]


def test_an_id_that_is_repeated_or_new_in_every_fragment_begins_no_call():
    for second_id in ("a", "other"):
        deltas = stream([fragment(0, "a", "f", '{"x"')], [fragment(0, second_id, None, ": 1}")])
        assert [delta.tool_call.call_id for delta in deltas if delta.parse_status == SUCCEEDED] == ["a"]


def test_a_call_without_index_and_id_gets_an_id():
    assert told(stream([fragment(None, None, "f", {"x": 1})]))[-1] == (SUCCEEDED, ("new-0", "f", {"x": 1}))


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("f", '{"a": ', '{"name": "f", "arguments": {"a": }'),
        ("f", "[1]", '{"name": "f", "arguments": [1]}'),
        ("h", '{"a": 1}', '{"name": "h", "arguments": {"a": 1}}'),
        ("f", "[" * 3000, '{"name": "f", "arguments": ' + "[" * 3000 + "}"),
        ("f", '{"a":' * 30 + "1" + "}" * 30, '{"name": "f", "arguments": ' + '{"a":' * 30 + "1" + "}" * 31),
    ],
)
def test_a_call_that_is_truncated_no_object_undeclared_or_too_deep_fails_with_all_its_text(
    name: str, arguments: str, text: str
):
    deltas = stream([fragment(0, "a", name, arguments)])
    assert told(deltas)[-1] == (FAILED, text)
    assert read_calls([fragment(0, "a", name, arguments)], ("f",)) == ([], [text])


def test_integers_beyond_2_to_the_53_survive_in_the_json_text():
    (call,), _ = read_calls([fragment(0, "a", "f", '{"n": 9007199254740993}')], ("f",))
    assert call.arguments_json == '{"n": 9007199254740993}'
