"""Comma-separated values with a header line: cells become values as the schema says or, without one, as all cells of the column look.

A column whose cells are all numbers as JSON writes them holds numbers (so 007 stays a text); true and false, lists and objects likewise. An
empty cell is an empty text in a column of texts that must be there, and nothing elsewhere.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caravan.datasets.v1 import datasets_pb2
from services.post_training.datasets import formats
from services.post_training.datasets.canonical import Row, RowError, parsed, shown
from services.post_training.datasets.columns import Schema
from services.post_training.datasets.readers.numbered import Rows, UnreadableError, too_large

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TEXTS = {datasets_pb2.COLUMN_TYPE_STRING, datasets_pb2.COLUMN_TYPE_TEXT, datasets_pb2.COLUMN_TYPE_MEDIA}
# Either a text or what its JSON means.
_EITHER = {
    datasets_pb2.COLUMN_TYPE_CHAT_COMPLETION_INPUT,
    datasets_pb2.COLUMN_TYPE_AGENT_TURN_INPUT,
    datasets_pb2.COLUMN_TYPE_COMPLETION_INPUT,
    datasets_pb2.COLUMN_TYPE_JSON,
    datasets_pb2.COLUMN_TYPE_UNION,
}
_JSON, _TEXT, _TEXT_OR_NONE, _EITHER_WAY = "json", "text", "text or none", "either"


def read(path: Path, schema: Schema | None, format_number: int, max_row_bytes: int, max_columns: int) -> Rows:
    """Yields the rows of a file.

    Args:
        path: The file.
        schema: Types of the columns. None: the cells tell, for which the file is read twice.
        format_number: Number of the format: its columns are no numbers, whatever they look like.
        max_row_bytes: Most bytes of a cell.
        max_columns: Most columns.

    Raises:
        UnreadableError: It is no such file.
    """
    csv.field_size_limit(max_row_bytes)
    header = _header(path, max_columns)
    told = [_way(schema.get(name)) for name in header] if schema is not None else None
    ways = told or _ways_told(path, header, format_number)
    for number, cells in _records(path):
        if isinstance(cells, RowError):
            yield number, cells
            continue
        if len(cells) != len(header):
            yield number, RowError(f"has {len(cells)} cells where the header has {len(header)}")
        elif sum(map(len, cells)) > max_row_bytes:
            yield number, too_large(max_row_bytes)
        else:
            yield number, _row(header, ways, cells)


def _records(path: Path) -> Iterator[tuple[int, list[str] | RowError]]:
    """Yields the records after the header; one that breaks the form is the last."""
    number = -1
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for cells in csv.reader(file, strict=True):
                if cells:
                    if number >= 0:
                        yield number, cells
                    number += 1
        except UnicodeDecodeError:
            yield max(0, number), RowError("is not UTF-8, or a row soon after it is not")
        except csv.Error as error:
            yield max(0, number), RowError(f"is no CSV: {error}")


def _header(path: Path, max_columns: int) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            names = next((cells for cells in csv.reader(file, strict=True) if cells), None)
        except UnicodeDecodeError as error:
            raise UnreadableError("is not UTF-8") from error
        except csv.Error as error:
            raise UnreadableError(f"has no header line that is CSV: {error}") from error
    if names is None:
        raise UnreadableError("is empty")
    if len(names) > max_columns:
        raise UnreadableError(f"has {len(names)} columns; a data set has at most {max_columns}")
    if "" in names:
        raise UnreadableError(f"has no name for column {names.index('') + 1} in its header line")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableError(f"has the column {shown(twice)} twice in its header line")
    return names


def _way(column: datasets_pb2.DatasetColumn | None) -> str:
    if column is None:
        return _TEXT
    if column.type in _TEXTS:
        return _TEXT_OR_NONE if column.nullable else _TEXT
    return _EITHER_WAY if column.type in _EITHER else _JSON


def _ways_told(path: Path, header: list[str], format_number: int) -> list[str]:
    """Returns how to read each column, as its cells look."""
    looks: list[set[str]] = [set() for _ in header]
    for _, cells in _records(path):
        if isinstance(cells, RowError) or len(cells) != len(header):
            continue
        for seen, cell in zip(looks, cells, strict=True):
            if cell and "text" not in seen:
                seen.add(_look(cell))
    ways = [_JSON if len(seen) == 1 and "text" not in seen else _TEXT for seen in looks]
    for name in formats.COLUMNS[format_number]:
        if name in header:
            place = header.index(name)
            ways[place] = _JSON if looks[place] == {"list"} else _TEXT
    return ways


def _look(cell: str) -> str:
    if cell in ("true", "false"):
        return "boolean"
    if _NUMBER.fullmatch(cell):
        return "number"
    if cell[0] + cell[-1] in ("[]", "{}"):
        try:
            return "list" if isinstance(parsed(cell), list) else "object"
        except RowError:
            return "text"
    return "text"


def _row(header: list[str], ways: list[str], cells: list[str]) -> Row | RowError:
    row: dict[str, Any] = {}
    for name, way, cell in zip(header, ways, cells, strict=True):
        if way == _TEXT or (way == _TEXT_OR_NONE and cell):
            row[name] = cell
        elif cell:
            try:
                row[name] = parsed(cell)
            except RowError as error:
                if way == _JSON:
                    return RowError(error.description, name)
                row[name] = cell
    return row
