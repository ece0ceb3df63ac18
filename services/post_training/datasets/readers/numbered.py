"""What readers yield: rows with their numbers, or what is wrong where a row should be."""

from collections.abc import Iterator
from typing import TypeAlias

from services.post_training.datasets.canonical import Row, RowError, parsed

Numbered: TypeAlias = tuple[int, Row | RowError]
Rows: TypeAlias = Iterator[Numbered]


def row_of(text: bytes | str, max_bytes: int) -> Row | RowError:
    """Reads one row.

    Args:
        text: Its JSON.
        max_bytes: Most bytes of it.
    """
    if len(text) > max_bytes:
        return too_large(max_bytes)
    try:
        value = parsed(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as error:
        return RowError(f"is not UTF-8 at byte {error.start}")
    except RowError as error:
        return error
    return value if isinstance(value, dict) else RowError("is no JSON object")


def too_large(max_bytes: int) -> RowError:
    """Returns the fault of a row with too many bytes."""
    return RowError(f"has more than {max_bytes} bytes, the most that a row may have")


class UnreadableError(Exception):
    """A file cannot be read as a whole; the message is a predicate: "is no Parquet file"."""
