"""Rows out of Arrow tables, batch by batch."""

import base64
import datetime as dt
import decimal
from typing import Any

from services.post_training.datasets.canonical import MOST_DEPTH, Row, RowError, integer, number

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)
BATCH_ROWS = 256


def rows_of(batch: Any) -> list[Row | RowError]:
    """Returns the rows of a record batch; columns that are null are left out, since every row of a table has all of them.

    Args:
        batch: The batch.
    """
    names = batch.schema.names
    found: list[Row | RowError] = []
    columns = [_values(column) for column in batch.columns]
    for place in range(batch.num_rows):
        row: Row = {}
        name = ""
        try:
            for name, column in zip(names, columns, strict=True):
                value = column[place]
                if value is not None:
                    row[name] = plain(value, 2)
        except RowError as error:
            found.append(RowError(error.description, name))
        else:
            found.append(row)
    return found


def _values(column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, UnicodeDecodeError, OverflowError) as error:
        # A date beyond Python's, bytes that are no text: the rows say which.
        return [_value(item, error) for item in column]
    return values


def _value(item: Any, error: Exception) -> Any:
    try:
        return item.as_py()
    except (ValueError, UnicodeDecodeError, OverflowError):
        return RowError(f"holds a value that cannot be read: {error}")


def plain(value: Any, depth: int) -> Any:
    """Returns a value as JSON has it.

    Args:
        value: A value of a table.
        depth: How deep it is nested.

    Raises:
        RowError: JSON has no such value.
    """
    match value:
        case None | str() | bool():
            return value
        case int():
            return integer(value)
        case float():
            return number(value)
        case RowError():
            raise value
        case list() | dict() | tuple():
            return _nested(value, depth)
        case bytes():
            return _image(value)
        case decimal.Decimal():
            return number(float(value)) if value.is_finite() else number(float("nan"))
        case dt.date() | dt.time():
            return value.isoformat()
        case _:
            raise RowError(f"holds a {type(value).__name__}, which JSON has not")


def _nested(value: list[Any] | dict[str, Any] | tuple[Any, ...], depth: int) -> Any:
    if depth > MOST_DEPTH:
        raise RowError(f"is nested more than {MOST_DEPTH} deep")
    if isinstance(value, dict):
        # How Hugging Face keeps images.
        if value.keys() == {"bytes", "path"} and isinstance(value["bytes"], bytes):
            return _image(value["bytes"])
        return {name: plain(inner, depth + 1) for name, inner in value.items()}
    return [plain(inner, depth + 1) for inner in value]


def _image(content: bytes) -> str:
    kind = next((kind for magic, kind in _IMAGES if content.startswith(magic)), "")
    if not kind and content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "image/webp"
    if not kind:
        raise RowError("holds bytes that are no image; only images may be binary")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
