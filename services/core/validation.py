"""Checks requests against the rules that their protos declare (protovalidate)."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from protovalidate import FieldPathElementPb, ViolationPb

from services.core.errors import FieldViolation, InvalidArgumentError

_validator = protovalidate.Validator()
# Enough for a person to see what is wrong with a request; a batch with thousands of wrong items is told about the first ones.
_MOST_VIOLATIONS = 16


def validate(message: Message) -> None:
    """Checks a message against the rules of its proto.

    Raises:
        InvalidArgumentError: With the path of each wrong field and what it must be.
    """
    found = _validator.collect_violations(message)
    if found:
        raise _invalid(message, found)


def prepare(message_class: type[Message]) -> None:
    """Compiles the rules of a message class, so that its first request does not wait for that.

    Raises:
        protovalidate.CompilationError: The proto's rules are wrong.
    """
    _validator.collect_violations(message_class())


def checked(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Returns a request deserializer that also validates.

    Args:
        parse: The generated deserializer.

    Returns:
        A function of the bytes that returns the message or raises InvalidArgumentError.
    """
    collect = _validator.collect_violations

    def deserialize(raw: bytes) -> Any:
        try:
            message = parse(raw)
        except (DecodeError, ValueError) as error:
            raise _undecodable(parse) from error
        found = collect(message)
        if found:
            raise _invalid(message, found)
        return message

    return deserialize


def decoded(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Returns a request deserializer that does not validate; wrong bytes still raise InvalidArgumentError."""

    def deserialize(raw: bytes) -> Any:
        try:
            return parse(raw)
        except (DecodeError, ValueError) as error:
            raise _undecodable(parse) from error

    return deserialize


def _undecodable(parse: Callable[[bytes], Any]) -> InvalidArgumentError:
    owner = getattr(parse, "__self__", None)
    descriptor = getattr(owner, "DESCRIPTOR", None)
    name = descriptor.full_name if descriptor is not None else "message of this method"
    message = f"the request's bytes are not a {name}: check that client and server use the same protos and that every string is UTF-8"
    return InvalidArgumentError(message, reason="UNDECODABLE_REQUEST", metadata={"message": name})


def _invalid(message: Message, found: Sequence[protovalidate.Violation]) -> InvalidArgumentError:
    violations = [_violation(message.DESCRIPTOR, item.proto) for item in found[:_MOST_VIOLATIONS]]
    first = violations[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = f"{first.field}: " if first.field else ""
    return InvalidArgumentError(f"{where}{first.description}{more}", violations=violations, reason="VALIDATION_FAILED")


def _violation(descriptor: Any, proto: ViolationPb) -> FieldViolation:
    """Returns a violation in words that say what to do; protovalidate's own do where they say it already."""
    elements: Sequence[FieldPathElementPb] = proto.field.elements if proto.field else ()
    description = proto.message or f"breaks the rule {proto.rule_id}"
    if proto.rule_id == "required":
        description = _required(descriptor, elements)
    elif proto.rule_id == "enum.defined_only":
        description = f"must be one of {_enum_values(descriptor, elements)}"
    elif proto.rule_id in ("string.min_len", "repeated.min_items") and "at least 1 " in description:
        description = "must not be empty"
    elif proto.rule_id == "string.pattern":
        description = description.replace("does not match regex pattern", "must match the regular expression")
    return FieldViolation(field=_path(elements), description=description)


def _path(elements: Sequence[FieldPathElementPb]) -> str:
    """Returns a field path as text, for instance `messages[0].user.content` or `metadata["a"]`."""
    return ".".join(element.field_name + _subscript(element) for element in elements)


def _subscript(element: FieldPathElementPb) -> str:
    if element.subscript is None:
        return ""
    value = element.subscript.value
    return f"[{json.dumps(value)}]"


def _required(descriptor: Descriptor, elements: Sequence[FieldPathElementPb]) -> str:
    parent = _descend(descriptor, elements[:-1])
    oneof = parent.oneofs_by_name.get(elements[-1].field_name) if parent is not None and elements else None
    if oneof is None:
        return "must be set"
    return f"set exactly one of {', '.join(member.name for member in oneof.fields)}"


def _enum_values(descriptor: Descriptor, elements: Sequence[FieldPathElementPb]) -> str:
    parent = _descend(descriptor, elements[:-1])
    field = parent.fields_by_name.get(elements[-1].field_name) if parent is not None and elements else None
    if field is not None and field.message_type is not None and field.message_type.GetOptions().map_entry:
        field = field.message_type.fields_by_name["value"]
    if field is None or field.enum_type is None:
        return "the values that the proto defines"
    return ", ".join(value.name for value in field.enum_type.values)


def _descend(descriptor: Descriptor, elements: Sequence[FieldPathElementPb]) -> Descriptor | None:
    """Returns the message type that `elements` leads to, or None where they leave the generated descriptors."""
    current: Descriptor | None = descriptor
    for element in elements:
        field = current.fields_by_name.get(element.field_name) if current is not None else None
        current = field.message_type if field is not None else None
        if current is not None and current.GetOptions().map_entry:
            current = current.fields_by_name["value"].message_type
    return current
