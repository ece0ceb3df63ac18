"""Banks: which there are, which are open here, and what a change of one leaves in its row."""

from dataclasses import dataclass
from typing import Any

import asyncpg

from caravan.registry.v1 import memory_banks_pb2
from services.core.errors import FailedPreconditionError
from services.memory.providers.postgres import failures, schema
from services.memory.providers.postgres.database import Connection, Database
from services.memory.providers.postgres.text import digest, quoted
from services.memory.providers.postgres.vectors import LONGEST, LONGEST_INDEXED, Space
from services.memory.records import BankKind, BankSpec


@dataclass(frozen=True, slots=True)
class Bank:
    """An open bank."""

    number: int
    """Its number, which no other bank ever has."""
    spec: BankSpec
    """What it is."""
    space: Space | None
    """Its vectors. None: it has none."""

    @property
    def is_graph(self) -> bool:
        """Whether it has entities and relations."""
        return self.spec.kind is BankKind.GRAPH

    @property
    def has_chunks(self) -> bool:
        """Whether it has documents and chunks."""
        return self.spec.kind is not BankKind.KEYVALUE

    def sql(self, statement: str) -> str:
        """Returns a statement with this bank's number in the tables' names, where it has `{n}`."""
        return statement.replace("{n}", str(self.number))


@dataclass(slots=True)
class Change:
    """What a transaction adds to a bank's counts."""

    documents: int = 0
    chunks: int = 0
    tokens: int = 0
    words: int = 0

    def remove(self, counts: Any) -> None:
        """Takes away chunks that were deleted: a row with their number, tokens and words."""
        self.chunks -= counts["chunks"]
        self.tokens -= counts["tokens"]
        self.words -= counts["words"]


class Banks:
    """The banks that are open in this process."""

    def __init__(self, database: Database) -> None:
        """Knows none yet.

        Args:
            database: Where they are kept.
        """
        self._database = database
        self._open: dict[str, Bank] = {}

    def get(self, bank_id: str) -> Bank:
        """Returns an open bank.

        Raises:
            NotFoundError: It is not open here.
        """
        try:
            return self._open[bank_id]
        except KeyError:
            raise failures.bank_not_open(bank_id) from None

    def forget(self, bank_id: str) -> None:
        """Knows no more of a bank, which stays as it is."""
        self._open.pop(bank_id, None)

    def forget_dropped(self, bank: Bank) -> None:
        """Knows no more of a bank that is gone, unless another of its name has been opened meanwhile."""
        if self._open.get(bank.spec.bank_id) is bank:
            self.forget(bank.spec.bank_id)

    async def open(self, spec: BankSpec, now: float) -> None:
        """Makes a bank, or attaches to the one that is there.

        Raises:
            FailedPreconditionError: There is a different one, or its vectors are too long.
        """
        space = None if spec.dimension is None else Space(spec)
        if space is not None:
            _check_length(space)

        async def make(connection: Connection) -> int:
            number: int | None = await connection.fetchval(
                "INSERT INTO banks (digest, bank_id, params, dimension, updated_at) VALUES ($1, $2, $3, $4, $5) "
                "ON CONFLICT (digest) DO NOTHING RETURNING number",
                digest(spec.bank_id),
                quoted(spec.bank_id),
                spec.params.SerializeToString(deterministic=True),
                spec.dimension,
                now,
            )
            if number is not None:
                await connection.execute(schema.bank_tables(number, spec))
                return number
            row = await connection.fetchrow(
                "SELECT number, params, dimension FROM banks WHERE digest = $1", digest(spec.bank_id)
            )
            if row is None:
                # Dropped between the two statements.
                raise asyncpg.SerializationError
            _check_same(spec, row)
            return int(row["number"])

        number = await self._database.write(make, spec.bank_id)
        self._open[spec.bank_id] = Bank(number, spec, space)

    async def drop(self, bank_id: str) -> None:
        """Deletes a bank with everything in it; waits for what runs on it."""
        self.forget(bank_id)

        async def mark(connection: Connection) -> None:
            number = await connection.fetchval(
                "UPDATE banks SET dropped = true, digest = gen_random_uuid()::text::bytea WHERE digest = $1 RETURNING number",
                digest(bank_id),
            )
            if number is not None:
                await connection.execute("DELETE FROM receipts WHERE bank = $1", number)

        await self._database.write(mark, bank_id)
        await self.clear_dropped()

    async def clear_dropped(self, lock_seconds: float = 0) -> None:
        """Deletes the tables of dropped banks, those too whose dropping was broken off.

        Each in a transaction of its own: who holds one table and waits for the next would be in the way of those who use both.

        Args:
            lock_seconds: Longest time to wait for those who use a table. 0: as long as the call may take.

        Raises:
            DeadlineExceededError: Somebody uses a table for longer; the rest is left for the next time.
        """
        numbers = await self._database.read(
            lambda connection: connection.fetchval("SELECT array_agg(number) FROM banks WHERE dropped")
        )
        for number in numbers or ():
            for table in schema.TABLES:
                await self._clear(f"DROP TABLE IF EXISTS {table}_{number}", lock_seconds)
            await self._clear(f"DELETE FROM banks WHERE number = {number}", lock_seconds)

    async def _clear(self, statement: str, lock_seconds: float) -> None:
        limited = f"SET LOCAL lock_timeout = {round(lock_seconds * 1000)}; {statement}"
        await self._database.write(lambda connection: connection.execute(limited))


async def lock(connection: Connection, bank: Bank) -> None:
    """Lets one transaction at a time change a bank; graphs need it, since facts of several documents are merged.

    Raises:
        AbortedError: The bank was dropped.
    """
    if (
        await connection.fetchval("SELECT 1 FROM banks WHERE number = $1 AND NOT dropped FOR UPDATE", bank.number)
        is None
    ):
        raise failures.bank_dropped(bank.spec.bank_id)


async def record(connection: Connection, bank: Bank, change: Change, now: float) -> None:
    """Adds a transaction's changes to the bank's row. It comes last in a transaction, since others wait for the row from here on.

    Raises:
        AbortedError: The bank was dropped.
    """
    found = await connection.fetchval(
        "UPDATE banks SET documents = documents + $2, chunks = chunks + $3, tokens = tokens + $4, words = words + $5, "
        "graph_revision = graph_revision + 1, updated_at = greatest(updated_at, $6) WHERE number = $1 AND NOT dropped RETURNING 1",
        bank.number,
        change.documents,
        change.chunks,
        change.tokens,
        change.words,
        now,
    )
    if found is None:
        raise failures.bank_dropped(bank.spec.bank_id)


def _check_length(space: Space) -> None:
    longest = LONGEST_INDEXED if space.indexed else LONGEST
    if space.dimension > longest:
        raise FailedPreconditionError(
            f"pgvector holds {LONGEST} dimensions, and indexes {LONGEST_INDEXED}, but the bank's vectors have {space.dimension}; choose a "
            "FLAT index or another embedding model",
            reason="DIMENSION_TOO_LARGE",
        )


def _check_same(spec: BankSpec, row: Any) -> None:
    params = memory_banks_pb2.MemoryBankParams.FromString(row["params"])
    if params == spec.params and row["dimension"] == spec.dimension:
        return
    raise FailedPreconditionError(
        f"there is a memory bank {spec.bank_id!r} with other parameters already; choose another identifier, or drop that bank first",
        reason="BANK_DIFFERS",
        metadata={"memory_bank_id": spec.bank_id},
    )
