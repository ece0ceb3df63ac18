"""The connection to one Redis server: scripts by their digest, and what passes is tried again."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import redis.exceptions
import structlog
from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.core.redis.failures import PASSING, REFUSED, StoreFailures
from services.core.redis.scripts import Argument, Command, Script
from services.core.redis.url import RedisUrl

_log = structlog.get_logger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 0.02, 0.5
_SILENCE_SECONDS = 10.0


class ConnectionSettings(BaseModel):
    """Where a service keeps its state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redis_url: RedisUrl = Field(
        description="Redis 7 or Valkey that holds the state, for instance redis://127.0.0.1:6379/0."
    )
    connections: int = Field(default=32, ge=1, le=1024, description="Most connections for commands.")
    timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="Seconds that a command may take.")
    retry_seconds: float = Field(
        default=10.0,
        ge=0,
        le=600,
        description="Seconds that a call goes on trying while Redis is away, before it is UNAVAILABLE.",
    )


class Connection:
    """Runs commands. What has no answer is sent again: a command must do no harm when it runs twice."""

    def __init__(self, settings: ConnectionSettings, failures: StoreFailures) -> None:
        """Connects with the first command.

        Args:
            settings: Where Redis is, and how long to try.
            failures: What callers hear when it fails.
        """
        self._settings = settings
        self._failures = failures
        self._client = Redis.from_url(
            settings.redis_url.get_secret_value(),
            # One more to listen, one to ask whether it lives.
            max_connections=settings.connections + 2,
            # Not redis-py's own time-out: on Python 3.11 it may swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=settings.timeout_seconds,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )
        self._room = asyncio.Semaphore(settings.connections)
        self._away_at = float("-inf")
        self._answers = True

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

        async def attempt() -> Any:
            try:
                return await self._client.evalsha(script.digest, len(keys), *keys, *arguments)
            except redis.exceptions.NoScriptError:
                # EVAL leaves the script loaded.
                return await self._client.eval(script.text, len(keys), *keys, *arguments)

        return await self._persist(attempt)

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """Runs commands that only read, all at one moment.

        Args:
            commands: The commands, all of one hash tag.

        Returns:
            What redis-py makes of each reply.

        Raises:
            UnavailableError: Redis does not answer for longer than the settings allow.
            InternalError: It refuses a command.
        """

        async def attempt() -> list[Any]:
            async with self._client.pipeline(transaction=len(commands) > 1) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return await pipeline.execute()

        return cast("list[Any]", await self._persist(attempt))

    async def ping(self) -> None:
        """Checks that Redis answers, without trying again.

        Raises:
            UnavailableError: It does not.
            InternalError: It refuses, for instance because the password is wrong.
        """
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                await self._client.ping()
        except REFUSED as error:
            raise self._failures.refused(error) from error
        except (redis.exceptions.RedisError, OSError) as error:
            self._missed(error)
            raise self._failures.unavailable() from error
        self._answered()

    async def check_eviction(self) -> None:
        """Makes sure that Redis does not forget what it has no room for.

        Raises:
            UnavailableError: It does not answer.
            FailedPreconditionError: It forgets.
        """
        (memory,) = await self.read([("INFO", "memory")])
        limit, policy = int(memory.get("maxmemory", 0)), str(memory.get("maxmemory_policy", "noeviction"))
        self._failures.check_eviction(limit, policy)

    async def listen(self, *channels: str) -> AsyncIterator[tuple[str, bytes | None]]:
        """Yields what comes on channels, over a connection of its own.

        Args:
            channels: Their names.

        Yields:
            A channel and its message. None: it is listened to from now on; what came before was not heard.

        Raises:
            UnavailableError: Redis does not answer any more.
            InternalError: It refuses.
        """
        try:
            async with self._client.pubsub() as pubsub:
                await pubsub.subscribe(*channels)
                asked = False
                while True:
                    message = await pubsub.get_message(timeout=_SILENCE_SECONDS)
                    if message is None:
                        if asked:
                            raise self._failures.unavailable()
                        # A connection that says nothing is asked whether it lives.
                        asked = True
                        await pubsub.ping()
                        continue
                    asked = False
                    if message["type"] == "message":
                        yield message["channel"].decode(), cast("bytes", message["data"])
                    elif message["type"] == "subscribe":
                        yield message["channel"].decode(), None
        except REFUSED as error:
            raise self._failures.refused(error) from error
        except PASSING as error:
            raise self._failures.unavailable() from error
        except redis.exceptions.RedisError as error:
            raise self._failures.refused(error) from error

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _persist(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        ends, delay = 0.0, _FIRST_DELAY
        while True:
            try:
                async with self._room, asyncio.timeout(self._settings.timeout_seconds):
                    reply = await attempt()
            except REFUSED as error:
                raise self._failures.refused(error) from error
            except PASSING as error:
                self._missed(error)
                ends = ends or self._away_at + self._settings.retry_seconds
                if self._away_at + delay > ends:
                    raise self._failures.unavailable() from error
            except redis.exceptions.RedisError as error:
                raise self._failures.refused(error) from error
            else:
                self._answered()
                return reply
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads retries
            delay = min(2 * delay, _LONGEST_DELAY)

    def _missed(self, error: Exception) -> None:
        self._away_at = time.monotonic()
        if self._answers:
            self._answers = False
            _log.warning("store_away", store=self._failures.store, error=type(error).__name__)

    def _answered(self) -> None:
        if not self._answers:
            self._answers = True
            _log.info("store_back", store=self._failures.store)
