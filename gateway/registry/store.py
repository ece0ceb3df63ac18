"""Where registrations, the control loop's lease and the published view live: Redis. One script a command, one hash tag for all keys."""

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast

import redis.exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from gateway.registry.kinds import Key
from services.core.errors import CaravanError, InternalError, UnavailableError

# All keys in one slot of a Redis Cluster: scripts touch several.
TAG = "{caravan:registry}"
_STATES = f"{TAG}:states"
_RESOURCES = f"{TAG}:resources"
_CLAIMS = f"{TAG}:claims"
_REVISION = f"{TAG}:revision"
_GENERATION = f"{TAG}:generation"
_PUBLISHED = f"{TAG}:published"
_LEASE = f"{TAG}:lease"
_FENCE = f"{TAG}:fence"
_CHANGED = f"{TAG}:changed"
_NEWS = f"{TAG}:news"

_REQUEST_MILLISECONDS = 24 * 3600 * 1000
CLAIM_MILLISECONDS = 30_000
"""Life of a claim that is not renewed: how long a gateway that died while registering keeps others from the identifier."""

_SOCKET_SECONDS = 2.0

# Conditions that pass: a server that starts, fails over, or is full.
_PASSING = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
    redis.exceptions.MasterDownError,
    redis.exceptions.OutOfMemoryError,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What became of an attempt to claim an identifier."""

    outcome: Literal["claimed", "registered", "repeated", "busy"]
    """Ours now; registered already; answered before under the same request id; or somebody else is registering it."""

    revision: int = 0
    """Revision of the claimed registration."""

    token: str = ""
    """Proves the claim."""

    fingerprint: str = ""
    """Of the registration that exists, or was answered before."""

    resource: providers_pb2.Resource | None = None
    """The resource that exists, or was answered before."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of an attempt to take a registration out."""

    outcome: Literal["removed", "absent", "stale", "repeated"]
    """Gone now; not there; of another revision; or removed before under the same request id."""

    revision: int = 0
    """Revision that it has, when stale."""

    resource: providers_pb2.Resource | None = None
    """What was removed."""


@dataclass(frozen=True, slots=True)
class Marks:
    """While these stay, nothing in the store has changed."""

    generation: int
    """Grows with every change of what is registered or being registered."""

    version: int
    """Of the published view."""


@dataclass(frozen=True, slots=True)
class Records:
    """Everything that is registered or being registered."""

    resources: Mapping[Key, providers_pb2.Resource]
    """What is registered."""

    claimed: frozenset[Key]
    """What is being registered right now."""


