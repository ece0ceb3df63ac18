"""Values of key-value banks."""

import asyncio
from collections.abc import Sequence
from typing import Any

from caravan.memory.v1 import keyvalue_pb2
from services.memory.providers.postgres import banks, failures, receipts
from services.memory.providers.postgres.banks import Bank, Change
from services.memory.providers.postgres.chunks import LIVE
from services.memory.providers.postgres.database import Connection, Database
from services.memory.providers.postgres.text import INDEXED, after_prefix, digest, plain, quoted
from services.memory.records import Receipt

_PUT = f"""
    INSERT INTO values_{{n}} AS v VALUES ($1, $2, $3, 1, $4, $5)
    ON CONFLICT (digest) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
        revision = CASE WHEN {LIVE.format("v", "$4")} THEN v.revision + 1 ELSE 1 END
    RETURNING revision, xmax = 0 AS added
"""


class Values:
    """The values of all banks."""

    def __init__(self, database: Database) -> None:
        """Keeps them in a database.

        Args:
            database: The database.
        """
        self._database = database

    async def get(self, bank: Bank, keys: Sequence[str], now: float) -> dict[str, keyvalue_pb2.KeyValueEntry]:
        """Returns those of the entries that exist, by key."""
        statement = bank.sql(f"SELECT * FROM values_{{n}} v WHERE digest = ANY ($1) AND {LIVE.format('v', '$2')}")
        names = [digest(key) for key in keys]
        rows = await self._database.read(lambda connection: connection.fetch(statement, names, now), bank.spec.bank_id)
        entries = await _entries(rows)
        return {entry.key: entry for entry in entries}

    async def put(
        self,
        bank: Bank,
        entry: keyvalue_pb2.KeyValueEntry,
        expires_at: float | None,
        expected: int | None,
        receipt: Receipt | None,
        now: float,
    ) -> keyvalue_pb2.KeyValueEntry:
        """Sets the value of a key; returns the entry.

        Args:
            bank: The bank.
            entry: Key and value.
            expires_at: When it will be gone. None: never.
            expected: Revision that the key must have. 0: it must not exist. None: whatever it has.
            receipt: Keeps the response.
            now: The present time.
        """
        value = entry.value.SerializeToString()

        async def work(connection: Connection) -> keyvalue_pb2.KeyValueEntry:
            await receipts.claim(connection, bank, receipt, now)
            row = await connection.fetchrow(
                bank.sql(_PUT), digest(entry.key), quoted(entry.key), value, now, expires_at
            )
            _check(entry.key, row["revision"] - 1, expected)
            put = _entry(entry.key, row["revision"], now, expires_at)
            put.value.CopyFrom(entry.value)
            await receipts.fill(connection, bank, receipt, put)
            await banks.record(connection, bank, Change(documents=int(row["added"])), now)
            return put

        return await self._database.write(work, bank.spec.bank_id)

    async def delete(self, bank: Bank, key: str, expected: int | None, receipt: Receipt | None, now: float) -> bool:
        """Deletes a key; returns whether it was there."""

        async def work(connection: Connection) -> bool:
            await receipts.claim(connection, bank, receipt, now)
            row = await connection.fetchrow(
                bank.sql(
                    f"DELETE FROM values_{{n}} v WHERE digest = $1 RETURNING revision, {LIVE.format('v', '$2')} AS live"
                ),
                digest(key),
                now,
            )
            there = row is not None and row["live"]
            if there:
                _check(key, row["revision"], expected)
            await receipts.fill(connection, bank, receipt, there)
            await banks.record(connection, bank, Change(documents=-int(row is not None)), now)
            return bool(there)

        return await self._database.write(work, bank.spec.bank_id)

    async def list(
        self, bank: Bank, prefix: str, after: str, limit: int, now: float, *, keys_only: bool
    ) -> list[keyvalue_pb2.KeyValueEntry]:
        """Returns entries in the order of their keys."""
        first, last = quoted(prefix), after_prefix(quoted(prefix))
        value = "NULL::bytea AS value" if keys_only else "value"
        statement = bank.sql(
            f"SELECT key, {value}, revision, updated_at, expires_at FROM values_{{n}} v "
            f'WHERE left(key, {INDEXED}) >= left(greatest($1, $2) COLLATE "C", {INDEXED}) AND key >= $1 AND key > $2 '
            f"AND ($3::text IS NULL OR (left(key, {INDEXED}) <= left($3, {INDEXED}) AND key < $3)) AND {LIVE.format('v', '$4')} "
            f"ORDER BY left(key, {INDEXED}), key LIMIT $5"
        )
        rows = await self._database.read(
            lambda connection: connection.fetch(statement, first, quoted(after), last, now, limit), bank.spec.bank_id
        )
        return await _entries(rows)


def _check(key: str, current: int, expected: int | None) -> None:
    if expected is not None and current != expected:
        raise failures.stale_revision(f"key {key!r}", current)


def _entry(key: str, revision: int, updated_at: float, expires_at: float | None) -> keyvalue_pb2.KeyValueEntry:
    entry = keyvalue_pb2.KeyValueEntry(key=key, revision=revision)
    entry.updated_at.FromMicroseconds(round(updated_at * 1_000_000))
    if expires_at is not None:
        entry.expires_at.FromMicroseconds(round(expires_at * 1_000_000))
    return entry


async def _entries(rows: Sequence[Any]) -> list[keyvalue_pb2.KeyValueEntry]:
    return (
        await asyncio.to_thread(lambda: [_shown(row) for row in rows])
        if len(rows) > 1
        else [_shown(row) for row in rows]
    )


def _shown(row: Any) -> keyvalue_pb2.KeyValueEntry:
    entry = _entry(plain(row["key"]), row["revision"], row["updated_at"], row["expires_at"])
    if row["value"] is not None:
        entry.value.ParseFromString(row["value"])
    return entry
