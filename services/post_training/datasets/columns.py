"""Types of columns: what fits each, and which one values tell of."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from caravan.datasets.v1 import datasets_pb2
from services.post_training.datasets.messages import content_fault, messages_fault

Schema: TypeAlias = dict[str, datasets_pb2.DatasetColumn]

_MEDIA = ("http://", "https://", "data:")


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else "is no text"


def _number(value: Any) -> str:
    return "" if isinstance(value, int | float) and not isinstance(value, bool) else "is no number"


def _boolean(value: Any) -> str:
    return "" if isinstance(value, bool) else "is neither true nor false"


def _array(value: Any) -> str:
    return "" if isinstance(value, list) else "is no list"


def _object(value: Any) -> str:
    return "" if isinstance(value, dict) else "is no object"


def _anything(value: Any) -> str:
    del value
    return ""


def _chat(value: Any) -> str:
    return messages_fault(value, as_text=True)


def _turn(value: Any) -> str:
    return messages_fault(value, roles=("user",), as_text=True)


def _media(value: Any) -> str:
    fits = isinstance(value, str) and value[:8].lower().startswith(_MEDIA)
    return "" if fits else "is no image: give an http:, https: or data: URI"


FAULTS: Mapping[int, Callable[[Any], str]] = {
    datasets_pb2.COLUMN_TYPE_STRING: _text,
    datasets_pb2.COLUMN_TYPE_TEXT: _text,
    datasets_pb2.COLUMN_TYPE_NUMBER: _number,
    datasets_pb2.COLUMN_TYPE_BOOLEAN: _boolean,
    datasets_pb2.COLUMN_TYPE_ARRAY: _array,
    datasets_pb2.COLUMN_TYPE_OBJECT: _object,
    datasets_pb2.COLUMN_TYPE_JSON: _anything,
    datasets_pb2.COLUMN_TYPE_UNION: _anything,
    datasets_pb2.COLUMN_TYPE_CHAT_COMPLETION_INPUT: _chat,
    datasets_pb2.COLUMN_TYPE_COMPLETION_INPUT: content_fault,
    datasets_pb2.COLUMN_TYPE_AGENT_TURN_INPUT: _turn,
    datasets_pb2.COLUMN_TYPE_DIALOG: messages_fault,
    datasets_pb2.COLUMN_TYPE_MEDIA: _media,
}
"""By type, what says what is wrong with a value that is there; empty when nothing is."""

_OF_KINDS: Mapping[frozenset[str], datasets_pb2.ColumnType.ValueType] = {
    frozenset({"text"}): datasets_pb2.COLUMN_TYPE_STRING,
    frozenset({"number"}): datasets_pb2.COLUMN_TYPE_NUMBER,
    frozenset({"boolean"}): datasets_pb2.COLUMN_TYPE_BOOLEAN,
    frozenset({"dialog"}): datasets_pb2.COLUMN_TYPE_DIALOG,
    frozenset({"list"}): datasets_pb2.COLUMN_TYPE_ARRAY,
    frozenset({"list", "dialog"}): datasets_pb2.COLUMN_TYPE_ARRAY,
    frozenset({"object"}): datasets_pb2.COLUMN_TYPE_OBJECT,
}


class Told:
    """Types as the rows so far tell them."""

    def __init__(self) -> None:
        """Knows no column yet."""
        self._kinds: dict[str, set[str]] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, name: str, value: Any) -> None:
        """Takes a value in.

        Args:
            name: The column's.
            value: The value; None tells nothing but that there is such a column.
        """
        kinds = self._kinds.setdefault(name, set())
        if value is not None:
            self._counts[name] = self._counts.get(name, 0) + 1
            kinds.add(_kind(value, kinds))

    def schema(self, rows: int) -> Schema:
        """Returns the types.

        Args:
            rows: Number of rows: a column that is not in all of them may be null.
        """
        return {
            name: datasets_pb2.DatasetColumn(
                type=_OF_KINDS.get(frozenset(kinds), datasets_pb2.COLUMN_TYPE_JSON),
                nullable=self._counts.get(name, 0) < rows,
            )
            for name, kinds in self._kinds.items()
        }


def _kind(value: Any, known: set[str]) -> str:
    match value:
        case str():
            return "text"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case list():
            # Once some list is no dialog, nobody asks any more.
            return "list" if "list" in known or messages_fault(value) else "dialog"
        case _:
            return "object"
