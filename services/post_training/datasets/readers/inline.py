"""Rows in a request: Structs first, then JSON texts."""

from typing import Any, Protocol

from google.protobuf import struct_pb2

from services.post_training.datasets.canonical import MOST_DEPTH, RowError, number
from services.post_training.datasets.readers.numbered import Rows, row_of


class Sent(Protocol):
    """A message with rows."""

    @property
    def rows(self) -> Any:
        """Structs."""

    @property
    def rows_json(self) -> Any:
        """JSON texts."""


def read(sent: Sent, max_row_bytes: int) -> Rows:
    """Yields the rows of a request.

    Args:
        sent: The message that has them.
        max_row_bytes: Most bytes of a row.
    """
    count = 0
    for count, struct in enumerate(sent.rows, 1):
        try:
            yield count - 1, _object(struct, 1)
        except RowError as error:
            yield count - 1, error
    for place, text in enumerate(sent.rows_json, count):
        yield place, row_of(text, max_row_bytes)


def _object(struct: struct_pb2.Struct, depth: int) -> dict[str, Any]:
    if depth > MOST_DEPTH:
        raise RowError(f"is nested more than {MOST_DEPTH} deep")
    # A Struct has no order of its own.
    return {name: _plain(struct.fields[name], depth) for name in sorted(struct.fields)}


def _plain(value: struct_pb2.Value, depth: int) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            return number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _object(value.struct_value, depth + 1)
        case "list_value":
            if depth >= MOST_DEPTH:
                raise RowError(f"is nested more than {MOST_DEPTH} deep")
            return [_plain(inner, depth + 1) for inner in value.list_value.values]
        case _:
            return None
