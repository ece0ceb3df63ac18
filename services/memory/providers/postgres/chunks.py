"""Chunks that stand for themselves, and reading chunks."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from caravan.memory.v1 import memory_pb2, query_pb2
from services.memory.providers.postgres import banks, facets, receipts
from services.memory.providers.postgres.banks import Bank, Change
from services.memory.providers.postgres.chunk_rows import Holder, delete, distinct, insert, prepare
from services.memory.providers.postgres.database import Connection, Database
from services.memory.providers.postgres.text import quoted
from services.memory.records import ChunkBatch, Receipt

LIVE = "({0}.expires_at IS NULL OR {0}.expires_at > {1})"
"""What has not expired: the table, and the parameter with the present time."""
_FEW = 16
"""Chunks that are read on the event loop; more take a thread."""


class Chunks:
    """The chunks of all banks."""

    def __init__(self, database: Database) -> None:
        """Keeps them in a database."""
        self._database = database

    async def insert(
        self, bank: Bank, batch: ChunkBatch, expires_at: float | None, receipt: Receipt | None, now: float
    ) -> None:
        """Inserts chunks that stand for themselves."""
        prepared = await asyncio.to_thread(prepare, bank, batch, None, expires_at)
        chunks, _ = distinct([prepared])

        async def work(connection: Connection) -> None:
            await receipts.claim(connection, bank, receipt, now)
            if bank.is_graph:
                await banks.lock(connection, bank)
            holders = await _holders(connection, bank, {chunk.document_id for chunk in chunks}, now)
            gone = await delete(connection, bank, "chunk_id = ANY ($1)", [chunk.chunk_id for chunk in chunks])
            alone = Holder(now, None)
            _, change = await insert(connection, bank, chunks, lambda name: holders.get(name, alone))
            change.remove(gone)
            await receipts.fill(connection, bank, receipt, None)
            await banks.record(connection, bank, change, now)

        await self._database.write(work, bank.spec.bank_id)

    async def delete(self, bank: Bank, chunk_ids: Sequence[str], receipt: Receipt | None, now: float) -> int:
        """Deletes chunks by identifier; returns how many there were."""
        names = [quoted(chunk_id) for chunk_id in chunk_ids]

        async def work(connection: Connection) -> int:
            await receipts.claim(connection, bank, receipt, now)
            if bank.is_graph:
                await banks.lock(connection, bank)
            change = Change()
            change.remove(await delete(connection, bank, "chunk_id = ANY ($1) AND expires_at <= $2", names, now))
            gone = await delete(connection, bank, "chunk_id = ANY ($1)", names)
            change.remove(gone)
            await receipts.fill(connection, bank, receipt, gone["chunks"])
            await banks.record(connection, bank, change, now)
            return int(gone["chunks"])

        return await self._database.write(work, bank.spec.bank_id)

    async def get(self, bank: Bank, keys: Sequence[int], now: float, *, embeddings: bool) -> dict[int, query_pb2.Chunk]:
        """Returns those of the chunks that still exist, by key, as hits show them."""
        wanted = embeddings and bank.space is not None
        statement = bank.sql(
            f"SELECT c.key, t.body, d.record{', v.norm, v.embedding' if wanted else ''} "
            "FROM chunks_{n} c JOIN texts_{n} t ON t.key = c.key "
            + ("LEFT JOIN vectors_{n} v ON v.key = c.key " if wanted else "")
            + "LEFT JOIN documents_{n} d ON d.document_id = c.document_id AND "
            + f"{LIVE.format('d', '$2')} WHERE c.key = ANY ($1) AND {LIVE.format('c', '$2')}"
        )
        rows = await self._database.read(lambda connection: connection.fetch(statement, keys, now), bank.spec.bank_id)
        return _shown(rows) if len(rows) <= _FEW else await asyncio.to_thread(_shown, rows)


async def _holders(connection: Connection, bank: Bank, names: Iterable[str], now: float) -> dict[str, Holder]:
    """Returns the documents that chunks come under, and keeps them from changing until the chunks are there."""
    rows = await connection.fetch(
        bank.sql(
            "SELECT document_id, expires_at, record FROM documents_{n} d WHERE document_id = ANY ($1) AND "
            f"{LIVE.format('d', '$2')} ORDER BY document_id FOR SHARE"
        ),
        list(names),
        now,
    )
    return {
        row["document_id"]: Holder(now, row["expires_at"], memory_pb2.StoredDocument.FromString(row["record"]).metadata)
        for row in rows
    }


def _shown(rows: Sequence[Any]) -> dict[int, query_pb2.Chunk]:
    found = {}
    for row in rows:
        chunk = query_pb2.Chunk.FromString(row["body"])
        if row["record"] is not None:
            document = memory_pb2.StoredDocument.FromString(row["record"])
            chunk.metadata.CopyFrom(facets.merged(document.metadata, chunk.metadata))
        if row.get("embedding") is not None:
            chunk.embedding.extend((row["embedding"] * row["norm"]).tolist())
        found[row["key"]] = chunk
    return found
