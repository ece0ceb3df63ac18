"""Registering, reading and unregistering: the rules, one implementation for every kind of resource."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from caravan.providers.v1 import providers_pb2
from gateway import background
from gateway.registry import kinds
from gateway.registry.kinds import Key, Kind
from gateway.registry.store import CLAIM_MILLISECONDS, Claim, Removal
from gateway.routing import kind_name, unknown_resource
from gateway.view import View
from services.core.errors import (
    AbortedError,
    AlreadyExistsError,
    CaravanError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)

_log = structlog.get_logger(__name__)

_DEFAULT_PAGE = 100
_VISIBLE_SECONDS = 5.0


class Store(Protocol):
    """What the registry needs of its store."""

    async def claim(self, key: Key, fingerprint: str, request_id: str) -> Claim:
        """Claims an identifier for one registration."""

    async def renew(self, key: Key, claim: Claim) -> None:
        """Keeps a claim for longer."""

    async def commit(
        self, key: Key, claim: Claim, fingerprint: str, resource: providers_pb2.Resource, request_id: str
    ) -> bool:
        """Makes a claimed registration real; returns False when the claim has expired."""

    async def release(self, key: Key, claim: Claim) -> None:
        """Gives a claim up."""

    async def remove(self, key: Key, revision: int | None, request_id: str) -> Removal:
        """Takes a registration out."""

    async def has_removed(self, request_id: str) -> bool:
        """Tells whether a removal was answered before under a request id."""


class Providers(Protocol):
    """What the registry needs of the providers."""

    async def load(self, address: str, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Asks a replica to load a resource."""

    async def unload(self, address: str, key: Key, discarded: providers_pb2.Resource | None = None) -> None:
        """Asks a replica to drop a resource and, with `discarded`, what is kept for it."""


class Views(Protocol):
    """What the registry needs of the published view."""

    @property
    def view(self) -> View:
        """The newest view."""

    async def look(self) -> bool:
        """Looks for a newer view; returns whether there was one."""

    async def wait_for(self, condition: Callable[[View], bool], seconds: float) -> bool:
        """Waits until a view fulfils a condition."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing."""

    entries: Sequence[Any]
    """The entries."""

    next_token: str
    """Where the next page begins. Empty: this was the last."""


