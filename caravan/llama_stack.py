"""Builds messages from Llama Stack's JSON shapes, led by the annotations in the protos.

The shapes differ from protobuf's own JSON in four ways, and `caravan/options/v1/options.proto` says where: a bare string or a list may
stand for a message, a property such as `type` or `role` tells the members of a `oneof` apart, a member's fields may stand beside that
property, and a `oneof` may appear bare under one property. Everything else is read as protobuf JSON with the protos' field names. An enum's
value may be written without its prefix and in small letters: `end_of_turn`.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message

from caravan.errors import InvalidInputError
from caravan.options.v1 import options_pb2

M = TypeVar("M", bound=Message)


def build(message_type: type[M], value: object, path: str = "") -> M:
    """Builds a message.

    Args:
        message_type: Class of the message.
        value: What stands for it: a message of this class, a mapping, or what the annotations allow.
        path: Where the value stands, for errors.

    Raises:
        InvalidInputError: The value does not stand for such a message; names the place.
    """
    message = message_type()
    _fill(message, value, path or message.DESCRIPTOR.name)
    return message


def _fill(message: Message, value: object, path: str) -> None:
    descriptor = _descriptor(message)
    if isinstance(value, Message):
        _copy(message, value, path)
    elif descriptor.full_name.startswith("google.protobuf."):
        _fill_well_known(message, value, path)
    elif isinstance(value, str) and (bare := _message_json(descriptor).bare_string_field):
        _set(message, _field(descriptor, bare), _listed(descriptor, bare, value), path)
    elif (name := _message_json(descriptor).value_field) and not (isinstance(value, Mapping) and name in value):
        _set(message, _field(descriptor, name), _listed(descriptor, name, value), path)
    elif isinstance(value, Mapping):
        _fill_from_mapping(message, value, path)
    else:
        problem = f"{_a(value)} does not stand for a {descriptor.name}"
        raise InvalidInputError(problem, path)


def _copy(message: Message, value: Message, path: str) -> None:
    if value.DESCRIPTOR is not message.DESCRIPTOR:
        problem = f"a {value.DESCRIPTOR.full_name} does not stand for a {message.DESCRIPTOR.full_name}"
        raise InvalidInputError(problem, path)
    message.CopyFrom(value)


def _fill_well_known(message: Message, value: object, path: str) -> None:
    try:
        json_format.ParseDict(value, message)  # type: ignore[arg-type]  # it checks, and says what it wants
    except (json_format.ParseError, TypeError, ValueError, AttributeError) as error:
        problem = f"{_a(value)} does not stand for a {message.DESCRIPTOR.full_name}: {error}"
        raise InvalidInputError(problem, path) from error


def _fill_from_mapping(message: Message, value: Mapping[str, Any], path: str) -> None:
    rest = dict(value)
    for oneof in _descriptor(message).oneofs:
        _fill_oneof(message, oneof, rest, path)
    for name, item in rest.items():
        field = _descriptor(message).fields_by_name.get(name)
        if field is None:
            raise InvalidInputError(_unknown(_descriptor(message), name), path)
        if item is not None:
            _set(message, field, item, f"{path}.{name}")
    _keep_exact_text(message, value)


def _fill_oneof(message: Message, oneof: OneofDescriptor, rest: dict[str, Any], path: str) -> None:
    """Takes out of `rest` what belongs to the `oneof` and sets the member."""
    shape = oneof.GetOptions().Extensions[options_pb2.oneof_json]
    if shape.property and not shape.discriminator:
        if rest.get(shape.property) is not None:
            _set_bare(message, oneof, rest.pop(shape.property), f"{path}.{shape.property}")
    elif shape.property and isinstance(rest.get(shape.property), Mapping):
        _fill_nested(message, oneof, dict(rest.pop(shape.property)), f"{path}.{shape.property}")
    elif shape.discriminator in rest:
        tag = rest.pop(shape.discriminator)
        member = next((field for field in oneof.fields if _tag(field) == tag), None)
        if member is None:
            allowed = ", ".join(_tag(field) for field in oneof.fields)
            raise InvalidInputError(f"{tag!r} is none of {allowed}", f"{path}.{shape.discriminator}")
        _set_member(message, member, rest, path)


def _fill_nested(message: Message, oneof: OneofDescriptor, held: dict[str, Any], path: str) -> None:
    """Reads a `oneof` that stands under a property, as in `{"strategy": {"type": "top_p", "top_p": 0.9}}`."""
    _fill_oneof(message, oneof, held, path)
    if held:
        raise InvalidInputError(_unknown(_descriptor(message), next(iter(held))), path)


def _set_member(message: Message, member: FieldDescriptor, rest: dict[str, Any], path: str) -> None:
    held = member.message_type
    flat = member.GetOptions().Extensions[options_pb2.member_json].flatten
    if held and flat and not isinstance(rest.get(member.name), Mapping):
        others = {*_descriptor(message).fields_by_name} - {*held.fields_by_name}
        own = {name: rest.pop(name) for name in list(rest) if name not in others}
        getattr(message, member.name).SetInParent()
        _fill(getattr(message, member.name), own, path)
    elif member.name in rest:
        _set(message, member, rest.pop(member.name), f"{path}.{member.name}")
    else:
        raise InvalidInputError(f"{member.name} is missing", path)


def _set_bare(message: Message, oneof: OneofDescriptor, value: object, path: str) -> None:
    """Sets the member that a bare value is, told by its form: see the JSON section of docs/contract.md."""
    fitting = [field for field in oneof.fields if _can_be(field, value)]
    # A string is an enum's value rather than a string, and a string rather than a message that a bare string stands for.
    fitting.sort(key=lambda field: (field.enum_type is None, field.type != FieldDescriptor.TYPE_STRING))
    if not fitting:
        raise InvalidInputError(
            f"{_a(value)} does not stand for any of {', '.join(f.name for f in oneof.fields)}", path
        )
    _set(message, fitting[0], value, path)


def _can_be(field: FieldDescriptor, value: object) -> bool:
    """Tells whether a bare value may be a member's."""
    if field.enum_type:
        return _enum_number(field.enum_type, value) is not None
    if not field.message_type:
        return isinstance(value, str) == (field.type == FieldDescriptor.TYPE_STRING)
    shape = _message_json(field.message_type)
    if isinstance(value, Message):
        return value.DESCRIPTOR.full_name == field.message_type.full_name
    if isinstance(value, str):
        return bool(shape.bare_string_field)
    if isinstance(value, Mapping):
        return _has_keys(field.message_type, value)
    return bool(shape.value_field)


