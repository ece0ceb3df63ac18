"""Frames of HTTP/2 (RFC 9113, section 6): their numbers and their bytes."""

import struct
from collections.abc import Iterable
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types and flags are plain integers: they are compared for every frame.
DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

FLAG_ACK = 0x1
FLAG_END_STREAM = 0x1
FLAG_END_HEADERS = 0x4
FLAG_PADDED = 0x8
FLAG_PRIORITY = 0x20

SETTINGS_HEADER_TABLE_SIZE = 0x1
SETTINGS_ENABLE_PUSH = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS = 0x3
SETTINGS_INITIAL_WINDOW_SIZE = 0x4
SETTINGS_MAX_FRAME_SIZE = 0x5
SETTINGS_MAX_HEADER_LIST_SIZE = 0x6

DEFAULT_WINDOW = 65_535
DEFAULT_MAX_FRAME = 16_384
LARGEST_WINDOW = 2**31 - 1
LARGEST_STREAM_ID = 2**31 - 1
HEAD_SIZE = 9

# Length (24 bits, in two parts), type, flags, stream.
HEAD = struct.Struct(">HBBBL")
_U32 = struct.Struct(">L")
_SETTING = struct.Struct(">HL")
_GOAWAY = struct.Struct(">LL")


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113, section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD
    # Not on the wire: the connection ended under the stream.
    CONNECTION_LOST = 0x1_0000_0000


class ConnectionFault(Exception):  # noqa: N818 - the RFC's "connection error", which is no ConnectionError of Python's
    """The peer broke the protocol so that the connection cannot go on.

    Attributes:
        code: What to tell the peer in GOAWAY.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        """Makes the fault; see the attributes."""
        super().__init__(message)
        self.code = code


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """Returns the nine bytes before a frame's payload."""
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """Returns a SETTINGS frame."""
    payload = b"".join(_SETTING.pack(identifier, value) for identifier, value in values)
    return head(len(payload), SETTINGS, 0, 0) + payload


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Returns the identifiers and values of a SETTINGS frame.

    Raises:
        ConnectionFault: The length is no multiple of a setting's.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    return list(_SETTING.iter_unpack(payload))


def window_update(stream_id: int, increment: int) -> bytes:
    """Returns a WINDOW_UPDATE frame; stream 0 is the connection."""
    return head(4, WINDOW_UPDATE, 0, stream_id) + _U32.pack(increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    """Returns an RST_STREAM frame."""
    return head(4, RST_STREAM, 0, stream_id) + _U32.pack(code)


def goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """Returns a GOAWAY frame."""
    return head(8 + len(debug), GOAWAY, 0, 0) + _GOAWAY.pack(last_stream_id, code) + debug


def ping(payload: bytes, *, ack: bool) -> bytes:
    """Returns a PING frame."""
    return head(8, PING, FLAG_ACK if ack else 0, 0) + payload


def parse_u32(payload: bytes, *, of: str) -> int:
    """Returns the number that a four-byte payload holds.

    Raises:
        ConnectionFault: The payload has another length.
    """
    if len(payload) != 4:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{of} of a wrong length")
    return int(_U32.unpack(payload)[0])


def parse_goaway(payload: bytes) -> tuple[int, int]:
    """Returns the last stream that the peer handled, and its error code.

    Raises:
        ConnectionFault: The payload is too short.
    """
    if len(payload) < _GOAWAY.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a wrong length")
    last, code = _GOAWAY.unpack_from(payload)
    return last & LARGEST_STREAM_ID, code
