"""Deleting what has expired, and what is named."""

import sqlite3
from collections.abc import Sequence

from services.memory.providers.embedded import chunk_rows, document_rows
from services.memory.providers.embedded.transaction import Totals, Transaction


def purge(tx: Transaction, limit: int) -> int:
    """Deletes up to `limit` expired documents, chunks, values and receipts; returns how many."""
    deleted = purge_documents(tx, limit)
    keys = [
        row[0]
        for row in tx.execute("SELECT key FROM chunks WHERE expires_at <= ? LIMIT ?", tx.now, max(0, limit - deleted))
    ]
    deleted += chunk_rows.remove(tx, "c.key IN ({})", keys)
    for table in ("pairs", "receipts"):
        identity = "key" if table == "pairs" else "rpc, request_id"
        count = tx.execute(
            f"DELETE FROM {table} WHERE ({identity}) IN (SELECT {identity} FROM {table} WHERE expires_at <= ? LIMIT ?)",
            tx.now,
            max(0, limit - deleted),
        ).rowcount
        deleted += count
        if table == "pairs":
            tx.totals += Totals(pairs=-count)
    return deleted


def purge_documents(tx: Transaction, limit: int = -1) -> int:
    """Deletes expired documents, at most so many unless `limit` is below 0; returns how many."""
    rows = tx.execute("SELECT document_id FROM documents WHERE expires_at <= ? LIMIT ?", tx.now, limit)
    return document_rows.delete_rows(tx, [row[0] for row in rows])


def has_expired_documents(connection: sqlite3.Connection, now: float) -> bool:
    """Tells whether there are expired documents."""
    return connection.execute("SELECT 1 FROM documents WHERE expires_at <= ? LIMIT 1", (now,)).fetchone() is not None


def delete_chunks(tx: Transaction, chunk_ids: Sequence[str]) -> int:
    """Deletes chunks by identifier; returns how many there were, those that had expired left out."""
    marked = list(dict.fromkeys(chunk_ids))
    live = 0
    for begin in range(0, len(marked), 500):
        part = marked[begin : begin + 500]
        live += tx.connection.execute(
            "SELECT count(*) FROM chunks c LEFT JOIN documents d ON d.document_id = c.document_id"
            f" WHERE c.chunk_id IN ({','.join('?' * len(part))}) AND {chunk_rows.LIVE.replace(':now', '?')}",
            (*part, tx.now, tx.now),
        ).fetchone()[0]
    chunk_rows.remove(tx, "c.chunk_id IN ({})", marked)
    return live
