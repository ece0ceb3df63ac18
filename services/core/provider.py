"""The port of a provider, and the service by which the gateway speaks to it.

A provider is one configured instance of an API. A service implements `Provider` once for each kind (`inline::vllm`, ...); the server
starts it, shows its readiness as health, and serves `caravan.providers.v1.ProviderService` over it.
"""

import asyncio
import uuid
from abc import ABC
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import grpc
from pydantic import BaseModel

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from services.core.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, UnavailableError
from services.core.masking import masked
from services.core.readiness import Readiness

if TYPE_CHECKING:
    ResourceKind: TypeAlias = options_pb2.ResourceKind.ValueType
else:
    ResourceKind = int
ResourceKey = tuple[ResourceKind, str]
T = TypeVar("T")

_KINDS: dict[str, tuple[ResourceKind, str]] = {
    # Member of Resource.resource: its kind and the field that identifies it.
    "model": (options_pb2.RESOURCE_KIND_MODEL, "model_id"),
    "shield": (options_pb2.RESOURCE_KIND_SHIELD, "shield_id"),
    "memory_bank": (options_pb2.RESOURCE_KIND_MEMORY_BANK, "memory_bank_id"),
    "tool_group": (options_pb2.RESOURCE_KIND_TOOL_GROUP, "toolgroup_id"),
}


class NoConfig(BaseModel):
    """Configuration of a provider that has none."""