class Registry:
    """The resources that can be requested."""

    def __init__(self, store: Store, providers: Providers, views: Views) -> None:
        """Makes a registry.

        Args:
            store: Keeps registrations.
            providers: Load and drop what is registered.
            views: What is served now.
        """
        self._store = store
        self._providers = providers
        self._views = views
        self._dropping: set[asyncio.Task[None]] = set()

    async def register(self, kind: Kind, request: Any) -> Any:
        """Registers a resource with a provider that accepts it; returns the entry.

        Args:
            kind: Kind of the resource.
            request: The kind's register request.

        Raises:
            AlreadyExistsError: The identifier is taken by a different registration.
            NotFoundError: There is no such provider.
            InvalidArgumentError: Several providers could serve it and none was named, or the request id was used for something else.
            FailedPreconditionError: No provider can serve it.
            AbortedError: Somebody else is registering the same identifier.
            UnavailableError: No replica of the provider answers, or the store does not.
            CaravanError: The provider's refusal.
        """
        entry = kind.registration(request)
        key = (kind.value, kind.id_of(entry))
        own = self._served_by_itself(kind, key, entry)
        if own is not None:
            return own
        # Of what the caller asked for, before a provider is chosen: a repetition is one even when there are more providers by then.
        fingerprint = kinds.fingerprint(entry)
        claim = await self._store.claim(key, fingerprint, request.request_id)
        if claim.outcome != "claimed":
            return self._answered(kind, key, entry, fingerprint, claim)
        try:
            entry.provider_id = self._provider_for(kind, entry.provider_id)
            loaded = await self._load(kind, key, entry, claim)
            if not await self._store.commit(key, claim, fingerprint, kind.resource(loaded), request.request_id):
                message = f"registering {kind_name(kind.value)} {key[1]!r} took too long and somebody else has begun it; try again"
                raise AbortedError(message, reason="REGISTRATION_LOST")
        except BaseException:
            await asyncio.shield(self._release(key, claim))
            raise
        _log.info("registered", kind=kind.member, id=key[1], provider=loaded.provider_id, revision=claim.revision)
        return await self._visible(key, loaded)

    async def get(self, kind: Kind, identifier: str) -> Any:
        """Returns an entry.

        Raises:
            NotFoundError: There is none.
        """
        key = (kind.value, identifier)
        entry = self._views.view.entries.get(key)
        if entry is None and await self._views.look():
            entry = self._views.view.entries.get(key)
        if entry is None:
            raise unknown_resource(kind.value, identifier)
        return entry

    def page(self, kind: Kind, request: Any) -> Page:
        """Returns a page of entries in the order of their identifiers.

        Args:
            kind: Kind of the resources.
            request: The kind's list request. The page token is the last identifier of the page before, so that entries which come or go
                meanwhile move nothing else.
        """
        size = request.page_size or _DEFAULT_PAGE
        found = [
            entry
            for entry in self._views.view.of_kind(kind)
            if kind.id_of(entry) > request.page_token
            and (not request.provider_id or entry.provider_id == request.provider_id)
        ]
        more = len(found) > size
        return Page(found[:size], kind.id_of(found[size - 1]) if more else "")

    async def unregister(self, kind: Kind, request: Any) -> None:
        """Takes a registration out; the provider drops what it loaded.

        Args:
            kind: Kind of the resource.
            request: The kind's unregister request.

        Raises:
            NotFoundError: It is not registered.
            FailedPreconditionError: A provider serves it by itself.
            AbortedError: It has another revision than the request says.
            UnavailableError: The store does not answer, or no replica does that could delete what is kept for the resource.
        """
        identifier = kind.id_of(request)
        key = (kind.value, identifier)
        revision = request.revision if request.HasField("revision") else None
        repeated = bool(request.request_id) and await self._store.has_removed(request.request_id)
        if kind.keeps_data and not repeated:
            await self._discard(kind, key, revision)
        removal = await self._store.remove(key, revision, request.request_id)
        match removal.outcome:
            case "repeated":
                return
            case "stale":
                name = kind_name(kind.value)
                message = (
                    f"{name} {identifier!r} has revision {removal.revision}, not {revision}: read it again, then decide"
                )
                raise AbortedError(message, reason="STALE_REVISION", metadata={"revision": str(removal.revision)})
            case "absent":
                raise self._not_registered(kind, key)
            case _:
                await self._drop(kind, key, removal)

    # Registering, step by step.

    def _served_by_itself(self, kind: Kind, key: Key, entry: Any) -> Any | None:
        """Returns the entry when a provider serves this very thing by itself; raises when it serves another under the name."""
        own = self._views.view.entries.get(key)
        if own is None or own.entry.revision:
            return None
        same_provider = entry.provider_id in ("", own.provider_id)
        asked = getattr(entry, kind.provider_id_field)
        same = asked in (key[1], getattr(own, kind.provider_id_field)) and not _adds_to(kind, entry, own)
        if same_provider and same:
            return own
        message = (
            f"{kind_name(kind.value)} {key[1]!r} is served by provider {own.provider_id} by itself: "
            "register yours under another identifier"
        )
        raise AlreadyExistsError(message, resource_type=kind.member, resource_name=key[1], reason="SERVED_BY_PROVIDER")

    def _answered(self, kind: Kind, key: Key, entry: Any, fingerprint: str, claim: Claim) -> Any:
        """Returns what exists already if it is the same registration."""
        name = kind_name(kind.value)
        if claim.outcome == "busy" or claim.resource is None:
            message = f"{name} {key[1]!r} is being registered by another call; try again when that has ended"
            raise AbortedError(message, reason="REGISTRATION_IN_PROGRESS")
        existing = kind.entry_of(claim.resource)
        same = claim.fingerprint == fingerprint and kind.id_of(existing) == key[1]
        if same:
            return self._views.view.entries.get(key, existing)
        if claim.outcome == "repeated":
            raise InvalidArgumentError.of(
                "request_id", "was used for a different registration; take a new one", reason="REQUEST_ID_REUSED"
            )
        if _same_but_for_provider(kind, entry, existing, claim.fingerprint):
            return self._views.view.entries.get(key, existing)
        message = (
            f"{name} {key[1]!r} is registered with provider {existing.provider_id} and other parameters: "
            "unregister it first, or take another identifier"
        )
        raise AlreadyExistsError(message, resource_type=kind.member, resource_name=key[1])

    def _provider_for(self, kind: Kind, asked: str) -> str:
        """Returns the provider that shall serve a resource."""
        view = self._views.view
        names = [provider.provider_id for provider in view.providers]
        if asked:
            if asked not in names:
                message = f"there is no provider {asked!r}; there are: {', '.join(names) or 'none'}"
                raise NotFoundError(message, resource_type="provider", resource_name=asked)
            return asked
        able = [name for name in names if kind.value in view.loadable.get(name, ())]
        word = kind_name(kind.value)
        if len(able) > 1:
            description = f"several providers can serve a {word}: name one of {', '.join(able)}"
            raise InvalidArgumentError.of("provider_id", description, reason="PROVIDER_AMBIGUOUS")
        if able:
            return able[0]
        silent = [name for name in names if name not in view.loadable]
        if silent:
            message = f"no provider can serve a {word} yet; not answering yet: {', '.join(silent)}"
            raise UnavailableError(message, reason="PROVIDERS_STARTING")
        message = f"no provider takes a {word} at run time; there are: {', '.join(names) or 'none'}"
        raise FailedPreconditionError(message, reason="NOT_LOADABLE")

    async def _load(self, kind: Kind, key: Key, entry: Any, claim: Claim) -> Any:
        """Loads an entry on every live replica of its provider; returns it as the provider sees it."""
        entry.entry.revision = claim.revision
        entry.entry.registered_at.GetCurrentTime()
        addresses = self._live(entry.provider_id)
        if not addresses:
            message = f"no replica of provider {entry.provider_id} answers now; try again"
            raise UnavailableError(message, reason="NO_REPLICA", metadata={"provider_id": entry.provider_id})
        resource = kind.resource(entry)
        renewal = asyncio.create_task(self._keep_claim(key, claim))
        try:
            answers = await asyncio.gather(
                *(self._providers.load(address, resource) for address in addresses), return_exceptions=True
            )
        finally:
            await background.end([renewal])
        accepted = [answer for answer in answers if isinstance(answer, providers_pb2.Resource)]
        if not accepted:
            raise _refusal(answers)
        for address, answer in zip(addresses, answers, strict=True):
            if isinstance(answer, CaravanError):
                _log.warning("load_refused", address=address, resource=key[1], why=answer.message)
        loaded = kind.entry_class()
        loaded.CopyFrom(kind.entry_of(accepted[0]))
        # Whatever the provider says of it, these are the registry's.
        setattr(loaded, kind.id_field, key[1])
        loaded.provider_id = entry.provider_id
        loaded.entry.CopyFrom(entry.entry)
        return loaded

    async def _visible(self, key: Key, loaded: Any) -> Any:
        """Waits until the resource can be requested through this worker; returns the entry as it is listed then."""

        def served(view: View) -> bool:
            entry = view.entries.get(key)
            return entry is not None and entry.entry.revision >= loaded.entry.revision

        if not await self._views.wait_for(served, _VISIBLE_SECONDS):
            _log.warning("registered_but_not_published", resource=key[1])
            return loaded
        return self._views.view.entries.get(key, loaded)

    async def _keep_claim(self, key: Key, claim: Claim) -> None:
        """Renews a claim while the provider loads, which may take minutes."""
        while True:
            await asyncio.sleep(CLAIM_MILLISECONDS / 3000)
            try:
                await self._store.renew(key, claim)
            except CaravanError as error:
                _log.warning("claim_not_renewed", resource=key[1], why=error.message)

    async def _release(self, key: Key, claim: Claim) -> None:
        try:
            await self._store.release(key, claim)
        except CaravanError as error:
            _log.warning("claim_not_released", resource=key[1], why=error.message)

    def _live(self, provider_id: str) -> list[str]:
        for provider in self._views.view.snapshot.providers:
            if provider.provider_id == provider_id:
                return [endpoint.address for endpoint in provider.endpoints if endpoint.healthy]
        return []

    # Unregistering.

    def _not_registered(self, kind: Kind, key: Key) -> CaravanError:
        own = self._views.view.entries.get(key)
        if own is None or own.entry.revision:
            return unknown_resource(kind.value, key[1])
        message = (
            f"{kind_name(kind.value)} {key[1]!r} is served by provider {own.provider_id} by itself and was not registered: "
            "change that provider's settings"
        )
        return FailedPreconditionError(message, reason="SERVED_BY_PROVIDER")

    async def _discard(self, kind: Kind, key: Key, revision: int | None) -> None:
        """Has what is kept for a resource deleted, before the registration goes: as long as it stands, the caller can try again.

        Raises:
            UnavailableError: No replica could be told.
            CaravanError: The provider's refusal.
        """
        entry = self._views.view.entries.get(key)
        if entry is None and await self._views.look():
            entry = self._views.view.entries.get(key)
        if entry is None or not entry.entry.revision or revision not in (None, entry.entry.revision):
            # The store has the last word on what is wrong.
            return
        addresses = self._live(entry.provider_id)
        if not addresses:
            message = (
                f"no replica of provider {entry.provider_id} answers now, and what it keeps for {kind_name(kind.value)} {key[1]!r} "
                "must be deleted first; try again"
            )
            raise UnavailableError(message, reason="NO_REPLICA", metadata={"provider_id": entry.provider_id})
        resource = kind.resource(entry)
        answers = await asyncio.gather(
            *(self._providers.unload(address, key, resource) for address in addresses), return_exceptions=True
        )
        if all(isinstance(answer, BaseException) for answer in answers):
            raise _refusal(answers)

    async def _drop(self, kind: Kind, key: Key, removal: Removal) -> None:
        _log.info("unregistered", kind=kind.member, id=key[1])
        if removal.resource is None:
            return
        removed = kind.entry_of(removal.resource)
        # Once more: the control loop may have had it loaded again as long as the registration stood.
        discarded = removal.resource if kind.keeps_data else None
        tasks = [
            asyncio.create_task(self._unload(address, key, discarded)) for address in self._live(removed.provider_id)
        ]
        for task in tasks:
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)
        if discarded is not None and tasks:
            # A bank that is registered next must not be what a late message deletes.
            await asyncio.wait(tasks)

        def gone(view: View) -> bool:
            entry = view.entries.get(key)
            return entry is None or entry.entry.revision != removed.entry.revision

        await self._views.wait_for(gone, _VISIBLE_SECONDS)

    async def _unload(self, address: str, key: Key, discarded: providers_pb2.Resource | None) -> None:
        try:
            await self._providers.unload(address, key, discarded)
        except CaravanError as error:
            # The control loop sees that the replica still has it.
            _log.warning("unload_refused", address=address, resource=key[1], why=error.message)


def _refusal(answers: Sequence[object]) -> BaseException:
    """Returns the answer that tells the caller most: a refusal rather than a replica that does not answer."""
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    return next((error for error in errors if not isinstance(error, UnavailableError)), errors[0])


def _adds_to(kind: Kind, entry: Any, own: Any) -> bool:
    """Tells whether a registration says more than the name of what a provider serves by itself."""
    plain = kind.entry_class()
    for name in (kind.id_field, kind.provider_id_field, "provider_id"):
        setattr(plain, name, getattr(entry, name))
    if hasattr(plain, "model_type"):
        plain.model_type = own.model_type
    return bool(plain != entry)


def _same_but_for_provider(kind: Kind, entry: Any, existing: Any, fingerprint: str) -> bool:
    """Tells whether two registrations differ only in that one names the provider which the other was given."""
    for provider_id in {"", existing.provider_id} - {entry.provider_id}:
        if entry.provider_id in ("", existing.provider_id):
            twin = kind.entry_class()
            twin.CopyFrom(entry)
            twin.provider_id = provider_id
            if kinds.fingerprint(twin) == fingerprint:
                return True
    return False
