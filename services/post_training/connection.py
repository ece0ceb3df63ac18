"""The connection to Redis that data sets and jobs share: scripts by their digest, and what passes is tried again."""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeAlias, cast

import redis.exceptions
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.core.errors import FailedPreconditionError, InternalError, UnavailableError

Argument: TypeAlias = bytes | str | int | float

_log = structlog.get_logger(__name__)

# Conditions that pass: a server that starts, fails over, is full, or cannot be reached.
_PASSING = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
    redis.exceptions.MasterDownError,
    redis.exceptions.OutOfMemoryError,
    OSError,
)
_REFUSED = (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError)
_FIRST_DELAY, _LONGEST_DELAY = 0.02, 0.5
_SILENCE_SECONDS = 10.0


class ConnectionSettings(BaseModel):
    """Where the service keeps its state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redis_url: SecretStr = Field(
        description="Redis 7 or Valkey that holds the state, for instance redis://127.0.0.1:6379/0."
    )
    connections: int = Field(default=32, ge=2, le=1024, description="Most connections for commands.")
    timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="Seconds that a command may take.")
    retry_seconds: float = Field(
        default=10.0,
        ge=0,
        le=600,
        description="Seconds that a call goes on trying while Redis is away, before it is UNAVAILABLE.",
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            message = "must start with redis://, rediss:// (TLS) or unix://"
            raise ValueError(message)
        return url


@dataclass(frozen=True, slots=True)
class Script:
    """A script that the server knows by the digest of its text."""

    text: str
    """What it does."""
    digest: str
    """Name by which a server that has it runs it."""


def load_scripts(package: str) -> dict[str, Script]:
    """Reads the Lua scripts of a package's folder `scripts` by name; `prelude.lua`, if there, stands before each.

    Args:
        package: The package, for instance `services.post_training.datasets`.
    """
    folder = files(package).joinpath("scripts")
    texts = {
        path.name.removesuffix(".lua"): path.read_text() for path in folder.iterdir() if path.name.endswith(".lua")
    }
    prelude = texts.pop("prelude", "")
    found = {}
    for name, text in texts.items():
        whole = f"{prelude}\n{text}"
        found[name] = Script(whole, hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest())
    return found


class Connection:
    """Runs scripts. What has no answer is sent again: a script must do no harm when it runs twice."""

    def __init__(self, settings: ConnectionSettings) -> None:
        """Connects with the first command.

        Args:
            settings: Where Redis is, and how long to try.
        """
        self._settings = settings
        self._client = Redis.from_url(
            settings.redis_url.get_secret_value(),
            max_connections=settings.connections,
            # Not redis-py's own time-out: on Python 3.11 it may swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=settings.timeout_seconds,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )
        self._room = asyncio.Semaphore(settings.connections - 1)
        self._away_at = float("-inf")

    @property
    def quiet_seconds(self) -> float:
        """Seconds since Redis did not answer the last time."""
        return time.monotonic() - self._away_at

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        """Runs a script.

        Args:
            script: The script.
            keys: Its keys, all of one hash tag.
            arguments: Its arguments.

        Raises:
            UnavailableError: Redis does not answer for longer than the settings allow.
            InternalError: It refuses the command.
        """
        ends, delay = 0.0, _FIRST_DELAY
        while True:
            try:
                return await self._attempt(script, keys, arguments)
            except _REFUSED as error:
                raise _refused(error) from error
            except (*_PASSING, TimeoutError) as error:
                self._away_at = now = time.monotonic()
                ends = ends or now + self._settings.retry_seconds
                if now + delay > ends:
                    raise _unavailable() from error
                _log.warning("store_retry", error=type(error).__name__)
            except redis.exceptions.RedisError as error:
                raise _refused(error) from error
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads retries
            delay = min(2 * delay, _LONGEST_DELAY)

    async def ping(self) -> None:
        """Checks that Redis answers, without trying again.

        Raises:
            UnavailableError: It does not.
        """
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                await self._client.ping()
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            self._away_at = time.monotonic()
            raise _unavailable() from error

    async def check_eviction(self) -> None:
        """Makes sure that Redis does not forget what it has no room for.

        Raises:
            UnavailableError: It does not answer.
            FailedPreconditionError: It forgets.
        """
        try:
            memory = await self._client.info("memory")
        except (*_PASSING, TimeoutError) as error:
            raise _unavailable() from error
        except redis.exceptions.RedisError as error:
            raise _refused(error) from error
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if memory.get("maxmemory") and policy != "noeviction":
            message = f"Redis forgets what it has no room for (maxmemory-policy {policy}): set it to noeviction"
            raise FailedPreconditionError(message, reason="STORE_EVICTS")

    async def messages(self, channel: str) -> AsyncIterator[bytes | None]:
        """Yields what comes on a channel, over a connection of its own; ends when that breaks.

        Args:
            channel: Its name.

        Yields:
            The messages. None: it is listened to from now on; what came before was not heard.
        """
        try:
            async with self._client.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                asked = False
                while True:
                    message = await pubsub.get_message(timeout=_SILENCE_SECONDS)
                    if message is None:
                        if asked:
                            return
                        # A connection that says nothing is asked whether it lives.
                        asked = True
                        await pubsub.ping()
                        continue
                    asked = False
                    if message["type"] == "message":
                        yield cast("bytes", message["data"])
                    elif message["type"] == "subscribe":
                        yield None
        except (redis.exceptions.RedisError, OSError) as error:
            _log.warning("listening_again", error=type(error).__name__)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _attempt(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        async with self._room, asyncio.timeout(self._settings.timeout_seconds):
            try:
                return await self._client.evalsha(script.digest, len(keys), *keys, *arguments)
            except redis.exceptions.NoScriptError:
                # EVAL leaves the script loaded.
                return await self._client.eval(script.text, len(keys), *keys, *arguments)


def _unavailable() -> UnavailableError:
    message = "the service's store (Redis) does not answer; try again"
    return UnavailableError(message, reason="STORE_UNAVAILABLE", retry_after=1.0)


def _refused(error: Exception) -> InternalError:
    return InternalError(f"the service's store refused a command: {error}", reason="POST_TRAINING_STORE")
