"""What the control loop publishes and everybody follows: the snapshot of routes, and what the listings show. One version for all of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from caravan.inspect.v1 import inspect_pb2
from caravan.registry.v1 import routes_pb2
from gateway.registry.kinds import KINDS, Key, Kind


@dataclass(frozen=True, slots=True)
class View:
    """One published state. Immutable, its messages included: nobody changes what it has read here."""

    snapshot: routes_pb2.Snapshot = field(default_factory=routes_pb2.Snapshot)
    """Routes and endpoints."""

    providers: tuple[inspect_pb2.Provider, ...] = ()
    """The providers as ListProviders shows them, in the order of the settings."""

    entries: Mapping[Key, Any] = field(default_factory=dict)
    """Every resource that can be requested or is registered, as the listings show it; by kind and identifier, sorted."""

    loadable: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Kinds of resource that each provider can be asked to load. A provider that has never answered is missing."""

    @property
    def version(self) -> int:
        """The snapshot's version; 0 when nothing was published yet."""
        return self.snapshot.version

    def of_kind(self, kind: Kind) -> list[Any]:
        """Returns the entries of one kind in the order of their identifiers."""
        return [entry for (value, _), entry in self.entries.items() if value == kind.value]

    def provider(self, provider_id: str) -> inspect_pb2.Provider | None:
        """Returns one provider."""
        return next((provider for provider in self.providers if provider.provider_id == provider_id), None)

    def parts(self) -> dict[str, bytes]:
        """Returns the view as named bytes: the snapshot, and the answers of the list methods. Equal views have equal bytes."""
        parts = {
            "snapshot": _bytes(self.snapshot),
            "providers": _bytes(inspect_pb2.ListProvidersResponse(data=self.providers)),
            "loadable": json.dumps(self.loadable, sort_keys=True).encode(),
        }
        for kind in KINDS:
            parts[kind.member] = _bytes(kind.list_class(data=self.of_kind(kind)))
        return parts

    @classmethod
    def of_parts(cls, parts: Mapping[str, bytes]) -> "View":
        """Reads a view from what `parts` made and the store's `version`."""
        snapshot = routes_pb2.Snapshot.FromString(parts.get("snapshot", b""))
        snapshot.version = int(parts.get("version", b"0"))
        entries: dict[Key, Any] = {}
        for kind in KINDS:
            for entry in kind.list_class.FromString(parts.get(kind.member, b"")).data:
                entries[kind.value, kind.id_of(entry)] = entry
        loadable = json.loads(parts.get("loadable", b"{}"))
        return cls(
            snapshot=snapshot,
            providers=tuple(inspect_pb2.ListProvidersResponse.FromString(parts.get("providers", b"")).data),
            entries=entries,
            loadable={provider: tuple(kinds) for provider, kinds in loadable.items()},
        )


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
