"""Filter conditions: comparisons of columns with JSON values, joined by `and`.

    label == "x" and length > 3 and `a name with spaces` != null

- A column is a name, or any text between backquotes. Values are JSON.
- Numbers are compared as numbers and texts by code points; `<`, `<=`, `>`, `>=` hold for nothing else, and not between a number and a text.
- `!=` is the opposite of `==`, so it holds where the column is missing. A column that is missing is null.
"""

import json
import operator
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from services.core.errors import InvalidArgumentError
from services.post_training.datasets.canonical import Row, parsed, shown

FIELD = "filter_condition"
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"`([^`]+)`|([A-Za-z_][A-Za-z0-9_]*)")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")
_AND = re.compile(r"and\b")
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison."""

    column: str
    operator: str
    value: Any

    def holds(self, row: Row) -> bool:
        """Tells whether it holds for a row."""
        found = row.get(self.column)
        if self.operator == "==":
            return _equal(found, self.value)
        if self.operator == "!=":
            return not _equal(found, self.value)
        comparable = (_is_number(found) and _is_number(self.value)) or (
            isinstance(found, str) and isinstance(self.value, str)
        )
        return comparable and _ORDERS[self.operator](found, self.value)


@dataclass(frozen=True, slots=True)
class Filter:
    """Comparisons that must all hold."""

    comparisons: tuple[Comparison, ...]

    def fits(self, row: Row) -> bool:
        """Tells whether a row fits."""
        return all(comparison.holds(row) for comparison in self.comparisons)


def parse(text: str, columns: Container[str] | None = None) -> Filter:
    """Reads a condition.

    Args:
        text: The condition.
        columns: The columns that there are. None: any.

    Raises:
        InvalidArgumentError: It is none, or names a column that there is not.
    """
    found = []
    place = _skip(text, 0)
    while True:
        comparison, place = _comparison(text, place)
        if columns is not None and comparison.column not in columns:
            raise _wrong(f"names the column {shown(comparison.column)}, which the data set has not")
        found.append(comparison)
        if place == len(text):
            return Filter(tuple(found))
        joined = _AND.match(text, place)
        if joined is None:
            raise _wrong(f'needs "and" or its end at character {place}')
        place = _skip(text, joined.end())


def _comparison(text: str, place: int) -> tuple[Comparison, int]:
    name = _NAME.match(text, place)
    if name is None:
        raise _wrong(
            f"needs the name of a column at character {place}; put one that is no identifier between backquotes"
        )
    place = _skip(text, name.end())
    compared = _OPERATOR.match(text, place)
    if compared is None:
        raise _wrong(f"needs one of ==, !=, <, <=, >, >= at character {place}")
    begin = _skip(text, compared.end())
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin)
        value = parsed(text[begin:end])
    except (ValueError, RecursionError) as error:
        raise _wrong(f'needs a JSON value at character {begin}, for instance 3, "text" or null') from error
    if compared.group() in _ORDERS and not _is_number(value) and not isinstance(value, str):
        raise _wrong(f"orders by {compared.group()} what is neither a number nor a text at character {begin}")
    return Comparison(name.group(1) or name.group(2), compared.group(), value), _skip(text, end)


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


def _equal(left: Any, right: Any) -> bool:
    # Python's True is 1; JSON's is not.
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[name]) for name, value in left.items())
    return bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(what: str) -> InvalidArgumentError:
    return InvalidArgumentError.of(FIELD, what, reason="FILTER_CONDITION")
