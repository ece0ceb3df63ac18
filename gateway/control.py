"""The control loop: one process at a time asks the replicas what they serve, gives them what is registered, and publishes the view.

Whoever holds the lease in the store is that process; its fencing token makes sure that one which has lost the lease without noticing
publishes nothing.
"""

import asyncio
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from google.protobuf import timestamp_pb2

from caravan.providers.v1 import providers_pb2
from gateway import background
from gateway import survey as surveys_of
from gateway.discovery import Resolve, UnresolvedError, replica_addresses, resolve_by_system
from gateway.registry.kinds import Key, key_of
from gateway.registry.store import Marks, Records
from gateway.survey import Observation, Survey, Work
from gateway.view import View
from services.core.errors import CaravanError, DeadlineExceededError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Rhythm of the control loop."""

    period: float = 1.0
    """Seconds between two rounds of asking all replicas."""

    least_pause: float = 0.05
    """Least seconds between two rounds, however much happens."""

    lease_seconds: float = 3.0
    """Life of the lease: how long after the death of its holder another process takes over."""

    patience: float = 10.0
    """Seconds for which a replica that is slow to answer is taken at its last word; one that refuses the connection is not."""

    first_load_pause: float = 1.0
    """Seconds after which a replica that refused a registered resource is asked again; each time twice as long."""

    longest_load_pause: float = 60.0
    """Longest such pause in seconds."""


class Store(Protocol):
    """What the control loop needs of the registry's store."""

    async def hold_lease(self, holder: str, milliseconds: int) -> int:
        """Takes the lease or keeps it; returns the fencing token, 0 while somebody else holds it."""

    async def leave_lease(self, holder: str) -> None:
        """Gives the lease up."""

    async def marks(self) -> Marks:
        """Returns by what to see that nothing has changed."""

    async def records(self) -> Records:
        """Returns everything that is registered or being registered."""

    async def published(self) -> dict[str, bytes]:
        """Returns the parts of the published view."""

    async def publish(self, holder: str, token: int, seen_version: int, parts: Mapping[str, bytes]) -> int:
        """Publishes a view; returns its version, 0 when the lease was lost."""


