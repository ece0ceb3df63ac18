"""What the contract says of each RPC: where it is routed, and what it is at the HTTP edge.

Read from the descriptors, so a new RPC or a new API needs no code here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeAlias

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from caravan.options.v1 import options_pb2

ResourceKind: TypeAlias = options_pb2.ResourceKind.ValueType

# Kinds that have entries in the registry. The others (data sets) belong to the provider of their API.
REGISTERED_KINDS = (
    options_pb2.RESOURCE_KIND_MODEL,
    options_pb2.RESOURCE_KIND_SHIELD,
    options_pb2.RESOURCE_KIND_MEMORY_BANK,
    options_pb2.RESOURCE_KIND_TOOL_GROUP,
)


class ContractError(Exception):
    """A routing option names a field that the request does not have, or one of a wrong type."""


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC of the contract."""

    path: str
    """Path on the wire, for instance `/caravan.inference.v1.InferenceService/ChatCompletion`."""

    service: str
    """Full name of its service."""

    client_streaming: bool
    """The request is a stream."""

    server_streaming: bool
    """The response is a stream."""

    routed: bool
    """It can be called through the gateway."""

    gateway: bool
    """The gateway answers it itself."""

    kind: ResourceKind
    """Kind of the resource that the routing field names; unspecified when the call belongs to the API's provider."""

    field: str
    """Name of the routing field. Empty: none."""

    field_number: int
    """Number of the routing field. 0: none."""

    field_repeated: bool
    """The routing field is repeated and its first element counts."""

    prefix_number: int
    """Number of the field whose leading bytes tell a shared prompt prefix. 0: none."""

    http_method: str
    """HTTP method at the HTTP edge. Empty: none."""

    http_path: str
    """Path at the HTTP edge. Empty: none."""


@cache
def load() -> Mapping[str, Method]:
    """Returns the RPCs of the installed contract by their paths.

    Raises:
        ContractError: A routing option is wrong.
    """
    return methods_of(_image())


def stub_modules() -> list[str]:
    """Returns the names of the modules that are generated from the contract's files."""
    return [
        file.name.removesuffix(".proto").replace("/", ".") + "_pb2"
        for file in _image().file
        if file.package.startswith("caravan.")
    ]


def methods_of(image: descriptor_pb2.FileDescriptorSet) -> dict[str, Method]:
    """Returns the RPCs of Caravan's packages in a descriptor image by their paths.

    Raises:
        ContractError: A routing option is wrong.
    """
    messages = {name: message for file in image.file for name, message in _messages(file)}
    return {
        method.path: method
        for file in image.file
        if file.package.startswith("caravan.")
        for service in file.service
        for method in (_method(f"{file.package}.{service.name}", rpc, messages) for rpc in service.method)
    }


def services_of(methods: Mapping[str, Method]) -> list[str]:
    """Returns the full names of the services, sorted."""
    return sorted({method.service for method in methods.values()})


def _image() -> descriptor_pb2.FileDescriptorSet:
    return descriptor_pb2.FileDescriptorSet.FromString(files("caravan").joinpath("descriptors.binpb").read_bytes())


def _messages(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    for message in file.message_type:
        yield f".{file.package}.{message.name}", message


def _method(
    service: str, rpc: descriptor_pb2.MethodDescriptorProto, messages: Mapping[str, descriptor_pb2.DescriptorProto]
) -> Method:
    path = f"/{service}/{rpc.name}"
    routing = rpc.options.Extensions[options_pb2.routing]
    fields = {field.name: field for field in messages[rpc.input_type].field} if rpc.input_type in messages else {}
    for name in filter(None, (routing.field, routing.prefix_field)):
        if name not in fields:
            message = f"{path}: the routing option names the field {name!r}, which {rpc.input_type[1:]} does not have"
            raise ContractError(message)
    key = fields.get(routing.field)
    if key is not None and key.type != key.TYPE_STRING:
        message = f"{path}: the routing field {routing.field!r} is no string"
        raise ContractError(message)
    if routing.resource in REGISTERED_KINDS and key is None:
        message = f"{path}: the routing option names a kind of resource but no field"
        raise ContractError(message)
    prefix = fields.get(routing.prefix_field)
    http_method, http_path = _http(rpc)
    return Method(
        path=path,
        service=service,
        client_streaming=rpc.client_streaming,
        server_streaming=rpc.server_streaming,
        routed=rpc.options.HasExtension(options_pb2.routing),
        gateway=routing.gateway,
        kind=routing.resource if routing.resource in REGISTERED_KINDS else options_pb2.RESOURCE_KIND_UNSPECIFIED,
        field=routing.field,
        field_number=key.number if key is not None else 0,
        field_repeated=key is not None and key.label == key.LABEL_REPEATED,
        prefix_number=prefix.number if prefix is not None else 0,
        http_method=http_method,
        http_path=http_path,
    )


def _http(rpc: descriptor_pb2.MethodDescriptorProto) -> tuple[str, str]:
    rule = rpc.options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    if verb is None:
        return "", ""
    if verb == "custom":
        return rule.custom.kind, rule.custom.path
    return verb.upper(), getattr(rule, verb)
