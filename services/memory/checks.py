"""Checks of requests that the contract's rules do not make: names, metadata, identifiers that repeat."""

import math
from collections.abc import Iterable, Sequence

from google.protobuf import struct_pb2

from services.core.errors import FieldViolation, InvalidArgumentError

MOST_METADATA_BYTES = 256 << 10
_MOST_VIOLATIONS = 16


def check_unique(identifiers: Sequence[str], path: str) -> None:
    """Checks that no identifier comes twice.

    Args:
        identifiers: The identifiers.
        path: Path of one, with `{}` for its place, for instance `documents[{}].document_id`.

    Raises:
        InvalidArgumentError: One does.
    """
    first: dict[str, int] = {}
    violations = []
    for place, identifier in enumerate(identifiers):
        seen = first.setdefault(identifier, place)
        if seen != place:
            violations.append(FieldViolation(path.format(place), f"is the same as {path.format(seen)}"))
    if violations:
        message = f"{violations[0].field}: {violations[0].description}; give each identifier once"
        raise InvalidArgumentError(message, violations=violations[:_MOST_VIOLATIONS], reason="DUPLICATE_IDENTIFIER")


def check_name(name: str, field: str) -> None:
    """Checks an identifier or key.

    Raises:
        InvalidArgumentError: It holds NUL, which databases do not take in text.
    """
    if "\0" in name:
        raise InvalidArgumentError.of(field, "must not hold the character NUL")


def check_metadata(metadata: struct_pb2.Struct, field: str) -> None:
    """Checks metadata, or an entity's properties.

    Raises:
        InvalidArgumentError: They are too large, or hold NUL, NaN or infinity.
    """
    if metadata.ByteSize() > MOST_METADATA_BYTES:
        raise InvalidArgumentError.of(
            field, f"must have at most {MOST_METADATA_BYTES} bytes; it has {metadata.ByteSize()}"
        )
    pending: list[struct_pb2.Value] = []

    def enter(struct: struct_pb2.Struct) -> Iterable[struct_pb2.Value]:
        for key in struct.fields:
            check_name(key, field)
        return struct.fields.values()

    pending.extend(enter(metadata))
    while pending:
        value = pending.pop()
        match value.WhichOneof("kind"):
            case "struct_value":
                pending.extend(enter(value.struct_value))
            case "list_value":
                pending.extend(value.list_value.values)
            case "string_value":
                check_name(value.string_value, field)
            case "number_value" if not math.isfinite(value.number_value):
                raise InvalidArgumentError.of(field, "must hold finite numbers only")
            case _:
                pass