def _has_keys(descriptor: Descriptor, value: Mapping[str, Any]) -> bool:
    """Tells whether an object can be read as a message: each of its keys is a field, or a property by which a `oneof` is told apart."""
    item = _message_json(descriptor).value_field
    if item and (held := _field(descriptor, item).message_type) and _has_keys(held, value):
        return True
    return set(value) <= _known_names(descriptor)


def _set(message: Message, field: FieldDescriptor, value: object, path: str) -> None:
    if field.message_type and field.message_type.GetOptions().map_entry:
        _set_map(message, field, value, path)
    elif field.is_repeated:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise InvalidInputError(f"a list is needed, not {_a(value)}", path)
        target = getattr(message, field.name)
        for index, item in enumerate(value):
            if field.message_type:
                _fill(target.add(), item, f"{path}[{index}]")
            else:
                target.append(_scalar(field, item, f"{path}[{index}]"))
    elif field.message_type:
        getattr(message, field.name).SetInParent()
        _fill(getattr(message, field.name), value, path)
    else:
        scalar = _scalar(field, value, path)
        try:
            setattr(message, field.name, scalar)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"{_a(value)} does not fit: {error}", path) from error


def _set_map(message: Message, field: FieldDescriptor, value: object, path: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"an object is needed, not {_a(value)}", path)
    target = getattr(message, field.name)
    member = cast("Descriptor", field.message_type).fields_by_name["value"]
    for key, item in value.items():
        if member.message_type:
            _fill(target[key], item, f"{path}.{key}")
        else:
            target[key] = _scalar(member, item, f"{path}.{key}")


def _scalar(field: FieldDescriptor, value: object, path: str) -> object:
    if field.enum_type:
        number = _enum_number(field.enum_type, value)
        if number is None:
            allowed = ", ".join(_short(field.enum_type, name) for name in field.enum_type.values_by_name)
            raise InvalidInputError(f"{value!r} is none of {allowed}", path)
        return number
    if field.type == FieldDescriptor.TYPE_BYTES and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise InvalidInputError(f"not base64: {error}", path) from error
    return value


def _keep_exact_text(message: Message, value: Mapping[str, Any]) -> None:
    """Fills `x_json` beside a Struct `x`: the Struct loses the order of keys and large integers."""
    fields = _descriptor(message).fields_by_name
    for name, item in value.items():
        if isinstance(item, Mapping) and f"{name}_json" in fields and f"{name}_json" not in value:
            setattr(message, f"{name}_json", json.dumps(item, ensure_ascii=False))


def _enum_number(enum: EnumDescriptor, value: object) -> int | None:
    if isinstance(value, int):
        return value if value in enum.values_by_number else None
    for name, described in enum.values_by_name.items():
        if isinstance(value, str) and value.upper() in (name, _short(enum, name).upper()):
            return described.number
    return None


def _short(enum: EnumDescriptor, name: str) -> str:
    prefix = "".join(f"_{letter}" if letter.isupper() else letter for letter in enum.name).lstrip("_").upper()
    return name.removeprefix(f"{prefix}_").lower()


def _listed(descriptor: Descriptor, name: str, value: object) -> object:
    """One item stands for a list of it."""
    repeated = _field(descriptor, name).is_repeated
    return [value] if repeated and isinstance(value, str | Mapping | Message) else value


def _descriptor(message: Message) -> Descriptor:
    return cast("Descriptor", message.DESCRIPTOR)  # the other class that its type allows is the same by another name


def _message_json(descriptor: Descriptor) -> options_pb2.MessageJson:
    return descriptor.GetOptions().Extensions[options_pb2.message_json]


def _tag(field: FieldDescriptor) -> str:
    return field.GetOptions().Extensions[options_pb2.member_json].tag or field.name


def _field(descriptor: Descriptor, name: str) -> FieldDescriptor:
    return descriptor.fields_by_name[name]


def _unknown(descriptor: Descriptor, name: str) -> str:
    return f"unknown field {name!r}; known are {', '.join(sorted(_known_names(descriptor)))}"


def _known_names(descriptor: Descriptor) -> set[str]:
    """The keys that an object which stands for a message may have."""
    shapes = [oneof.GetOptions().Extensions[options_pb2.oneof_json] for oneof in descriptor.oneofs]
    return {*descriptor.fields_by_name, *(s.property or s.discriminator for s in shapes)} - {""}


def _a(value: object) -> str:
    names = {
        str: "a string",
        Mapping: "an object",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "nothing",
    }
    return next((text for kind, text in names.items() if isinstance(value, kind)), f"a {type(value).__name__}")
