"""What metadata filters mean: the rules that every store follows, and a plain evaluation of them.

- `document_id`, `mime_type` and `inserted_at` are the document's own fields, whatever the metadata hold under these names. A chunk that
  stands for itself has the `document_id` it was given, no `mime_type`, and its own time of insertion. An empty `mime_type` is missing.
- Other keys are looked up in the metadata; dots lead into objects, not into lists. What is not there is missing; null is there.
- Values are texts, times (strings in RFC 3339's date-time form; compared by microseconds), numbers and booleans. Values of two types are
  unequal, and neither less nor greater. Texts are ordered by code points. Null, lists and objects are equal to nothing.
- `not_equal` is the opposite of `equal`, so it holds where the key is missing. `one_of` holds when a value, or an element of a list, is
  equal to one of the values.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf import struct_pb2

from caravan.memory.v1 import filters_pb2
from services.core.errors import InvalidArgumentError

MOST_DEPTH = 16
MOST_CONDITIONS = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)

Scalar = tuple[str, str | float | bool | int]
"""Type and value: `text`, `time` (microseconds since the epoch), `number` or `boolean`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a filter is asked about."""

    document_id: str
    """The document's identifier."""

    mime_type: str
    """The document's media type."""

    inserted_at: float
    """When the document was first inserted, in seconds since the epoch."""

    metadata: struct_pb2.Struct
    """The document's metadata, with the chunk's own over them."""


def instant(text: str) -> int | None:
    """Returns the microseconds since the epoch that a string in RFC 3339's date-time form means; None when it has another form."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    micros = int((found[7] or "").ljust(6, "0")[:6])
    offset = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0)) * (-1 if found[8] == "-" else 1)
    try:
        # A leap second is the next minute's first.
        moment = datetime(year, month, day, hour, minute, min(second, 59), micros, UTC) - offset
    except (ValueError, OverflowError):
        return None
    if second > 60 or int(found[10] or 0) > 59:
        return None
    return (moment - _EPOCH) // timedelta(microseconds=1) + (1_000_000 if second == 60 else 0)


def scalar(value: struct_pb2.Value) -> Scalar | None:
    """Returns the type and value of what can be compared; None for null, lists, objects and NaN."""
    match value.WhichOneof("kind"):
        case "string_value":
            moment = instant(value.string_value)
            return ("text", value.string_value) if moment is None else ("time", moment)
        case "number_value":
            return None if math.isnan(value.number_value) else ("number", value.number_value)
        case "bool_value":
            return ("boolean", value.bool_value)
        case _:
            return None


def check_filter(condition: filters_pb2.MetadataFilter, field: str) -> None:
    """Checks what the contract's rules do not: depth, size, and values that can be compared.

    Args:
        condition: The filter.
        field: Path of the request's field that holds it.

    Raises:
        InvalidArgumentError: It is too deep or too large, or compares with what has no order.
    """
    pending = [(condition, field, 1)]
    seen = 0
    while pending:
        part, path, depth = pending.pop()
        seen += 1
        if depth > MOST_DEPTH:
            raise InvalidArgumentError.of(field, f"must nest at most {MOST_DEPTH} deep", reason="FILTER_TOO_DEEP")
        if seen > MOST_CONDITIONS:
            raise InvalidArgumentError.of(
                field, f"must have at most {MOST_CONDITIONS} conditions in all", reason="FILTER_TOO_LARGE"
            )
        member = part.WhichOneof("condition")
        match member:
            case "all_of" | "any_of":
                parts = getattr(part, member).filters
                pending += [(one, f"{path}.{member}.filters[{at}]", depth + 1) for at, one in enumerate(parts)]
            case "negation":
                pending.append((part.negation.filter, f"{path}.negation.filter", depth + 1))
            case "one_of":
                for at, value in enumerate(part.one_of.values):
                    _check_value(value, f"{path}.one_of.values[{at}]")
            case "equal" | "not_equal" | "greater" | "greater_or_equal" | "less" | "less_or_equal":
                _check_value(
                    getattr(part, member).value, f"{path}.{member}.value", ordered="equal" != member != "not_equal"
                )
            case _:
                pass


def _check_value(value: struct_pb2.Value, path: str, *, ordered: bool = False) -> None:
    found = scalar(value)
    if found is None:
        raise InvalidArgumentError.of(path, "must be a string, a number or a boolean")
    if ordered and found[0] == "boolean":
        raise InvalidArgumentError.of(path, "must be a string or a number: booleans have no order")


def fits(condition: filters_pb2.MetadataFilter, subject: Subject) -> bool:
    """Tells whether a document or chunk fits a checked filter."""
    match condition.WhichOneof("condition"):
        case "all_of":
            return all(fits(part, subject) for part in condition.all_of.filters)
        case "any_of":
            return any(fits(part, subject) for part in condition.any_of.filters)
        case "negation":
            return not fits(condition.negation.filter, subject)
        case "present":
            return _value(condition.present.key, subject) is not None
        case "one_of":
            return _is_one_of(condition.one_of, subject)
        case "not_equal":
            return not _compares("equal", condition.not_equal, subject)
        case "equal" | "greater" | "greater_or_equal" | "less" | "less_or_equal" as member:
            return _compares(member, getattr(condition, member), subject)
        case _:
            return True


def _value(key: str, subject: Subject) -> struct_pb2.Value | None:
    match key:
        case "document_id":
            return struct_pb2.Value(string_value=subject.document_id)
        case "mime_type":
            return struct_pb2.Value(string_value=subject.mime_type) if subject.mime_type else None
        case "inserted_at":
            moment = datetime.fromtimestamp(subject.inserted_at, UTC).isoformat().replace("+00:00", "Z")
            return struct_pb2.Value(string_value=moment)
    *outer, last = key.split(".")
    holder = subject.metadata
    for name in outer:
        # Asking a protobuf map for what it lacks would add it.
        if name not in holder.fields or not holder.fields[name].HasField("struct_value"):
            return None
        holder = holder.fields[name].struct_value
    return holder.fields.get(last)


def _compares(member: str, comparison: filters_pb2.MetadataComparison, subject: Subject) -> bool:
    value = _value(comparison.key, subject)
    left, right = scalar(value) if value is not None else None, scalar(comparison.value)
    if left is None or right is None or left[0] != right[0]:
        return False
    # Both are of one type.
    a, b = left[1], right[1]
    match member:
        case "equal":
            return a == b
        case "greater":
            return a > b  # type: ignore[operator]
        case "greater_or_equal":
            return a >= b  # type: ignore[operator]
        case "less":
            return a < b  # type: ignore[operator]
        case _:
            return a <= b  # type: ignore[operator]


def _is_one_of(membership: filters_pb2.MetadataMembership, subject: Subject) -> bool:
    value = _value(membership.key, subject)
    if value is None:
        return False
    present = value.list_value.values if value.HasField("list_value") else [value]
    wanted = {scalar(one) for one in membership.values}
    return any(found is not None and found in wanted for found in map(scalar, present))