class RegistryStore:
    """Registrations, lease and published view in one Redis."""

    def __init__(self, client: Redis) -> None:
        """Makes a store.

        Args:
            client: Connection to Redis that does not decode answers.
        """
        self._client = client
        self._scripts = {
            path.name.removesuffix(".lua"): client.register_script(path.read_text())
            for path in files("gateway.registry").joinpath("scripts").iterdir()
            if path.name.endswith(".lua")
        }

    @classmethod
    def at(cls, url: str) -> "RegistryStore":
        """Makes a store at a URL such as `redis://host:6379/0`; connects with its first command."""
        client = Redis.from_url(
            url,
            socket_timeout=_SOCKET_SECONDS,
            socket_connect_timeout=_SOCKET_SECONDS,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 1),
        )
        return cls(client)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def ping(self) -> None:
        """Checks that Redis answers.

        Raises:
            UnavailableError: It does not.
        """
        with _translated():
            await self._client.ping()

    # Registrations.

    async def claim(self, key: Key, fingerprint: str, request_id: str) -> Claim:
        """Claims an identifier for one registration.

        Args:
            key: What is registered.
            fingerprint: Tells this registration from others.
            request_id: The caller's; empty for none.

        Raises:
            UnavailableError: Redis does not answer.
        """
        token = uuid.uuid4().hex
        keys = [_STATES, _RESOURCES, _CLAIMS, _REVISION, _request("register", request_id), _GENERATION]
        arguments = [_field(key), fingerprint, token, CLAIM_MILLISECONDS, "1" if request_id else "0"]
        outcome, *rest = await self._run("claim", keys, arguments)
        match outcome:
            case b"claimed":
                return Claim("claimed", revision=int(rest[0]), token=token)
            case b"busy":
                return Claim("busy")
            case _:
                resource = providers_pb2.Resource.FromString(rest[1])
                kind: Literal["registered", "repeated"] = "registered" if outcome == b"registered" else "repeated"
                return Claim(kind, fingerprint=rest[0].decode(), resource=resource)

    async def renew(self, key: Key, claim: Claim) -> None:
        """Keeps a claim for another `CLAIM_MILLISECONDS`; does nothing when it has expired.

        Raises:
            UnavailableError: Redis does not answer.
        """
        await self._run("renew", [_CLAIMS], [_field(key), claim.token, CLAIM_MILLISECONDS])

    async def commit(
        self, key: Key, claim: Claim, fingerprint: str, resource: providers_pb2.Resource, request_id: str
    ) -> bool:
        """Makes a claimed registration real; returns False when the claim has expired.

        Raises:
            UnavailableError: Redis does not answer.
        """
        keys = [_STATES, _RESOURCES, _CLAIMS, _request("register", request_id), _CHANGED, _GENERATION]
        lifetime = _REQUEST_MILLISECONDS if request_id else 0
        arguments = [
            _field(key),
            claim.token,
            fingerprint,
            claim.revision,
            resource.SerializeToString(deterministic=True),
            lifetime,
        ]
        return bool(await self._run("commit", keys, arguments))

    async def release(self, key: Key, claim: Claim) -> None:
        """Gives a claim up.

        Raises:
            UnavailableError: Redis does not answer; the claim expires by itself.
        """
        await self._run("release", [_CLAIMS, _CHANGED, _GENERATION], [_field(key), claim.token])

    async def remove(self, key: Key, revision: int | None, request_id: str) -> Removal:
        """Takes a registration out.

        Args:
            key: What is unregistered.
            revision: Revision that it must have. None: any.
            request_id: The caller's; empty for none.

        Raises:
            UnavailableError: Redis does not answer.
        """
        keys = [_STATES, _RESOURCES, _request("unregister", request_id), _CHANGED, _GENERATION]
        lifetime = _REQUEST_MILLISECONDS if request_id else 0
        arguments = [_field(key), "" if revision is None else revision, lifetime]
        outcome, *rest = await self._run("remove", keys, arguments)
        match outcome:
            case b"removed":
                return Removal("removed", resource=providers_pb2.Resource.FromString(rest[0]))
            case b"stale":
                return Removal("stale", revision=int(rest[0]))
            case b"repeated" if rest[0].decode() == _field(key):
                return Removal("repeated")
            case _:
                return Removal("absent")

    async def has_removed(self, request_id: str) -> bool:
        """Tells whether a removal, of whatever resource, was answered before under a request id.

        Raises:
            UnavailableError: Redis does not answer.
        """
        with _translated():
            return bool(await self._client.exists(_request("unregister", request_id)))

    async def marks(self) -> Marks:
        """Returns by what to see that nothing has changed.

        Raises:
            UnavailableError: Redis does not answer.
        """
        with _translated():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.get(_GENERATION)
                pipeline.hget(_PUBLISHED, "version")
                generation, version = await pipeline.execute()
        return Marks(int(generation or 0), int(version or 0))

    async def records(self) -> Records:
        """Returns everything that is registered or being registered.

        Raises:
            UnavailableError: Redis does not answer.
        """
        with _translated():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hgetall(_RESOURCES)
                pipeline.hgetall(_CLAIMS)
                pipeline.time()
                resources, claims, (seconds, microseconds) = await pipeline.execute()
        now = seconds * 1000 + microseconds // 1000
        return Records(
            resources={_key(field): providers_pb2.Resource.FromString(value) for field, value in resources.items()},
            claimed=frozenset(_key(field) for field, value in claims.items() if int(value.split()[1]) > now),
        )

    # Lease and published view.

    async def hold_lease(self, holder: str, milliseconds: int) -> int:
        """Takes the control loop's lease or keeps it; returns the fencing token, 0 while somebody else holds it.

        Raises:
            UnavailableError: Redis does not answer.
        """
        return int(await self._run("lease", [_LEASE, _FENCE], [holder, milliseconds]))

    async def leave_lease(self, holder: str) -> None:
        """Gives the lease up.

        Raises:
            UnavailableError: Redis does not answer; the lease expires by itself.
        """
        await self._run("leave", [_LEASE], [holder])

    async def publish(self, holder: str, token: int, seen_version: int, parts: Mapping[str, bytes]) -> int:
        """Publishes what the gateway routes by; returns the new version, 0 when the lease was lost.

        Args:
            holder: Who publishes.
            token: Fencing token of its lease.
            seen_version: Highest version that it has seen.
            parts: The view's parts by name.

        Raises:
            UnavailableError: Redis does not answer.
        """
        arguments: list[Any] = [f"{holder} {token}", seen_version]
        for name, value in parts.items():
            arguments += [name, value]
        return int(await self._run("publish", [_LEASE, _PUBLISHED, _NEWS], arguments))

    async def published_version(self) -> int:
        """Returns the version of the published view, 0 when there is none.

        Raises:
            UnavailableError: Redis does not answer.
        """
        with _translated():
            return int(await self._client.hget(_PUBLISHED, "version") or 0)

    async def published(self) -> dict[str, bytes]:
        """Returns the parts of the published view and its version.

        Raises:
            UnavailableError: Redis does not answer.
        """
        with _translated():
            parts = cast("dict[bytes, bytes]", await self._client.hgetall(_PUBLISHED))
        return {name.decode(): value for name, value in parts.items()}

    async def news(self) -> AsyncIterator[Literal["changed", "published"]]:
        """Yields what happens: a registration changed, or a view was published.

        Raises:
            UnavailableError: Redis does not answer any more.
        """
        with _translated():
            async with self._client.pubsub(ignore_subscribe_messages=False) as pubsub:
                await pubsub.subscribe(_CHANGED, _NEWS)
                async for message in pubsub.listen():
                    # The confirmation counts as news: what happened before it was not heard.
                    yield "changed" if message["channel"] == _CHANGED.encode() else "published"

    async def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        with _translated():
            return await self._scripts[script](keys=keys, args=arguments)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _PASSING as error:
        raise store_unavailable() from error
    except redis.exceptions.RedisError as error:
        message = f"the registry's store refused a command: {error}"
        raise InternalError(message, reason="REGISTRY_STORE") from error


def store_unavailable() -> CaravanError:
    """Returns the error for a store that does not answer."""
    message = (
        "the registry's store (Redis) does not answer; what is registered stays reachable, but nothing can be changed"
    )
    return UnavailableError(message, reason="REGISTRY_UNAVAILABLE", retry_after=1.0)


def _request(operation: str, request_id: str) -> str:
    return f"{TAG}:request:{operation}:{request_id}"


def _field(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def _key(field: bytes) -> Key:
    kind, _, identifier = field.decode().partition("/")
    return options_pb2.ResourceKind.ValueType(int(kind)), identifier
