"""Rows as JSON: what is read strictly, the line that is kept, and the form that digests are made of.

- A number that is whole and below 2^53 is an integer, however it was written: 1.0 and 1e0 are 1. Other integers have at most 64 bits
  and are kept exactly. NaN and the infinities are refused, and so are a key that comes twice, text that is no Unicode, and what is
  nested more than `MOST_DEPTH` deep.
- The line that is kept has the keys in the order in which they came.
- The canonical form has them sorted, and leaves out columns that are null: a row that lacks a column is the same as one in which it is
  null.
- The digest of no rows is `NO_ROWS`; that of n rows is SHA-256 of the digest of the n - 1 rows before and the canonical form of the last.
  So it does not tell how the rows came, and rows can be added without reading those before.
"""

import hashlib
import json
import math
from collections import Counter
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]

NO_ROWS = bytes(32)
MOST_DEPTH = 32
"""Deepest nesting of a row, itself included. As a Struct each takes three levels of the hundred that protobuf decodes."""

_EXACT = 2**53
_MOST_INTEGER, _LEAST_INTEGER = 2**64 - 1, -(2**63)
# A sign and the digits of the largest.
_MOST_CHARS = 20


class RowError(ValueError):
    """A row cannot be taken."""

    def __init__(self, description: str, column: str = "") -> None:
        """Makes the error.

        Args:
            description: What is wrong with it.
            column: Where. Empty: the row as a whole.
        """
        super().__init__(description)
        self.description = description
        self.column = column


def parsed(text: str) -> Any:
    """Reads a JSON text.

    Args:
        text: The text.

    Raises:
        RowError: It is none, or its value cannot be kept.
    """
    try:
        value = _decoder.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except json.JSONDecodeError as error:
        message = f"is no JSON: {error.msg[:1].lower()}{error.msg[1:]} at character {error.pos}"
        raise RowError(message) from error
    if text.count("{") + text.count("[") > MOST_DEPTH:
        _check_depth(value, 1)
    return value


def number(value: float) -> int | float:
    """Returns a number as it is kept.

    Raises:
        RowError: It is not finite.
    """
    if not math.isfinite(value):
        raise RowError(f"holds {value}, which is no JSON number")
    return int(value) if value.is_integer() and abs(value) <= _EXACT else value


def integer(value: int) -> int:
    """Returns an integer.

    Raises:
        RowError: It has more than 64 bits.
    """
    if not _LEAST_INTEGER <= value <= _MOST_INTEGER:
        raise _too_many_digits()
    return value


def line(row: Row) -> bytes:
    """Returns a row as it is kept, without a line end.

    Raises:
        RowError: A text is no Unicode.
    """
    return _bytes(_in_order.encode(row))


def folded(digest: bytes, row: Row) -> bytes:
    """Returns the digest of rows and one more.

    Args:
        digest: Of the rows before.
        row: The row.
    """
    if None in row.values():
        row = {name: value for name, value in row.items() if value is not None}
    return hashlib.sha256(digest + _bytes(_sorted.encode(row))).digest()


def _check_depth(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth > MOST_DEPTH:
            raise _too_deep()
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(inner, depth + 1)


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RowError("holds half of a surrogate pair, which is no Unicode text") from error


def _object(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise RowError(f"has the key {shown(twice)} twice")
    return found


def _float(text: str) -> int | float:
    return number(float(text))


def _integer(text: str) -> int:
    # Python takes long over many digits, and refuses some thousand.
    if len(text) > _MOST_CHARS:
        raise _too_many_digits()
    return integer(int(text))


def _constant(text: str) -> Any:
    raise RowError(f"holds {text}, which is no JSON number")


def _too_deep() -> RowError:
    return RowError(f"is nested more than {MOST_DEPTH} deep")


def _too_many_digits() -> RowError:
    return RowError("holds an integer of more than 64 bits; write it as a text")


def shown(text: str) -> str:
    """Returns a text as messages quote it: short, and on one line."""
    return json.dumps(text if len(text) <= 40 else text[:39] + "…")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_integer, parse_constant=_constant)
_in_order = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)
_sorted = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False, sort_keys=True
)
