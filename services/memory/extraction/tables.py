"""CSV and JSON, written out so that every line says what its values are, wherever the text is cut."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from services.memory.extraction.extracted import Extracted, UnreadableError
from services.memory.extraction.plain import decoded

_MOST_DEPTH = 100
_MOST_COLUMNS = 16_384


def table(content: bytes, delimiter: str | None) -> Extracted:
    """Reads a table whose first row names the columns: a block for each row, `column: value` on each line.

    Args:
        content: The table.
        delimiter: What stands between values. None: told from the first lines.

    Raises:
        UnreadableError: It is no text, or no table.
    """
    text = decoded(content)
    csv.field_size_limit(max(len(text), 1))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or _delimiter(text), strict=True)
    try:
        names = [name.strip() for name in next(rows, [])]
        if len(names) > _MOST_COLUMNS:
            raise UnreadableError(f"has {len(names)} columns, and at most {_MOST_COLUMNS} are read")
        blocks = ["\n".join(_lines(names, row)) for row in rows]
    except csv.Error as error:
        raise UnreadableError(f"is no valid CSV: {error} (line {rows.line_num})") from error
    # A table of one row has no names to go by.
    return Extracted("\n\n".join(block for block in blocks if block) or ", ".join(filter(None, names)))


def _delimiter(text: str) -> str:
    head = text[:8192].split("\n", 1)[0]
    return max(",;\t|", key=head.count)


def _lines(names: list[str], row: list[str]) -> Iterator[str]:
    for place, value in enumerate(row):
        value = value.strip()  # noqa: PLW2901 - what the line holds
        if value:
            name = names[place] if place < len(names) else ""
            yield f"{name or f'column {place + 1}'}: {value}"


def json_text(content: bytes) -> Extracted:
    """Reads JSON: a line `path.to.key: value` for each value, with a blank line between the elements of the outermost list.

    Raises:
        UnreadableError: It is no JSON, or nests too deep.
    """
    return Extracted(_written(_parsed(decoded(content), "")))


def json_lines(content: bytes) -> Extracted:
    """Reads JSON lines as a JSON list.

    Raises:
        UnreadableError: A line is no JSON, or nests too deep.
    """
    lines = decoded(content).splitlines()
    values = [_parsed(line, f" (line {number})") for number, line in enumerate(lines, 1) if line.strip()]
    return Extracted(_written(values))


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise UnreadableError(f"nests more than {_MOST_DEPTH} deep{where}") from error
    except ValueError as error:
        raise UnreadableError(f"is no valid JSON: {error}{where}") from error


def _written(value: Any) -> str:
    if isinstance(value, list):
        return "\n\n".join("\n".join(_flat(element, "", 1)) for element in value)
    return "\n".join(_flat(value, "", 0))


def _flat(value: Any, path: str, depth: int) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        raise UnreadableError(f"nests more than {_MOST_DEPTH} deep")
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _flat(member, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        if all(isinstance(element, str | int | float | bool) for element in value):
            yield _line(path, ", ".join(_plain(element) for element in value))
        else:
            for element in value:
                yield from _flat(element, path, depth + 1)
    elif value is not None:
        yield _line(path, _plain(value))


def _line(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
