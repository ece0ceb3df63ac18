"""One bank's SQLite database: connections, transactions, durability."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.core.errors import FailedPreconditionError
from services.memory.providers.embedded.schema import TABLES, VERSION

FILE = "bank.db"
_PAGE_BYTES = 8192
_CACHE_KIB = 4096
_CHECKPOINT_PAGES = 2000
_KEPT_LOG_BYTES = 32 << 20
_BUSY_SECONDS = 30


class Database:
    """Connections to one database. Any thread may use it; one at a time writes."""

    def __init__(self, folder: Path, *, durable: bool, openings: "Openings") -> None:
        """Opens the database and makes its tables if it is new.

        Args:
            folder: The bank's folder; it exists.
            durable: Every commit waits for the disk.
            openings: Keeps the number of open files within its bound.

        Raises:
            FailedPreconditionError: Another version wrote it.
        """
        self.folder = folder
        self._durable = durable
        self._openings = openings
        self._guard = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._users = 0
        self._closed = False
        with self.writing() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
            elif version != VERSION:
                message = f"a memory bank in {folder} has format {version}; this version reads {VERSION}"
                raise FailedPreconditionError(message, reason="STORE_FORMAT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lends the one connection that writes. The caller sees to it that there is one writer at a time."""
        self._enter()
        try:
            if self._writer is None:
                self._writer = self._connect()
            yield self._writer
        finally:
            self._leave()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lends the writing connection in a transaction: committed at the end, or undone when an error leaves the block."""
        with self.writing() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lends a connection that sees one moment of the database, whoever writes meanwhile."""
        self._enter()
        connection = None
        try:
            with self._guard:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._connect()
            connection.execute("BEGIN")
            yield connection
        finally:
            if connection is not None:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                with self._guard:
                    self._idle.append(connection)
            self._leave()

    def rest(self) -> bool:
        """Closes the connections if nobody uses one; returns whether they are closed."""
        with self._guard:
            if self._users:
                return False
            self._close_all()
            return True

    def close(self) -> None:
        """Closes the connections, those in use as soon as they are given back."""
        with self._guard:
            self._closed = True
            if not self._users:
                self._close_all()
        self._openings.forget(self)

    def _enter(self) -> None:
        with self._guard:
            self._users += 1
        self._openings.used(self)

    def _leave(self) -> None:
        with self._guard:
            self._users -= 1
            if self._closed and not self._users:
                self._close_all()

    def _close_all(self) -> None:
        connections = [*self._idle, *([self._writer] if self._writer is not None else [])]
        self._idle.clear()
        self._writer = None
        for connection in connections:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.folder / FILE, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_KEPT_LOG_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection


class Openings:
    """Closes the databases that were not used for longest when too many are open."""

    def __init__(self, most: int) -> None:
        """Begins with none.

        Args:
            most: Most databases that stay open while nobody uses them.
        """
        self._most = most
        self._guard = threading.Lock()
        self._open: OrderedDict[Database, None] = OrderedDict()

    def used(self, database: Database) -> None:
        """Says that a database is used now."""
        with self._guard:
            self._open[database] = None
            self._open.move_to_end(database)
            if len(self._open) <= self._most:
                return
            for oldest in list(self._open)[: len(self._open) - self._most]:
                if oldest.rest():
                    del self._open[oldest]

    def forget(self, database: Database) -> None:
        """Says that a database is closed for good."""
        with self._guard:
            self._open.pop(database, None)
