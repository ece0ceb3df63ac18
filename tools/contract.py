"""The contract as data: services, messages and enums of the descriptor image, with their comments and full names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

# Imported so that their options are parsed, not kept as unknown fields.
from buf.validate import validate_pb2
from caravan.options.v1 import options_pb2

IMAGE = Path(__file__).resolve().parent.parent / "caravan" / "descriptors.binpb"

Descriptor = (
    descriptor_pb2.ServiceDescriptorProto
    | descriptor_pb2.MethodDescriptorProto
    | descriptor_pb2.DescriptorProto
    | descriptor_pb2.FieldDescriptorProto
    | descriptor_pb2.OneofDescriptorProto
    | descriptor_pb2.EnumDescriptorProto
    | descriptor_pb2.EnumValueDescriptorProto
)
# Field numbers in google/protobuf/descriptor.proto of the lists that make up a source location's path.
_PACKAGE, _MESSAGES, _ENUMS, _SERVICES, _EXTENSIONS = 2, 4, 5, 6, 7
_FIELDS, _NESTED, _NESTED_ENUMS, _ONEOFS = 2, 3, 4, 8


@dataclass(frozen=True)
class Element:
    """One named thing of the contract."""

    name: str
    """Full name, for instance `caravan.inference.v1.InferenceService.Completion`."""
    proto: Descriptor
    """Its descriptor."""
    comment: str
    """The comment above it, without markers; empty if there is none."""
    file: descriptor_pb2.FileDescriptorProto
    """The file that defines it."""
    parent: "Element | None" = None
    """The service, message or enum that it is a part of."""

    @property
    def package(self) -> str:
        """The package, for instance `caravan.inference.v1`."""
        return self.file.package


class Contract:
    """All elements of Caravan's own files in a descriptor image, in the order of the files."""

    def __init__(self, image: bytes) -> None:
        files = descriptor_pb2.FileDescriptorSet.FromString(image).file
        self.files = [file for file in files if file.package.startswith("caravan.")]
        self.package_comments = {file.package: _comments(file).get((_PACKAGE,), "") for file in reversed(self.files)}
        self.elements = {element.name: element for file in self.files for element in _elements(file)}

    @classmethod
    def load(cls, path: Path = IMAGE) -> "Contract":
        """Reads the image that the build made."""
        return cls(path.read_bytes())

    def of(self, kind: type[Descriptor], parent: Element | None = None) -> list[Element]:
        """Returns the elements of one kind, of one parent or (without one) of all."""
        return [
            element
            for element in self.elements.values()
            if isinstance(element.proto, kind) and (parent is None or element.parent == parent)
        ]

    def services(self) -> list[Element]:
        """All services."""
        return self.of(descriptor_pb2.ServiceDescriptorProto)

    def methods(self, service: Element | None = None) -> list[Element]:
        """The RPCs of one service, or all."""
        return self.of(descriptor_pb2.MethodDescriptorProto, service)

    def messages(self) -> list[Element]:
        """All messages, nested ones too."""
        return self.of(descriptor_pb2.DescriptorProto)

    def fields(self, message: Element | None = None) -> list[Element]:
        """The fields of one message, or all."""
        return self.of(descriptor_pb2.FieldDescriptorProto, message)

    def enums(self) -> list[Element]:
        """All enums, nested ones too."""
        return self.of(descriptor_pb2.EnumDescriptorProto)

    def values(self, enum: Element | None = None) -> list[Element]:
        """The values of one enum, or all."""
        return self.of(descriptor_pb2.EnumValueDescriptorProto, enum)

    def request(self, method: Element) -> Element | None:
        """The request message of an RPC, if it is one of ours."""
        return self.elements.get(method.proto.input_type.removeprefix("."))

    def response(self, method: Element) -> Element | None:
        """The response message of an RPC, if it is one of ours."""
        return self.elements.get(method.proto.output_type.removeprefix("."))


def routing(method: Element) -> options_pb2.Routing:
    """Returns the routing that an RPC declares; an empty one if it declares none."""
    return method.proto.options.Extensions[options_pb2.routing]


def routes(method: Element) -> list[tuple[str, str]]:
    """Returns the HTTP routes of an RPC as (verb, path)."""
    if not method.proto.options.HasExtension(annotations_pb2.http):
        return []
    rule = method.proto.options.Extensions[annotations_pb2.http]
    rules = [rule, *rule.additional_bindings]
    return [
        (verb.upper(), getattr(each, verb)) if verb != "custom" else (each.custom.kind, each.custom.path)
        for each in rules
        if (verb := each.WhichOneof("pattern"))
    ]


def field_rules(field: Element) -> validate_pb2.FieldRules:
    """Returns the validation of a field; an empty message if it declares none."""
    return field.proto.options.Extensions[validate_pb2.field]


def message_rules(message: Element) -> validate_pb2.MessageRules:
    """Returns the validation of a message as a whole."""
    return message.proto.options.Extensions[validate_pb2.message]


def _elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Element]:
    comments = _comments(file)

    def element(proto: Descriptor, path: tuple[int, ...], parent: Element | None = None) -> Element:
        prefix = parent.name if parent else file.package
        return Element(f"{prefix}.{proto.name}", proto, comments.get(path, ""), file, parent)

    def enum(
        proto: descriptor_pb2.EnumDescriptorProto, path: tuple[int, ...], parent: Element | None
    ) -> Iterator[Element]:
        yield (owner := element(proto, path, parent))
        yield from (element(value, (*path, 2, i), owner) for i, value in enumerate(proto.value))

    def message(
        proto: descriptor_pb2.DescriptorProto, path: tuple[int, ...], parent: Element | None
    ) -> Iterator[Element]:
        if proto.options.map_entry:
            return
        yield (owner := element(proto, path, parent))
        yield from (element(field, (*path, _FIELDS, i), owner) for i, field in enumerate(proto.field))
        synthetic = {field.oneof_index for field in proto.field if field.proto3_optional}
        yield from (
            element(oneof, (*path, _ONEOFS, i), owner) for i, oneof in enumerate(proto.oneof_decl) if i not in synthetic
        )
        for i, nested in enumerate(proto.nested_type):
            yield from message(nested, (*path, _NESTED, i), owner)
        for i, nested_enum in enumerate(proto.enum_type):
            yield from enum(nested_enum, (*path, _NESTED_ENUMS, i), owner)

    for i, service in enumerate(file.service):
        yield (owner := element(service, (_SERVICES, i)))
        yield from (element(method, (_SERVICES, i, 2, j), owner) for j, method in enumerate(service.method))
    for i, top in enumerate(file.message_type):
        yield from message(top, (_MESSAGES, i), None)
    for i, top_enum in enumerate(file.enum_type):
        yield from enum(top_enum, (_ENUMS, i), None)
    yield from (element(extension, (_EXTENSIONS, i)) for i, extension in enumerate(file.extension))


def _comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {
        tuple(location.path): re.sub(r"(?m)^ ", "", location.leading_comments).strip()
        for location in file.source_code_info.location
        if location.leading_comments
    }
