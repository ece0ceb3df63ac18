"""The base of all safety providers: a kind of provider is a kind of shield, and this turns registrations into shields.

It keeps the table of the shields that are served. A call that brings parameters of its own gets a shield prepared with them; the last ones
are kept, so that the next such call finds it ready.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from google.protobuf import struct_pb2
from pydantic import BaseModel, ConfigDict, Field

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import shields_pb2
from services.core.errors import NotFoundError, ResourceExhaustedError
from services.core.provider import Provider
from services.safety.parameters import P, parse_params, plain
from services.safety.ports import Shield

SERVICE = "caravan.safety.v1.SafetyService"

_PREPARED_FOR_CALLS = 64


class ServedShield(BaseModel):
    """A shield that a provider serves by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    shield_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}$")
    """Identifier in the registry."""
    provider_shield_id: str = Field(default="", max_length=4096)
    """Identifier that the provider uses, for instance the guard model's. Default: `shield_id`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the shield."""
    always_on_model_ids: list[str] = Field(default_factory=list)
    """Models that it always guards; `*`: every language model."""

    def as_shield(self, provider_id: str) -> shields_pb2.Shield:
        """The shield as the registry lists it."""
        shield = shields_pb2.Shield(
            shield_id=self.shield_id,
            provider_id=provider_id,
            provider_shield_id=self.provider_shield_id or self.shield_id,
            always_on_model_ids=self.always_on_model_ids,
        )
        shield.params.update(self.params)
        return shield


