"""Rows in the form that COPY takes fastest: PostgreSQL's binary format, made off the event loop.

Source: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT.
"""

import struct
from collections.abc import AsyncIterator, Iterable, Sequence

SLICE = 256 << 10
"""Bytes that are handed to the connection at a time."""

_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_INT8 = struct.Struct(">iq")
_INT4 = struct.Struct(">ii")
_FLOAT8 = struct.Struct(">id")
_LENGTH = struct.Struct(">i")


def raw(value: bytes | None) -> bytes:
    """A field of any type in the form its type receives; text and bytea are themselves."""
    return _NULL if value is None else _LENGTH.pack(len(value)) + value


def text(value: str) -> bytes:
    """A text."""
    return raw(value.encode())


def jsonb(value: str) -> bytes:
    """A JSON text."""
    return raw(b"\x01" + value.encode())


def int8(value: int) -> bytes:
    """A bigint."""
    return _INT8.pack(8, value)


def int4(value: int) -> bytes:
    """An integer."""
    return _INT4.pack(4, value)


def float8(value: float | None) -> bytes:
    """A double precision number."""
    return _NULL if value is None else _FLOAT8.pack(8, value)


def boolean(value: bool) -> bytes:
    """A boolean."""
    return raw(b"\x01" if value else b"\x00")


def rows(fields: Iterable[Sequence[bytes]]) -> bytes:
    """Returns the stream of the rows whose fields are given."""
    parts = [_HEAD]
    for row in fields:
        parts.append(len(row).to_bytes(2))
        parts.extend(row)
    parts.append(_END)
    return b"".join(parts)


async def sliced(stream: bytes) -> AsyncIterator[bytes]:
    """Yields a stream in pieces, so that sending it does not hold up the event loop."""
    view = memoryview(stream)
    for start in range(0, len(view), SLICE):
        yield bytes(view[start : start + SLICE])
