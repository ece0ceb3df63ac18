"""JSON values and protobuf structs."""

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.inference.tool_calls import json_values

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_what_goes_into_a_struct_comes_out_the_same(written):
    struct = struct_pb2.Struct()
    json_values.fill_struct(struct, written)
    assert json_values.from_struct(struct) == written


def test_numbers_too_large_for_a_double_become_the_largest_one():
    value = json_values.to_value(-(10**400))
    assert value.number_value == -1.7976931348623157e308


def test_keys_of_a_struct_are_sorted():
    struct = struct_pb2.Struct()
    json_values.fill_struct(struct, {"b": 1, "a": 2})
    assert list(json_values.from_struct(struct)) == ["a", "b"]


def test_the_deepest_values_carried_are_readable_by_any_protobuf_parser():
    value = 1
    for _ in range(json_values.MAX_DEPTH):
        value = {"k": value}
    assert json_values.depth(value) == json_values.MAX_DEPTH
    struct = struct_pb2.Struct()
    json_values.fill_struct(struct, value)
    assert struct_pb2.Struct.FromString(struct.SerializeToString()) == struct


@pytest.mark.parametrize("text", ["", "{", "NaN", "Infinity", "-Infinity", "1e999", "[" * 100_000, "9" * 5000])
def test_text_that_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011
        json_values.loads(text)


def test_depth_counts_lists_and_objects():
    assert json_values.depth("x") == 0
    assert json_values.depth([]) == 1
    assert json_values.depth({"a": [1, {"b": []}], "c": 2}) == 4


@pytest.mark.parametrize("text", ['"\\ud83d"', '{"a": ["\\uDE00 late"]}'])
def test_half_a_surrogate_pair_is_no_value(text: str) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        json_values.loads(text)


def test_a_whole_surrogate_pair_is_its_character() -> None:
    assert json_values.loads('"\\ud83d\\ude00"') == "😀"
