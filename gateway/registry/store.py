"""Where registrations, the control loop's lease and the published view live: Redis. One script a command, one hash tag for all keys."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from gateway.registry.kinds import Key
from services.core.redis.connection import Connection, ConnectionSettings
from services.core.redis.failures import StoreFailures
from services.core.redis.scripts import Argument, load_scripts

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

_COMMAND_SECONDS = 2.0
# Enough to replace connections that a restart of Redis broke. Calls are routed without it, so nobody waits for it for long.
_RETRY_SECONDS = 0.1
# How long a call without a request id may be sent again, because its outcome is not known.
_AGAIN_MILLISECONDS = 60_000

FAILURES = StoreFailures(
    "the registry's store",
    refused_reason="REGISTRY_STORE",
    unavailable_reason="REGISTRY_UNAVAILABLE",
    advice="what is registered stays reachable, but nothing can be changed: try again",
)
"""What callers hear when it fails."""


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

    def __init__(self, url: SecretStr) -> None:
        """Makes a store; connects with its first command.

        Args:
            url: Where Redis is, for instance `redis://host:6379/0`.
        """
        settings = ConnectionSettings(redis_url=url, timeout_seconds=_COMMAND_SECONDS, retry_seconds=_RETRY_SECONDS)
        self._connection = Connection(settings, FAILURES)
        self._scripts = load_scripts("gateway.registry")

    async def close(self) -> None:
        """Closes the connections."""
        await self._connection.close()

    async def ping(self) -> None:
        """Checks that Redis answers.

        Raises:
            UnavailableError: It does not.
        """
        await self._connection.ping()

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
        arguments: list[Argument] = [_field(key), fingerprint, token, CLAIM_MILLISECONDS, "1" if request_id else "0"]
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
        arguments: list[Argument] = [
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
        mark = _request("unregister", request_id) if request_id else _request("unregister.once", uuid.uuid4().hex)
        lifetime = _REQUEST_MILLISECONDS if request_id else _AGAIN_MILLISECONDS
        keys = [_STATES, _RESOURCES, mark, _CHANGED, _GENERATION]
        arguments: list[Argument] = [_field(key), "" if revision is None else revision, lifetime]
        outcome, *rest = await self._run("remove", keys, arguments)
        match outcome:
            case b"removed":
                return Removal("removed", resource=providers_pb2.Resource.FromString(rest[0]))
            case b"stale":
                return Removal("stale", revision=int(rest[0]))
            case b"repeated" if not request_id:
                return Removal("removed")
            case b"repeated" if rest[0].decode() == _field(key):
                return Removal("repeated")
            case _:
                return Removal("absent")

    async def has_removed(self, request_id: str) -> bool:
        """Tells whether a removal, of whatever resource, was answered before under a request id.

        Raises:
            UnavailableError: Redis does not answer.
        """
        (found,) = await self._connection.read([("EXISTS", _request("unregister", request_id))])
        return bool(found)

    async def marks(self) -> Marks:
        """Returns by what to see that nothing has changed.

        Raises:
            UnavailableError: Redis does not answer.
        """
        commands = [("GET", _GENERATION), ("HGET", _PUBLISHED, "version")]
        generation, version = await self._connection.read(commands)
        return Marks(int(generation or 0), int(version or 0))

    async def records(self) -> Records:
        """Returns everything that is registered or being registered.

        Raises:
            UnavailableError: Redis does not answer.
        """
        commands = [("HGETALL", _RESOURCES), ("HGETALL", _CLAIMS), ("TIME",)]
        resources, claims, (seconds, microseconds) = await self._connection.read(commands)
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
        arguments: list[Argument] = [f"{holder} {token}", seen_version]
        for name, value in parts.items():
            arguments += [name, value]
        return int(await self._run("publish", [_LEASE, _PUBLISHED, _NEWS], arguments))

    async def published_version(self) -> int:
        """Returns the version of the published view, 0 when there is none.

        Raises:
            UnavailableError: Redis does not answer.
        """
        (version,) = await self._connection.read([("HGET", _PUBLISHED, "version")])
        return int(version or 0)

    async def published(self) -> dict[str, bytes]:
        """Returns the parts of the published view and its version.

        Raises:
            UnavailableError: Redis does not answer.
        """
        (parts,) = await self._connection.read([("HGETALL", _PUBLISHED)])
        return {name.decode(): value for name, value in parts.items()}

    async def news(self) -> AsyncIterator[Literal["changed", "published"]]:
        """Yields what happens: a registration changed, or a view was published.

        Raises:
            UnavailableError: Redis does not answer any more.
        """
        async for channel, _ in self._connection.listen(_CHANGED, _NEWS):
            # That it is listened to from now on counts as news: what happened before was not heard.
            yield "changed" if channel == _CHANGED else "published"

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        return await self._connection.run(self._scripts[script], keys, arguments)


def _request(operation: str, request_id: str) -> str:
    return f"{TAG}:request:{operation}:{request_id}"


def _field(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def _key(field: bytes) -> Key:
    kind, _, identifier = field.decode().partition("/")
    return options_pb2.ResourceKind.ValueType(int(kind)), identifier
