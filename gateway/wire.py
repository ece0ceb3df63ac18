"""Reads single fields from the wire bytes of a protobuf message, without parsing it.

The format: https://protobuf.dev/programming-guides/encoding.
"""

_LENGTH = 2
_GROUP_END = 4
_DEEPEST_GROUP = 32


class MalformedMessageError(Exception):
    """The bytes are no protobuf message."""


def scan(
    message: bytes, key_number: int, prefix_number: int = 0, *, first: bool = False, prefix_size: int = 0
) -> tuple[bytes | None, bytes]:
    """Reads a routing key and a prefix in one pass.

    Args:
        message: The message as it is on the wire.
        key_number: Number of the string field that holds the key. 0: none.
        prefix_number: Number of the field whose leading bytes are the prefix. 0: none.
        first: The key is a repeated field's first element. Otherwise the last occurrence counts, as protobuf has it for single fields.
        prefix_size: Most bytes of prefix.

    Returns:
        The key, None when the field is absent; and at most `prefix_size` bytes of the prefix field's occurrences, one after the other.

    Raises:
        MalformedMessageError: The bytes are no protobuf message.
    """
    key: bytes | None = None
    prefix = b""
    position = 0
    end = len(message)
    try:
        while position < end:
            tag = message[position]
            position += 1
            if tag >= 0x80:
                tag, position = _varint(message, position - 1)
            wire_type = tag & 7
            if wire_type == _LENGTH:
                size = message[position]
                position += 1
                if size >= 0x80:
                    size, position = _varint(message, position - 1)
                start = position
                position += size
                if position > end:
                    raise MalformedMessageError("a field is longer than the message")
                number = tag >> 3
                if number == key_number:
                    if key is None or not first:
                        key = message[start:position]
                elif number == prefix_number and len(prefix) < prefix_size:
                    prefix += message[start : min(position, start + prefix_size - len(prefix))]
                elif not 0 < number < 1 << 29:
                    raise MalformedMessageError("a field number is out of range")
            else:
                position = _skip(message, position, tag, 0)
    except IndexError:
        raise MalformedMessageError("the message is cut off") from None
    if position != end:
        raise MalformedMessageError("the message is cut off")
    return key, prefix


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise MalformedMessageError("a varint is longer than ten bytes")


def _skip(message: bytes, position: int, tag: int, depth: int) -> int:
    """Returns where the field whose tag was read ends."""
    if not 0 < tag >> 3 < 1 << 29:
        raise MalformedMessageError("a field number is out of range")
    match tag & 7:
        case 0:
            return _varint(message, position)[1]
        case 1:
            return position + 8
        case 2:
            size, position = _varint(message, position)
            return position + size
        case 3:
            return _skip_group(message, position, tag >> 3, depth + 1)
        case 5:
            return position + 4
        case _:
            raise MalformedMessageError("a wire type is unknown")


def _skip_group(message: bytes, position: int, number: int, depth: int) -> int:
    if depth > _DEEPEST_GROUP:
        raise MalformedMessageError("groups are nested too deeply")
    while True:
        tag, position = _varint(message, position)
        if tag & 7 == _GROUP_END:
            if tag >> 3 != number:
                raise MalformedMessageError("a group ends that did not begin")
            return position
        position = _skip(message, position, tag, depth)