class ShieldProviderConfig(BaseModel):
    """Configuration that every safety provider has; a kind of provider adds `type` and its own in a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    shields: list[ServedShield] = Field(default_factory=list)
    """Shields to serve without being asked to load them."""
    max_shields: int = Field(default=1024, ge=1)
    """Most shields that are served at a time."""


@dataclass(slots=True)
class ReadyShield(Generic[P]):
    """A shield that can judge."""

    shield_id: str
    """Identifier in the registry."""
    params: P
    """Its parameters."""
    shield: Shield
    """What judges."""


@dataclass(slots=True)
class _Entry(Generic[P]):
    """One shield that is served."""

    registration: shields_pb2.Shield
    ready: ReadyShield[P]
    prepared: OrderedDict[str, asyncio.Task[ReadyShield[P]]] = field(default_factory=OrderedDict)
    """Shields made for the parameters of calls, by these, the last used one last."""


class ShieldProvider(Provider, ABC, Generic[P]):
    """What an adapter implements: `params_type` and `prepare`.

    A subclass that has something to start or to stop overrides `start` and `stop`; `start` ends with `await super().start()`, which
    prepares the shields of the configuration.
    """

    params_type: type[P]
    """Schema of the parameters of this kind of shield."""
    config: ShieldProviderConfig

    def __init__(self, provider_id: str, provider_type: str, config: ShieldProviderConfig) -> None:
        """Prepares the table.

        Args:
            provider_id: Identifier in the gateway's settings.
            provider_type: For instance `inline::rules`.
            config: The configuration.
        """
        super().__init__(provider_id=provider_id, provider_type=provider_type, services=(SERVICE,), config=config)
        self.loadable_kinds = (options_pb2.RESOURCE_KIND_SHIELD,)
        self._entries: dict[str, _Entry[P]] = {}
        self._own: dict[str, _Entry[P]] = {}

    @abstractmethod
    async def prepare(self, provider_shield_id: str, params: P) -> Shield:
        """Makes a shield that is ready to judge.

        Called when a shield is registered, and when a call brings parameters of its own. Work of more than a millisecond, compiling many
        patterns for instance, goes to a thread.

        Args:
            provider_shield_id: Identifier that the provider uses; what it means is the provider's, for instance a guard model. It is the
                identifier in the registry where the registration gave none.
            params: The parameters, valid by the schema.

        Raises:
            InvalidArgumentError: The parameters cannot be used; the field paths begin with `params`.
            NotFoundError: There is no such shield, model or set of rules.
            CaravanError: It cannot be made.
        """

    async def resolve(self, shield: shields_pb2.Shield) -> str:
        """Returns the identifier that the provider uses for a shield.

        Args:
            shield: The registration. Where it gave none, `provider_shield_id` is `shield_id` or empty.

        Raises:
            NotFoundError: There is nothing by that identifier.
        """
        return shield.provider_shield_id or shield.shield_id

    async def start(self) -> None:
        """Prepares the shields of the configuration."""
        for served in self.config.shields:
            registration = served.as_shield(self.provider_id)
            self._own[served.shield_id] = await self._entry(registration)

    def resources(self) -> Sequence[providers_pb2.Resource]:
        """The shields of the configuration."""
        return [providers_pb2.Resource(shield=entry.registration) for entry in self._own.values()]

    async def load(self, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Prepares a registered shield.

        Raises:
            ResourceExhaustedError: Too many are served.
            CaravanError: What `prepare` raised.
        """
        shield = resource.shield
        if shield.shield_id not in self._entries and len(self._entries) + len(self._own) >= self.config.max_shields:
            message = f"{self.config.max_shields} shields are served, which is the most; unregister one first"
            raise ResourceExhaustedError(message, subject="shields", reason="TOO_MANY_SHIELDS")
        loaded = shields_pb2.Shield()
        loaded.CopyFrom(shield)
        loaded.provider_shield_id = await self.resolve(shield)
        self._entries[shield.shield_id] = await self._entry(loaded)
        return providers_pb2.Resource(shield=loaded)

    async def unload(self, kind: options_pb2.ResourceKind.ValueType, resource_id: str) -> None:
        """Drops a registered shield."""
        del kind
        self._entries.pop(resource_id, None)

    def serves(self, shield_id: str) -> bool:
        """Tells whether a shield is served here."""
        return shield_id in self._entries or shield_id in self._own

    async def ready_shield(self, shield_id: str, given: struct_pb2.Struct | None = None) -> ReadyShield[P]:
        """Returns a shield.

        Args:
            shield_id: Identifier in the registry.
            given: Parameters of the call; they win over the registered ones.

        Raises:
            NotFoundError: It is not served here.
            InvalidArgumentError: The parameters do not fit its schema.
        """
        entry = self._entries.get(shield_id) or self._own.get(shield_id)
        if entry is None:
            known = ", ".join(sorted({*self._own, *self._entries})[:20]) or "none"
            raise NotFoundError(
                f"shield {shield_id!r} is not served here (served: {known}); register it or choose one from ListShields",
                resource_type="shield",
                resource_name=shield_id,
            )
        if given is None or not given.fields:
            return entry.ready
        return await self._prepared(entry, given)

    async def _entry(self, registration: shields_pb2.Shield) -> _Entry[P]:
        params = parse_params(self.params_type, registration.params)
        shield = await self.prepare(registration.provider_shield_id, params)
        return _Entry(registration, ReadyShield(registration.shield_id, params, shield))

    async def _prepared(self, entry: _Entry[P], given: struct_pb2.Struct) -> ReadyShield[P]:
        key = json.dumps(plain(given), sort_keys=True)
        task = entry.prepared.get(key)
        if task is None:
            params = parse_params(self.params_type, entry.registration.params, given)
            task = entry.prepared[key] = asyncio.create_task(self._prepare_for_call(entry, params))
            # Nobody may be left who waits for it.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            if len(entry.prepared) > _PREPARED_FOR_CALLS:
                entry.prepared.popitem(last=False)
        entry.prepared.move_to_end(key)
        try:
            # Several calls may wait for it; one that goes away leaves it to the others.
            return await asyncio.shield(task)
        finally:
            if task.done() and (task.cancelled() or task.exception()) and entry.prepared.get(key) is task:
                del entry.prepared[key]

    async def _prepare_for_call(self, entry: _Entry[P], params: P) -> ReadyShield[P]:
        shield = await self.prepare(entry.registration.provider_shield_id, params)
        return ReadyShield(entry.ready.shield_id, params, shield)
