"""Values of keys in the database."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from caravan.memory.v1 import keyvalue_pb2
from services.core.errors import AbortedError
from services.memory.providers.embedded.transaction import Totals, Transaction, rows_of, timestamp

_LIVE = "(expires_at IS NULL OR expires_at > ?)"
_COLUMNS = "key, value, revision, updated_at, expires_at"


def get(connection: sqlite3.Connection, keys: Sequence[str], now: float) -> dict[str, keyvalue_pb2.KeyValueEntry]:
    """Returns the entries of keys that exist."""
    statement = f"SELECT {_COLUMNS} FROM pairs WHERE key IN ({{}}) AND {_LIVE}"
    entries = [_entry(row) for row in rows_of(connection, statement, [key.encode() for key in keys], now)]
    return {entry.key: entry for entry in entries}


def put(
    tx: Transaction,
    key: str,
    value: keyvalue_pb2.TypedValue,
    *,
    expires_at: float | None,
    expected_revision: int | None,
) -> keyvalue_pb2.KeyValueEntry:
    """Sets the value of a key; see `Store.put_value`."""
    revision = _revision(tx, key)
    _check(key, revision, expected_revision)
    tx.execute(
        f"INSERT OR REPLACE INTO pairs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        key.encode(),
        value.SerializeToString(),
        revision + 1,
        tx.now,
        expires_at,
    )
    tx.totals += Totals(pairs=0 if revision else 1)
    return _entry((key.encode(), value.SerializeToString(), revision + 1, tx.now, expires_at))


def delete(tx: Transaction, key: str, expected_revision: int | None) -> bool:
    """Deletes a key; returns whether it was there."""
    revision = _revision(tx, key)
    if not revision:
        return False
    _check(key, revision, expected_revision)
    tx.execute("DELETE FROM pairs WHERE key = ?", key.encode())
    tx.totals += Totals(pairs=-1)
    return True


def page(
    connection: sqlite3.Connection, selection: tuple[str, str], limit: int, now: float, *, keys_only: bool
) -> list[keyvalue_pb2.KeyValueEntry]:
    """Returns entries in the order of their keys' bytes.

    Args:
        connection: The database.
        selection: What the keys begin with, and the key after which to begin.
        limit: Most entries.
        now: Time of the call.
        keys_only: Leaves the values out.
    """
    prefix, after = (part.encode() for part in selection)
    value = "x''" if keys_only else "value"
    conditions, values = [f"{_LIVE} AND key > ? AND key >= ?"], [now, after, prefix]
    # No byte of UTF-8 is 0xFF.
    conditions.append("key < ?")
    values.append(prefix + b"\xff")
    statement = f"SELECT key, {value}, revision, updated_at, expires_at FROM pairs WHERE {' AND '.join(conditions)} ORDER BY key LIMIT ?"
    entries = [_entry(row) for row in connection.execute(statement, (*values, limit))]
    if keys_only:
        for entry in entries:
            entry.ClearField("value")
    return entries


def _revision(tx: Transaction, key: str) -> int:
    """Returns the revision of a key, 0 when it does not exist; what has expired is deleted first."""
    expired = tx.execute("DELETE FROM pairs WHERE key = ? AND expires_at <= ?", key.encode(), tx.now).rowcount
    tx.totals += Totals(pairs=-expired)
    row = tx.execute("SELECT revision FROM pairs WHERE key = ?", key.encode()).fetchone()
    return row[0] if row else 0


def _check(key: str, revision: int, expected: int | None) -> None:
    if expected is not None and expected != revision:
        state = f"is at revision {revision}" if revision else "does not exist"
        message = f"key {key!r} {state}, not at {expected}: read it again"
        raise AbortedError(message, reason="STALE_REVISION", metadata={"revision": str(revision)})


def _entry(row: Sequence[Any]) -> keyvalue_pb2.KeyValueEntry:
    key, value, revision, updated_at, expires_at = row
    return keyvalue_pb2.KeyValueEntry(
        key=key.decode(),
        value=keyvalue_pb2.TypedValue.FromString(value),
        revision=revision,
        updated_at=timestamp(updated_at),
        expires_at=None if expires_at is None else timestamp(expires_at),
    )
