"""The four kinds of resource that can be registered, described so that one implementation serves them all."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from google.protobuf.message import Message

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import entry_pb2, memory_banks_pb2, models_pb2, shields_pb2, tool_groups_pb2
from gateway.contract import ResourceKind


class Entry(Protocol):
    """A model, shield, memory bank or tool group."""

    provider_id: str
    entry: entry_pb2.RegistryEntry

    def CopyFrom(self, other: Any) -> None:
        """Becomes equal to `other`."""

    def SerializeToString(self, *, deterministic: bool = False) -> bytes:
        """Returns the wire bytes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource."""

    value: ResourceKind
    """The kind's number."""

    member: str
    """Member of `caravan.providers.v1.Resource`, and field of the responses that hold one."""

    plural: str
    """The kind in the names of list messages, for instance `Models`."""

    id_field: str
    """Field that identifies it."""

    provider_id_field: str
    """Field with the identifier that the provider uses."""

    entry_class: type[Any]
    """The message."""

    protos: Any
    """The module with the requests and responses."""

    keeps_data: bool = False
    """Whether providers keep data for it, which are deleted when it is unregistered."""

    @property
    def singular(self) -> str:
        """The kind in the names of messages, for instance `Model`."""
        return str(self.entry_class.DESCRIPTOR.name)

    @property
    def list_class(self) -> type[Any]:
        """The response of the list method."""
        return cast("type[Any]", getattr(self.protos, f"List{self.plural}Response"))

    def id_of(self, entry: object) -> str:
        """Returns the identifier of an entry, or of a request about one."""
        return str(getattr(entry, self.id_field))

    def entry_of(self, resource: providers_pb2.Resource) -> Any:
        """Returns what a `Resource` of this kind holds."""
        return getattr(resource, self.member)

    def resource(self, entry: Any) -> providers_pb2.Resource:
        """Returns an entry as a `Resource`."""
        resource = providers_pb2.Resource()
        getattr(resource, self.member).CopyFrom(entry)
        return resource

    def registration(self, request: Message) -> Any:
        """Returns the entry that a register request asks for, defaults filled in. `provider_id` stays as it was asked for."""
        entry = self.entry_class()
        wanted = {field.name for field in entry.DESCRIPTOR.fields}
        for field, value in request.ListFields():
            if field.name not in wanted:
                continue
            if field.is_repeated:
                getattr(entry, field.name).extend(value)
            elif field.message_type is not None:
                getattr(entry, field.name).CopyFrom(value)
            else:
                setattr(entry, field.name, value)
        if not getattr(entry, self.provider_id_field):
            setattr(entry, self.provider_id_field, self.id_of(entry))
        if isinstance(entry, models_pb2.Model) and not entry.model_type:
            entry.model_type = models_pb2.MODEL_TYPE_LLM
        return entry


KINDS: tuple[Kind, ...] = (
    Kind(
        options_pb2.RESOURCE_KIND_MODEL,
        "model",
        "Models",
        "model_id",
        "provider_model_id",
        models_pb2.Model,
        models_pb2,
    ),
    Kind(
        options_pb2.RESOURCE_KIND_SHIELD,
        "shield",
        "Shields",
        "shield_id",
        "provider_shield_id",
        shields_pb2.Shield,
        shields_pb2,
    ),
    Kind(
        options_pb2.RESOURCE_KIND_MEMORY_BANK,
        "memory_bank",
        "MemoryBanks",
        "memory_bank_id",
        "provider_memory_bank_id",
        memory_banks_pb2.MemoryBank,
        memory_banks_pb2,
        keeps_data=True,
    ),
    Kind(
        options_pb2.RESOURCE_KIND_TOOL_GROUP,
        "tool_group",
        "ToolGroups",
        "toolgroup_id",
        "provider_toolgroup_id",
        tool_groups_pb2.ToolGroup,
        tool_groups_pb2,
    ),
)
BY_VALUE: Mapping[int, Kind] = {kind.value: kind for kind in KINDS}
_BY_MEMBER = {kind.member: kind for kind in KINDS}

Key: TypeAlias = tuple[ResourceKind, str]
"""A resource: its kind and its identifier."""


def key_of(resource: providers_pb2.Resource) -> Key | None:
    """Returns the key of a resource; None when it is empty or of a kind that is not known here."""
    kind = _BY_MEMBER.get(resource.WhichOneof("resource") or "")
    if kind is None:
        return None
    identifier = kind.id_of(kind.entry_of(resource))
    return (kind.value, identifier) if identifier else None


def fingerprint(entry: Any) -> str:
    """Returns what tells one registration from another: a digest of the entry as it was asked for."""
    return hashlib.sha256(entry.SerializeToString(deterministic=True)).hexdigest()
