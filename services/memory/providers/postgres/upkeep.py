"""Looking after banks: how full they are, and taking away what has expired."""

from typing import Any

from caravan.memory.v1 import memory_pb2
from services.memory.providers.postgres import banks, chunk_rows, failures, graph_changes
from services.memory.providers.postgres.banks import Bank, Change
from services.memory.providers.postgres.database import Connection, Database
from services.memory.providers.postgres.schema import TABLES
from services.memory.records import BankKind

_SIZES = """
    SELECT b.*,
        (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
            WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY ($2)) AS disk_bytes,
        coalesce(pg_total_relation_size(to_regclass($3)), 0) AS vector_bytes
    FROM banks b WHERE b.number = $1 AND NOT b.dropped
"""


async def statistics(database: Database, bank: Bank) -> memory_pb2.BankStatistics:
    """Tells how full a bank is. PostgreSQL keeps what is used in memory that all banks share: vectors with their index are told."""
    names = [f"{name}_{bank.number}" for name in TABLES]

    async def work(connection: Connection) -> tuple[Any, Any]:
        row = await connection.fetchrow(_SIZES, bank.number, names, f"vectors_{bank.number}")
        counts = None
        if row is not None and bank.is_graph:
            counts = await connection.fetchrow(
                bank.sql(
                    "SELECT (SELECT count(*) FROM entities_{n}) AS entities, (SELECT count(*) FROM relations_{n}) AS relations"
                )
            )
        return row, counts

    row, counts = await database.read(work, bank.spec.bank_id)
    if row is None:
        raise failures.bank_dropped(bank.spec.bank_id)
    found = memory_pb2.BankStatistics(
        document_count=row["documents"],
        chunk_count=row["chunks"],
        token_count=row["tokens"],
        memory_bytes=row["vector_bytes"],
        disk_bytes=row["disk_bytes"],
    )
    if counts is not None:
        found.entity_count, found.relation_count = counts["entities"], counts["relations"]
    found.updated_at.FromMicroseconds(round(row["updated_at"] * 1_000_000))
    return found


async def purge(database: Database, bank: Bank, limit: int, now: float) -> int:
    """Deletes up to `limit` expired documents, chunks, values and receipts, with what belongs to them; returns how many."""

    async def work(connection: Connection) -> int:
        change = Change()
        done = 0
        if bank.is_graph:
            await banks.lock(connection, bank)
        if bank.spec.kind is BankKind.KEYVALUE:
            done = len(await _expired(connection, bank, "values_{n}", "digest", limit, now))
            change.documents = -done
        else:
            done = await _purge_documents(connection, bank, limit, now, change)
            done += await _purge_chunks(connection, bank, limit - done, now, change)
        done += await _purge_receipts(connection, bank, limit - done, now)
        if done:
            await banks.record(connection, bank, change, now)
        return done

    return await database.write(work, bank.spec.bank_id)


async def _purge_documents(connection: Connection, bank: Bank, limit: int, now: float, change: Change) -> int:
    names = await _expired(connection, bank, "documents_{n}", "document_id", limit, now)
    if names:
        change.documents = -len(names)
        change.remove(await chunk_rows.delete(connection, bank, "document_id = ANY ($1)", names))
        if bank.is_graph:
            await graph_changes.forget(connection, bank, names)
    return len(names)


async def _purge_chunks(connection: Connection, bank: Bank, limit: int, now: float, change: Change) -> int:
    which = "key IN (SELECT key FROM chunks_{n} WHERE expires_at <= $1 LIMIT $2)"
    gone = await chunk_rows.delete(connection, bank, which, now, limit)
    change.remove(gone)
    return int(gone["chunks"])


async def _purge_receipts(connection: Connection, bank: Bank, limit: int, now: float) -> int:
    return int(
        await connection.fetchval(
            "WITH gone AS (DELETE FROM receipts WHERE (bank, rpc, request_id) IN (SELECT bank, rpc, request_id FROM receipts "
            "WHERE bank = $1 AND expires_at <= $2 LIMIT $3) RETURNING 1) SELECT count(*) FROM gone",
            bank.number,
            now,
            limit,
        )
    )


async def _expired(connection: Connection, bank: Bank, table: str, name: str, limit: int, now: float) -> list[Any]:
    """Deletes rows that have expired, those that nobody else is changing; returns their names."""
    found = await connection.fetchval(
        bank.sql(
            f"WITH gone AS (DELETE FROM {table} WHERE {name} IN (SELECT {name} FROM {table} WHERE expires_at <= $1 "
            f"ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING {name}) SELECT array_agg({name}) FROM gone"
        ),
        now,
        limit,
    )
    return found or []
