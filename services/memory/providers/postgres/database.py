"""The connection to PostgreSQL: a bounded pool, time limits, transactions that are tried again, and whether the server is there."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import asyncpg

from services.core.context import current_request
from services.core.errors import FailedPreconditionError
from services.core.readiness import Readiness
from services.memory.providers.postgres import failures, schema, vectors
from services.memory.providers.postgres.config import PostgresConfig

Connection: TypeAlias = Any
"""An asyncpg connection; asyncpg has no types."""
T = TypeVar("T")

START_SECONDS = 300.0
"""Longest time to connect and to bring the tables to this version."""
PROBE_SECONDS = 1.0
"""Time between two questions whether the server is there."""
RELEASE_SECONDS = 5.0
"""Longest time to bring a connection back to a state in which it can be used again; then it is closed."""
IDLE_SECONDS = 300.0
FIRST_RETRY_DELAY = 0.01
MOST_WALKED = 4_000
"""Vectors that a search visits in an index before it gives up; comparing all that fit takes less than many more."""
_AWAY = "PostgreSQL does not answer"


class Database:
    """One database. Belongs to one event loop."""

    def __init__(self, config: PostgresConfig, readiness: Readiness) -> None:
        """Makes it; nothing is connected yet.

        Args:
            config: Where it is and how to use it.
            readiness: Told when the server goes and when it comes back.
        """
        self._config = config
        self._readiness = readiness
        self._pool: Any = None
        self._extension_schema = "public"
        self._probe: Any = None
        self._watch: asyncio.Task[None] | None = None
        self._doubt = asyncio.Event()

    async def start(self) -> None:
        """Connects, brings the schema to this version, and begins to watch the server.

        Raises:
            FailedPreconditionError: The database cannot be used: the message says why.
            UnavailableError: The server does not answer.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                connection = await self._first_connection()
                try:
                    self._extension_schema = await schema.prepare(connection, self._config.schema_name)
                finally:
                    await connection.close(timeout=RELEASE_SECONDS)
                self._pool = await self._make_pool()
        except failures.RAISED as error:
            raise failures.of_error(error) or failures.defect(error) from error
        self._watch = asyncio.create_task(self._watch_server())

    async def stop(self) -> None:
        """Ends the watch and closes all connections."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        if self._probe is not None:
            self._probe.terminate()
        if self._pool is not None:
            try:
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def read(self, work: Callable[[Connection], Awaitable[T]], bank_id: str = "") -> T:
        """Runs statements that change nothing, once more when the connection was lost.

        Args:
            work: Runs them on a connection that is its own meanwhile.
            bank_id: The bank that they are about.

        Raises:
            CaravanError: It cannot be done.
        """

        async def attempt() -> T:
            async with self._connection() as connection:
                with _noticing_loss():
                    return await work(connection)

        return await self._bounded(attempt, bank_id)

    async def snapshot(self, work: Callable[[Connection], Awaitable[T]], bank_id: str) -> T:
        """Runs statements that all see one moment; see `read`."""

        async def at_one_moment(connection: Connection) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await work(connection)

        return await self.read(at_one_moment, bank_id)

    async def write(self, work: Callable[[Connection], Awaitable[T]], bank_id: str = "") -> T:
        """Runs statements as one transaction, again where it loses a race or its connection before anything is committed.

        Statements see what others have committed before them; rows that two transactions want are locked by the first, and tables' unique
        indexes keep two from adding the same, so READ COMMITTED is enough.

        Args:
            work: Runs them; called again for every attempt.
            bank_id: The bank that they are about.

        Raises:
            CaravanError: It cannot be done, and nothing was changed; after UNAVAILABLE alone it may have been done.
        """

        async def attempt() -> T:
            async with self._connection() as connection:
                transaction = connection.transaction()
                with _noticing_loss():
                    await transaction.start()
                    try:
                        result = await work(connection)
                    except BaseException:
                        # What went wrong first is what is told, a cancellation above all.
                        with suppress(*failures.RAISED):
                            await transaction.rollback()
                        raise
                await transaction.commit()
                return result

        return await self._bounded(attempt, bank_id)

    async def _bounded(self, attempt: Callable[[], Awaitable[T]], bank_id: str) -> T:
        """Tries as often as it makes sense, within the call's deadline. A call that is out of time, or cancelled, cancels its statement."""
        try:
            async with asyncio.timeout(self._patience()):
                return await self._tried(attempt)
        except failures.StaleConnectionError as error:
            self._doubt.set()
            raise failures.unavailable(_AWAY) from error
        except failures.RAISED as error:
            if failures.is_loss(error):
                self._doubt.set()
            raise failures.of_error(error, bank_id) or failures.defect(error) from error

    async def _tried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for number in range(1, self._config.max_attempts):
            try:
                return await attempt()
            except failures.LOST_RACES:
                await asyncio.sleep(FIRST_RETRY_DELAY * 2**number * random.uniform(0.5, 1.0))  # noqa: S311
            except failures.StaleConnectionError:
                if number > 1:
                    raise
        return await attempt()

    def _patience(self) -> float:
        deadline = current_request().deadline
        if deadline is None:
            return self._config.statement_timeout
        return max(0.0, min(self._config.statement_timeout, deadline - time.monotonic()))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if self._pool is None:
            raise failures.unavailable("the store has not been started")
        patience = asyncio.timeout(self._config.acquire_timeout)
        try:
            async with patience:
                connection = await self._pool.acquire()
        except TimeoutError as error:
            raise (failures.no_connection() if patience.expired() else failures.unavailable(_AWAY)) from error
        try:
            yield connection
        finally:
            await self._pool.release(connection, timeout=RELEASE_SECONDS)

    async def _make_pool(self) -> Any:
        return await asyncpg.create_pool(
            self._config.dsn.get_secret_value(),
            min_size=0,
            max_size=self._config.max_connections,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            timeout=self._config.connect_timeout,
            init=self._initialize,
            reset=_nothing,
        )

    async def _connect(self) -> Connection:
        return await asyncpg.connect(self._config.dsn.get_secret_value(), timeout=self._config.connect_timeout)

    async def _first_connection(self) -> Connection:
        """Connects, and tells an address that is none, whose errors hold it, from a server that is not there."""
        try:
            return await self._connect()
        except (asyncpg.ClientConfigurationError, ValueError):
            pass
        raise FailedPreconditionError(
            "dsn is no address of PostgreSQL; set it to postgresql://user:password@host:port/database",
            reason="STORE_REFUSES",
        )

    async def _initialize(self, connection: Connection) -> None:
        limit = str(round(self._config.statement_timeout * 1000))
        settings = {
            "search_path": f'"{self._config.schema_name}", "{self._extension_schema}"',
            "application_name": "caravan-memory",
            # A server must not go on for a client that is gone, whatever happened to the cancel request.
            "statement_timeout": limit,
            "idle_in_transaction_session_timeout": limit,
            "client_connection_check_interval": "1000",
            # Plans depend on what is asked for: how many rows a filter leaves, how common a word is.
            "plan_cache_mode": "force_custom_plan",
            "jit": "off",
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": str(MOST_WALKED),
            "hnsw.ef_search": str(self._config.search_width),
        }
        await connection.fetch(
            "SELECT set_config(name, setting, false) FROM unnest($1::text[], $2::text[]) AS s(name, setting)",
            list(settings),
            list(settings.values()),
        )
        await connection.set_type_codec(
            "vector",
            schema=self._extension_schema,
            encoder=vectors.encoded,
            decoder=vectors.decoded,
            format="binary",
        )

    async def _watch_server(self) -> None:
        """Keeps the readiness true: asks the server again and again, at once after a call that lost it."""
        while True:
            there = await self._answers()
            if there:
                self._readiness.set_ready()
            else:
                self._readiness.set_not_ready(f"{_AWAY}; trying again every {PROBE_SECONDS:g} s")
            self._doubt.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._doubt.wait()

    async def _answers(self) -> bool:
        """Asks on a connection of its own: a pool that is busy is no server that is gone."""
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                if self._probe is None or self._probe.is_closed():
                    self._probe = await self._connect()
                await self._probe.execute("SELECT 1")
        except asyncpg.TooManyConnectionsError:
            return True
        except failures.RAISED:
            if self._probe is not None:
                self._probe.terminate()
            return False
        return True


async def _nothing(connection: Connection) -> None:
    """Connections go back as they are: no statement leaves a setting behind, and every transaction has ended."""


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """Tells a connection that was lost before the commit, so that trying again is safe, from other failures."""
    try:
        yield
    except failures.RAISED as error:
        if failures.is_loss(error):
            raise failures.StaleConnectionError from error
        raise
