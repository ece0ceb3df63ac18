"""JSON values between Python, JSON text and `google.protobuf.Struct`."""

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from google.protobuf import struct_pb2

JsonValue: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
JsonObject: TypeAlias = dict[str, Any]

MAX_DEPTH = 24
"""Deepest nesting of values that are carried: protobuf parsers stop at 100 nested messages, and one level of a `Struct` takes three."""

_EXACT_INTEGERS = 2.0**53
_LARGEST_DOUBLE = 1.7976931348623157e308


def from_value(value: struct_pb2.Value) -> JsonValue:
    """The Python value of a protobuf one. Doubles without a fraction become ints, as JSON's readers expect of `5`."""
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [from_value(item) for item in value.list_value.values]
        case _:
            return None


def from_struct(struct: struct_pb2.Struct) -> JsonObject:
    """The Python dict of a protobuf struct, sorted by key: a struct has no order of its own."""
    return {key: from_value(struct.fields[key]) for key in sorted(struct.fields)}


def fill_struct(struct: struct_pb2.Struct, values: Mapping[str, JsonValue]) -> None:
    """Writes JSON values into an empty struct. Integers beyond 2^53 lose their last digits, as doubles do."""
    for key, value in values.items():
        _fill(struct.fields[key], value)


def to_value(value: JsonValue) -> struct_pb2.Value:
    """The protobuf value of a Python one."""
    result = struct_pb2.Value()
    _fill(result, value)
    return result


def dumps(value: JsonValue, *, compact: bool = False) -> str:
    """JSON text of a value: keys in their order, letters outside ASCII as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if compact else None)


def loads(text: str) -> JsonValue:
    """Reads JSON text as models write it: control characters in strings pass, numbers that are not finite do not.

    Args:
        text: JSON.

    Raises:
        ValueError: The text is not JSON, is nested deeper than Python reads it, or holds half a surrogate pair.
    """
    try:
        value: JsonValue = _DECODER.decode(text)
    except RecursionError as error:
        message = "nested too deeply"
        raise ValueError(message) from error
    if "\\ud" in text.lower():
        _check_surrogates(value)
    return value


def _check_surrogates(value: JsonValue) -> None:
    """Half a surrogate pair is JSON, but no text that UTF-8, and so protobuf, can hold."""
    try:
        dumps(value).encode()
    except UnicodeEncodeError as error:
        message = "half a surrogate pair"
        raise ValueError(message) from error


def depth(value: JsonValue) -> int:
    """How many lists and objects are nested in one another; 0 for a plain value."""
    level, values = 0, [value]
    while values := [value for value in values if isinstance(value, list | dict)]:
        level += 1
        values = [item for value in values for item in (value.values() if isinstance(value, dict) else value)]
    return level


def _number(number: float) -> int | float:
    if abs(number) <= _EXACT_INTEGERS and number.is_integer():
        return int(number)
    return number


def _fill(target: struct_pb2.Value, value: JsonValue) -> None:
    if value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = _double(value)
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, list):
        target.list_value.SetInParent()
        for item in value:
            _fill(target.list_value.values.add(), item)
    else:
        target.struct_value.SetInParent()
        fill_struct(target.struct_value, value)


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return _LARGEST_DOUBLE if number > 0 else -_LARGEST_DOUBLE


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        message = f"{text} is beyond the range of a double"
        raise ValueError(message)
    return number


def _refuse(name: str) -> float:
    message = f"{name} is not JSON"
    raise ValueError(message)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse, strict=False)
