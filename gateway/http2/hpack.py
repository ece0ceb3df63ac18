"""Header compression (RFC 7541): a decoder with a memory for repeated blocks, and an encoder without state.

The encoder never adds to the peer's table: what it writes for a header depends on that header alone, so it is remembered across
connections. It costs some tens of bytes a call on the wire and saves the bookkeeping in both processes.
"""

from collections import deque
from collections.abc import Iterable

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from gateway.http2.frames import ConnectionFault, ErrorCode

Header = tuple[bytes, bytes]
Headers = tuple[Header, ...]

_STATIC: tuple[Header, ...] = tuple((bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE)
_STATIC_COUNT = len(_STATIC)
_EXACT = {entry: index for index, entry in reversed(list(enumerate(_STATIC, 1))) if entry[1]}
_NAMES = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC, 1)))}
_ENTRY_OVERHEAD = 32  # section 4.1
_DEFAULT_TABLE_SIZE = 4096
_MOST_REMEMBERED = 2048
_MOST_SEEN = 256
_LONGEST_REMEMBERED = 1024
# Never to be kept in a table by anyone between here and the receiver (section 7.1).
_SECRET_NAMES = frozenset({b"authorization", b"caravan-provider-data", b"cookie", b"proxy-authorization"})
SHRINK_TABLE = b"\x20"
"""Begins a connection's first header block: the encoder uses no dynamic table."""


class HeadersTooLargeError(Exception):
    """A header list is longer than allowed. The decoder is still in step with the peer."""


class HeaderDecoder:
    """Decodes the header blocks of one connection, in the order they came."""

    def __init__(self, max_list_size: int, max_table_size: int = _DEFAULT_TABLE_SIZE) -> None:
        """Makes a decoder with an empty table.

        Args:
            max_list_size: Largest list in bytes: names, values and 32 for each header.
            max_table_size: Largest dynamic table in bytes, as told to the peer.
        """
        self._max_list_size = max_list_size
        self._max_table_size = max_table_size
        self._limit = max_table_size
        self._table: deque[Header] = deque()
        self._table_size = 0
        # A block decodes to the same list for as long as the table does not change.
        self._seen: dict[bytes, Headers] = {}

    def decode(self, block: bytes) -> Headers:
        """Returns the headers of one complete block.

        Raises:
            ConnectionFault: The block is malformed.
            HeadersTooLargeError: The list is longer than allowed.
        """
        seen = self._seen.get(block)
        if seen is not None:
            return seen
        try:
            headers, pure = self._decode(block)
        except (IndexError, HPACKDecodingError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"malformed header block: {error}") from error
        if pure and len(block) <= _LONGEST_REMEMBERED:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[block] = headers
        return headers

    def _decode(self, block: bytes) -> tuple[Headers, bool]:
        headers: list[Header] = []
        size = 0
        position = 0
        end = len(block)
        pure = True
        while position < end:
            first = block[position]
            if first & 0x80:
                index, position = (first & 0x7F, position + 1) if first != 0xFF else _integer(block, position, 0x7F)
                header = self._entry(index)
            elif first & 0xE0 == 0x20:
                if headers:
                    raise HPACKDecodingError("table size update after a header")
                limit, position = _integer(block, position, 0x1F)
                self._resize(limit)
                pure = False
                continue
            else:
                mask = 0x3F if first & 0x40 else 0x0F
                index, position = _integer(block, position, mask)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, position = _string(block, position)
                value, position = _string(block, position)
                header = (name, value)
                if mask == 0x3F:
                    self._add(header)
                    pure = False
            size += len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD
            if size <= self._max_list_size:
                headers.append(header)
        if size > self._max_list_size:
            raise HeadersTooLargeError
        return tuple(headers), pure

    def _entry(self, index: int) -> Header:
        if index > _STATIC_COUNT:
            return self._table[index - _STATIC_COUNT - 1]
        if index == 0:
            raise HPACKDecodingError("index 0")
        return _STATIC[index - 1]

    def _add(self, header: Header) -> None:
        self._seen.clear()
        self._table.appendleft(header)
        self._table_size += len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD
        self._evict()

    def _resize(self, limit: int) -> None:
        if limit > self._max_table_size:
            raise HPACKDecodingError("table size above the setting")
        self._seen.clear()
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._table_size > self._limit:
            name, value = self._table.pop()
            self._table_size -= len(name) + len(value) + _ENTRY_OVERHEAD


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """Reads an integer whose first bits are under `mask` (section 5.1)."""
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    shift = 0
    while True:
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 28:
            raise HPACKDecodingError("integer too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """Reads a string (section 5.2)."""
    huffman = block[position] & 0x80
    length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HPACKDecodingError("string beyond the block")
    text = block[position:end]
    return (bytes(decode_huffman(text)) if huffman else text), end


_encoded: dict[Header, bytes] = {}


def encode(headers: Iterable[Header]) -> bytes:
    """Returns a header block for any connection."""
    remembered = _encoded.get
    return b"".join([remembered(header) or _encode(header) for header in headers])


def _encode(header: Header) -> bytes:
    name, value = header
    exact = _EXACT.get(header)
    if exact is not None:
        encoded = _encode_integer(exact, 0x7F, 0x80)
    else:
        kind = 0x10 if name in _SECRET_NAMES else 0x00
        index = _NAMES.get(name, 0)
        encoded = _encode_integer(index, 0x0F, kind) + (b"" if index else _encode_string(name)) + _encode_string(value)
    if len(encoded) <= 256 and name not in _SECRET_NAMES:
        if len(_encoded) >= _MOST_REMEMBERED:
            _encoded.clear()
        _encoded[header] = encoded
    return encoded


def _encode_string(text: bytes) -> bytes:
    return _encode_integer(len(text), 0x7F, 0) + text


def _encode_integer(value: int, mask: int, kind: int) -> bytes:
    if value < mask:
        return bytes((kind | value,))
    encoded = bytearray((kind | mask,))
    value -= mask
    while value >= 0x80:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
