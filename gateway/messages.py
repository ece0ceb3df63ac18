"""gRPC's own framing inside the data of a stream: five bytes before each message (gRPC over HTTP/2, "Length-Prefixed-Message")."""

import base64
import zlib
from collections.abc import Mapping
from urllib.parse import quote, unquote

from gateway.http2.hpack import Header, Headers
from services.core.errors import CaravanError, InvalidArgumentError, UnimplementedError
from services.core.status import status_of, too_large, too_large_told

PREFIX_SIZE = 5
# grpc-message is percent-encoded but for visible ASCII without the percent sign.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
# zlib's window bits: gzip header, zlib header.
_WINDOW_BITS: Mapping[bytes, int] = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def message_size(prefix: bytes) -> int:
    """Returns the size that a message's first five bytes tell."""
    return int.from_bytes(prefix[1:PREFIX_SIZE])


def decompressed(message: bytes, encoding: bytes, limit: int) -> bytes:
    """Returns a compressed message's bytes.

    Args:
        message: The compressed bytes.
        encoding: `grpc-encoding` of the request.
        limit: Largest size in bytes.

    Raises:
        UnimplementedError: The encoding is not known.
        InvalidArgumentError: The bytes are not in that encoding.
        ResourceExhaustedError: The message is too large.
    """
    if encoding in (b"", b"identity"):
        raise InvalidArgumentError("the message is marked as compressed but grpc-encoding names no compression")
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        text = f"grpc-encoding {encoding.decode('latin-1')!r} is not supported: use identity, gzip or deflate"
        raise UnimplementedError(text, reason="ENCODING_NOT_SUPPORTED")
    inflater = zlib.decompressobj(bits)
    try:
        plain = inflater.decompress(message, limit + 1)
    except zlib.error as error:
        text = f"the message is no valid {encoding.decode()} data"
        raise InvalidArgumentError(text) from error
    if len(plain) > limit:
        raise too_large(len(plain), limit)
    if not inflater.eof:
        text = f"the message is cut off inside its {encoding.decode()} data"
        raise InvalidArgumentError(text)
    return plain


def status_headers(error: CaravanError) -> Headers:
    """Returns an error as the trailers of a call."""
    status = status_of(error)
    details = base64.b64encode(status.SerializeToString()).rstrip(b"=")
    return (
        (b"grpc-status", str(status.code).encode()),
        (b"grpc-message", quote(status.message, safe=_PLAIN).encode()),
        (b"grpc-status-details-bin", details),
    )


def with_details(headers: Headers) -> Headers:
    """Returns trailers with details, when they tell of a message above a replica's limit: gRPC's core gives none.

    Args:
        headers: Trailers, or headers that are trailers too, with RESOURCE_EXHAUSTED.
    """
    fields = dict(headers)
    if b"grpc-status-details-bin" in fields:
        return headers
    error = too_large_told(unquote(fields.get(b"grpc-message", b"").decode("latin-1")))
    if error is None:
        return headers
    kept = (header for header in headers if header[0] not in (b"grpc-status", b"grpc-message"))
    return (*kept, *status_headers(error))


RESPONSE_HEADERS: tuple[Header, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))


class MessageMeter:
    """Watches the sizes of the messages in one direction of a stream, however they are cut into frames."""

    __slots__ = ("_limit", "_partial", "_remaining")

    def __init__(self, limit: int) -> None:
        """Makes a meter.

        Args:
            limit: Largest message in bytes.
        """
        self._limit = limit
        self._remaining = 0
        self._partial = b""

    def feed(self, data: bytes) -> int:
        """Looks at the next bytes; returns 0, or the size of a message above the limit that begins in them."""
        size = len(data)
        if self._remaining >= size:
            self._remaining -= size
            return 0
        if not self._remaining and not self._partial and size >= PREFIX_SIZE:
            message = int.from_bytes(data[1:PREFIX_SIZE])
            if message + PREFIX_SIZE == size:
                return message if message > self._limit else 0
        return self._walk(data)

    def _walk(self, data: bytes) -> int:
        position = self._remaining
        data = self._partial + data
        self._partial = b""
        while len(data) - position >= PREFIX_SIZE:
            message = int.from_bytes(data[position + 1 : position + PREFIX_SIZE])
            if message > self._limit:
                return message
            position += PREFIX_SIZE + message
        if position > len(data):
            self._remaining = position - len(data)
        else:
            self._remaining = 0
            self._partial = data[position:]
        return 0