class Providers(Protocol):
    """What the control loop needs of the providers."""

    async def describe(self, address: str) -> providers_pb2.DescribeProviderResponse:
        """Asks a replica what it is and serves."""

    async def load(self, address: str, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Asks a replica to load a resource."""

    async def unload(self, address: str, key: Key) -> None:
        """Asks a replica to drop a resource."""

    async def forget(self, addresses: set[str]) -> None:
        """Closes the connections to all other replicas."""


@dataclass(slots=True)
class _Refusal:
    """A replica did not take a registered resource."""

    why: str
    instance_id: str
    revision: int
    pause: float
    not_before: float


@dataclass(slots=True)
class _Round:
    """What the loop remembers from one round to the next, for as long as it holds the lease."""

    token: int
    view: View = field(default_factory=View)
    parts: dict[str, bytes] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    surveys: Sequence[Survey] = ()
    generation: int = -1
    claimed: bool = False


class ControlLoop:
    """Runs in every gateway process; works in the one that holds the lease."""

    def __init__(
        self,
        configured: Mapping[str, str | tuple[str, ...]],
        store: Store,
        providers: Providers,
        *,
        settings: ControlSettings = ControlSettings(),
        resolve: Resolve = resolve_by_system,
        holder: str | None = None,
    ) -> None:
        """Makes a loop that is not running.

        Args:
            configured: Addresses of every provider by its identifier, in the order of the settings.
            store: The registry's store.
            providers: Speaks to the replicas.
            settings: Rhythm.
            resolve: Looks names up.
            holder: Tells this process from others. None: a new identifier.
        """
        self._configured = configured
        self._store = store
        self._providers = providers
        self._settings = settings
        self._resolve = resolve
        self._holder = holder or uuid.uuid4().hex
        self._poked = asyncio.Event()
        self._round: _Round | None = None
        self._jobs: dict[tuple[str, Key], asyncio.Task[None]] = {}
        self._refusals: dict[tuple[str, Key], _Refusal] = {}
        self._last: dict[str, tuple[float, providers_pb2.DescribeProviderResponse]] = {}

    @property
    def leading(self) -> bool:
        """This process holds the lease."""
        return self._round is not None

    def poke(self) -> None:
        """Begins the next round at once: something has changed."""
        self._poked.set()

    async def run(self) -> None:
        """Runs until it is cancelled; gives the lease up then."""
        renewal = asyncio.create_task(self._keep_lease())
        try:
            while True:
                if self._round is not None:
                    await self._work(self._round)
                    await asyncio.sleep(self._settings.least_pause)
                await self._rest()
        finally:
            await background.end([renewal, *self._jobs.values()])
            await self._leave()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._settings.period):
                await self._poked.wait()
        except TimeoutError:
            pass
        self._poked.clear()

    async def _keep_lease(self) -> None:
        """Renews the lease well before it ends; apart from the rounds, which may be slow."""
        life = self._settings.lease_seconds
        while True:
            started = time.monotonic()
            try:
                token = await self._store.hold_lease(self._holder, round(life * 1000))
            except CaravanError:
                token = 0
            current = self._round.token if self._round is not None else 0
            if token != current:
                _log.info("control_loop_lease", leading=bool(token), token=token)
                self._round = _Round(token) if token else None
                self._poked.set()
            await asyncio.sleep(max(0.05, life / 4 - (time.monotonic() - started)))

    async def _leave(self) -> None:
        if self._round is not None:
            self._round = None
            try:
                await self._store.leave_lease(self._holder)
            except CaravanError as error:
                _log.warning("control_loop_leave", why=str(error))

    async def _work(self, this: _Round) -> None:
        """One round: ask, compare, give work, publish."""
        try:
            if not this.parts:
                parts = await self._store.published()
                this.view = View.of_parts(parts)
                this.parts = {name: value for name, value in parts.items() if name != "version"}
            surveys = await asyncio.gather(*(self._survey(this, name) for name in self._configured))
            marks = await self._store.marks()
            if self._nothing_new(this, surveys, marks):
                return
            # After asking: what a replica has loaded for a registration under way was claimed before it was loaded.
            records = await self._store.records()
            self._give_work(surveys_of.work(surveys, records.resources, records.claimed))
            # Thousands of resources take a while, and this process relays calls too.
            view = await asyncio.to_thread(surveys_of.view, surveys, records.resources, this.view)
            if await self._publish(this, view, force=marks.version != this.view.version):
                this.surveys, this.generation, this.claimed = surveys, marks.generation, bool(records.claimed)
        except CaravanError as error:
            _log.warning("control_loop_round", why=str(error))
            return
        await self._providers.forget({seen.address for survey in surveys for seen in survey.observations})

    def _nothing_new(self, this: _Round, surveys: Sequence[Survey], marks: Marks) -> bool:
        """Tells whether this round would publish what the last one did and has nobody to give work to."""
        unfinished = self._jobs or self._refusals or this.claimed
        same = marks == Marks(this.generation, this.view.version) and surveys == this.surveys
        return same and not unfinished

    async def _survey(self, this: _Round, provider_id: str) -> Survey:
        problem = ""
        try:
            addresses = await replica_addresses(self._configured[provider_id], self._resolve)
            this.addresses[provider_id] = addresses
        except UnresolvedError as error:
            # The replicas that were found before are not gone because a name server is.
            problem = str(error)
            addresses = this.addresses.get(provider_id) or _known(this.view, provider_id)
        seen = await asyncio.gather(*(self._observe(address) for address in addresses))
        return Survey(provider_id, seen, problem)

    async def _observe(self, address: str) -> Observation:
        now = time.monotonic()
        try:
            description = await self._providers.describe(address)
        except CaravanError as error:
            last = self._last.get(address)
            busy = isinstance(error, DeadlineExceededError)
            if last is None or not busy or now - last[0] > self._settings.patience:
                return Observation(address, problem=f"it does not answer: {error.message}")
            description = last[1]
        else:
            self._last[address] = (now, description)
        problems = {
            key: refusal.why
            for (where, key), refusal in self._refusals.items()
            if where == address and refusal.instance_id == description.instance_id
        }
        return Observation(address, description, load_problems=problems)

    async def _publish(self, this: _Round, view: View, *, force: bool) -> bool:
        """Publishes a view that is new, or any if the store has another (`force`); returns False when the lease was lost."""
        parts = view.parts()
        old = dict(this.parts)
        old["snapshot"] = _without_time(this.view)
        if parts == old and not force:
            return True
        published_at = timestamp_pb2.Timestamp()
        published_at.GetCurrentTime()
        view.snapshot.published_at.CopyFrom(published_at)
        parts = view.parts()
        version = await self._store.publish(self._holder, this.token, this.view.version, parts)
        if not version:
            _log.info("control_loop_lease_lost")
            return False
        view.snapshot.version = version
        this.view, this.parts = view, parts
        _log.info("view_published", version=version, resources=len(view.entries))
        return True

    # Giving replicas what is registered.

    def _give_work(self, found: Sequence[Work]) -> None:
        wanted = {(work.address, key) for work in found for resource in work.load if (key := key_of(resource))}
        for gone in self._refusals.keys() - wanted:
            del self._refusals[gone]
        for work in found:
            for resource in work.load:
                key = key_of(resource)
                if key is not None and not self._must_wait(work, key, _revision(resource)):
                    self._start(work.address, key, self._load(work, key, resource))
            for key in work.unload:
                self._start(work.address, key, self._unload(work, key))

    def _must_wait(self, work: Work, key: Key, revision: int) -> bool:
        refusal = self._refusals.get((work.address, key))
        if refusal is None or refusal.instance_id != work.instance_id or refusal.revision != revision:
            return False
        return time.monotonic() < refusal.not_before

    def _start(self, address: str, key: Key, job: Coroutine[Any, Any, None]) -> None:
        if (address, key) in self._jobs:
            job.close()
            return
        task = asyncio.create_task(job)
        self._jobs[address, key] = task
        task.add_done_callback(lambda _: self._done(address, key))

    def _done(self, address: str, key: Key) -> None:
        self._jobs.pop((address, key), None)
        self.poke()

    async def _load(self, work: Work, key: Key, resource: providers_pb2.Resource) -> None:
        try:
            await self._providers.load(work.address, resource)
        except CaravanError as error:
            before = self._refusals.get((work.address, key))
            pause = (
                min(before.pause * 2, self._settings.longest_load_pause) if before else self._settings.first_load_pause
            )
            self._refusals[work.address, key] = _Refusal(
                error.message, work.instance_id, _revision(resource), pause, time.monotonic() + pause
            )
            _log.warning("load_refused", address=work.address, resource=key[1], why=error.message)
        else:
            self._refusals.pop((work.address, key), None)
            _log.info("loaded", address=work.address, resource=key[1])

    async def _unload(self, work: Work, key: Key) -> None:
        try:
            await self._providers.unload(work.address, key)
        except CaravanError as error:
            _log.warning("unload_refused", address=work.address, resource=key[1], why=error.message)
            # Not again in the very next round.
            await asyncio.sleep(self._settings.first_load_pause)


def _known(view: View, provider_id: str) -> list[str]:
    for provider in view.snapshot.providers:
        if provider.provider_id == provider_id:
            return [endpoint.address for endpoint in provider.endpoints]
    return []


def _without_time(view: View) -> bytes:
    snapshot = type(view.snapshot)()
    snapshot.CopyFrom(view.snapshot)
    snapshot.ClearField("published_at")
    snapshot.ClearField("version")
    return snapshot.SerializeToString(deterministic=True)


def _revision(resource: providers_pb2.Resource) -> int:
    member = resource.WhichOneof("resource")
    return int(getattr(resource, member).entry.revision) if member else 0