class Provider(ABC):
    """One configured instance of an API.

    Attributes:
        provider_id: Identifier that the process was started with.
        provider_type: What it is, for instance `inline::vllm`.
        services: Full names of the services it serves, the API's own first.
        config: Its configuration; shown to operators with the credentials masked (`services.core.masking`).
        readiness: Whether it can answer now.
        loadable_kinds: Kinds of resource that it can be asked to load.
    """

    provider_id: str
    provider_type: str
    services: Sequence[str]
    config: BaseModel
    readiness: Readiness
    loadable_kinds: Sequence[ResourceKind] = ()

    def __init__(
        self, *, provider_id: str, provider_type: str, services: Sequence[str], config: BaseModel | None = None
    ) -> None:
        """Sets the attributes."""
        self.provider_id = provider_id
        self.provider_type = provider_type
        self.services = services
        self.config = config if config is not None else NoConfig()
        self.readiness = Readiness()
        self._on_forget: list[Callable[[], None]] = []

    async def start(self) -> None:  # noqa: B027 - a provider may have nothing to start
        """Makes it able to answer; API calls are refused with UNAVAILABLE until this returns.

        The server calls `readiness.set_ready()` afterwards, unless this has called `set_ready` or `set_not_ready` itself: a provider that
        goes on starting in the background says so with `set_not_ready`.

        Raises:
            CaravanError: It cannot start; the message says what to do. The process logs it and exits with 1.
        """

    async def drain(self) -> None:  # noqa: B027 - mostly what runs is a call
        """Tells what runs without a call, for instance a training, to end, and does not wait for it.

        Called when the server begins to drain, if `start` has returned; `stop` follows when no call runs any more.
        """

    async def stop(self) -> None:  # noqa: B027 - or to stop
        """Frees what it holds. Called once, when no API call runs any more, also after a `start` that failed."""

    def resources(self) -> Sequence[providers_pb2.Resource]:
        """Returns what it serves by itself. Called often: it must be quick."""
        return ()

    async def load(self, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Loads a resource.

        The calls for one resource come one after the other, not again for a revision that is loaded, and go on when the caller goes away.

        Args:
            resource: The resource as registered, of one of `loadable_kinds`.

        Returns:
            The resource with what the provider knows of it, for instance `metadata.context_length`.

        Raises:
            CaravanError: It refuses.
        """
        raise _cannot_load(self, resource_key(resource)[0])

    async def unload(self, kind: ResourceKind, resource_id: str) -> None:
        """Drops a resource that `load` has loaded; also called before `load` gets a newer revision of it."""
        del resource_id
        raise _cannot_load(self, kind)

    async def discard(self, resource: providers_pb2.Resource) -> None:  # noqa: B027 - most keep nothing beyond `unload`
        """Deletes what is kept for a resource that a user has unregistered; called when it is not loaded any more.

        It may never have been loaded here, and the call may be repeated.

        Args:
            resource: The resource as it was registered.
        """

    def forget_loaded(self) -> None:
        """Says that everything that was loaded is gone, for instance with an engine that died; the gateway will load it again."""
        for callback in self._on_forget:
            callback()

    def on_forget_loaded(self, callback: Callable[[], None]) -> None:
        """Calls `callback` whenever `forget_loaded` is called."""
        self._on_forget.append(callback)


def resource_key(resource: providers_pb2.Resource) -> ResourceKey:
    """Returns the kind and the identifier of a resource.

    Raises:
        InvalidArgumentError: It is empty, or has no identifier.
    """
    member = resource.WhichOneof("resource")
    if member is None:
        raise InvalidArgumentError.of("resource", "must hold a resource")
    kind, id_field = _KINDS[member]
    resource_id: str = getattr(getattr(resource, member), id_field)
    if not resource_id:
        raise InvalidArgumentError.of(f"resource.{member}.{id_field}", "must not be empty")
    return kind, resource_id


def resource_revision(resource: providers_pb2.Resource) -> int:
    """Returns the revision of the registration that `resource` shows."""
    member = resource.WhichOneof("resource")
    return getattr(resource, member).entry.revision if member else 0


@dataclass(slots=True)
class _Slot:
    """One resource that is, or is about to be, loaded."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    revision: int = 0
    resource: providers_pb2.Resource | None = None
    users: int = 0


class ProviderServicer(providers_pb2_grpc.ProviderServiceServicer):
    """`caravan.providers.v1.ProviderService` over a provider: keeps the table of what is loaded and orders the calls for one resource."""

    def __init__(self, provider: Provider, *, new_instance_id: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        """Makes the servicer.

        Args:
            provider: The provider that it serves.
            new_instance_id: Makes the identifier of this process.
        """
        self._provider = provider
        self._new_instance_id = new_instance_id
        self._instance_id = new_instance_id()
        self._slots: dict[ResourceKey, _Slot] = {}
        self._changes: set[asyncio.Task[Any]] = set()
        provider.on_forget_loaded(self._forget)

    async def DescribeProvider(
        self, request: providers_pb2.DescribeProviderRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> providers_pb2.DescribeProviderResponse:
        """Tells what the provider is and what it serves now."""
        provider = self._provider
        response = providers_pb2.DescribeProviderResponse(
            provider_id=provider.provider_id,
            provider_type=provider.provider_type,
            services=provider.services,
            ready=provider.readiness.ready,
            not_ready_reason=provider.readiness.reason,
            instance_id=self._instance_id,
            resources=provider.resources() if provider.readiness.ready else (),
            loaded=[
                providers_pb2.LoadedResource(kind=kind, resource_id=resource_id, revision=slot.revision)
                for (kind, resource_id), slot in sorted(self._slots.items())
                if slot.resource is not None
            ],
            loadable_kinds=provider.loadable_kinds,
        )
        response.config.update(masked(provider.config))
        return response

    async def LoadResource(
        self, request: providers_pb2.LoadResourceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> providers_pb2.LoadResourceResponse:
        """Loads a resource, or refuses it."""
        key = resource_key(request.resource)
        if key[0] not in self._provider.loadable_kinds:
            raise _cannot_load(self._provider, key[0])
        resource = await self._change(key, lambda slot: self._load(key, slot, request.resource))
        return providers_pb2.LoadResourceResponse(resource=resource)

    async def UnloadResource(
        self, request: providers_pb2.UnloadResourceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> providers_pb2.UnloadResourceResponse:
        """Drops a resource."""
        key = (request.kind, request.resource_id)
        if request.HasField("discarded") and resource_key(request.discarded) != key:
            raise InvalidArgumentError.of("discarded", "must be the resource that is dropped")
        await self._change(key, lambda slot: self._drop(key, slot, request))
        return providers_pb2.UnloadResourceResponse()

    async def _change(self, key: ResourceKey, change: Callable[[_Slot], Coroutine[Any, Any, T]]) -> T:
        """Runs one change of a resource after those before it, and to its end even if the caller goes away."""

        async def run() -> T:
            slot = self._slots.setdefault(key, _Slot())
            slot.users += 1
            try:
                async with slot.lock:
                    return await change(slot)
            finally:
                slot.users -= 1
                if not slot.users and slot.resource is None and self._slots.get(key) is slot:
                    del self._slots[key]

        task = asyncio.create_task(run())
        # asyncio keeps no reference to tasks.
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _load(self, key: ResourceKey, slot: _Slot, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        if not self._provider.readiness.ready:
            message = f"provider {self._provider.provider_id} is not ready: {self._provider.readiness.reason}"
            raise UnavailableError(message, reason="NOT_READY")
        revision = resource_revision(resource)
        if slot.resource is not None:
            if revision == slot.revision:
                return slot.resource
            if revision < slot.revision:
                message = (
                    f"{key[1]} is loaded at revision {slot.revision}, newer than {revision}: read the registry again"
                )
                raise AbortedError(message, reason="STALE_REVISION")
            await self._unload(key, slot)
        slot.resource = await self._provider.load(resource)
        slot.revision = revision
        return slot.resource

    async def _unload(self, key: ResourceKey, slot: _Slot) -> None:
        if slot.resource is not None:
            await self._provider.unload(*key)
            slot.resource = None

    async def _drop(self, key: ResourceKey, slot: _Slot, request: providers_pb2.UnloadResourceRequest) -> None:
        if slot.resource is not None and 0 < resource_revision(request.discarded) < slot.revision:
            # A late message about a registration that another one has followed.
            return
        await self._unload(key, slot)
        if request.HasField("discarded"):
            await self._provider.discard(request.discarded)

    def _forget(self) -> None:
        self._instance_id = self._new_instance_id()
        self._slots = {}


def _cannot_load(provider: Provider, kind: ResourceKind) -> FailedPreconditionError:
    name = options_pb2.ResourceKind.Name(kind).removeprefix("RESOURCE_KIND_").lower().replace("_", " ")
    message = f"provider {provider.provider_id} ({provider.provider_type}) cannot load a {name} at run time"
    return FailedPreconditionError(message, reason="NOT_LOADABLE")
