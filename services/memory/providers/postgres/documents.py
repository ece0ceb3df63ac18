"""Documents: writing them with their chunks and facts, reading, listing and deleting them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caravan.memory.v1 import filters_pb2, memory_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import NotFoundError
from services.memory.providers.postgres import banks, chunk_rows, facets, failures, graph_changes, receipts
from services.memory.providers.postgres.banks import Bank, Change
from services.memory.providers.postgres.chunk_rows import Holder, Owner, Prepared
from services.memory.providers.postgres.chunks import LIVE
from services.memory.providers.postgres.database import Connection, Database
from services.memory.providers.postgres.filters import Parameters, compiled
from services.memory.providers.postgres.text import quoted
from services.memory.records import DocumentRecord, DocumentWrite, Facts, Receipt, Selection

_UPSERT = f"""
    INSERT INTO documents_{{n}} AS d (document_id, revision, recipe, inserted_at, updated_at, expires_at, facts, record, content)
    SELECT u.document_id, 1, u.recipe, $1, $1, u.expires_at, u.facts::jsonb, u.record, u.content
    FROM unnest($2::text[], $3::bytea[], $4::double precision[], $5::text[], $6::bytea[], $7::bytea[])
        AS u(document_id, recipe, expires_at, facts, record, content)
    ORDER BY u.document_id
    ON CONFLICT (document_id) DO UPDATE SET
        revision = CASE WHEN {LIVE.format("d", "$1")} THEN d.revision + 1 ELSE 1 END,
        inserted_at = CASE WHEN {LIVE.format("d", "$1")} THEN d.inserted_at ELSE excluded.inserted_at END,
        recipe = excluded.recipe, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
        facts = excluded.facts, record = excluded.record, content = excluded.content
    RETURNING document_id, revision, inserted_at, xmax = 0 AS added
"""
_CHANGE = f"""
    UPDATE documents_{{n}} d SET revision = d.revision + 1, recipe = u.recipe, updated_at = $1, expires_at = u.expires_at,
        facts = u.facts::jsonb, record = u.record
    FROM unnest($2::text[], $3::bytea[], $4::double precision[], $5::text[], $6::bytea[])
        AS u(document_id, recipe, expires_at, facts, record)
    WHERE d.document_id = u.document_id AND {LIVE.format("d", "$1")}
    RETURNING d.document_id, d.revision, d.inserted_at, false AS added
"""
_FIELDS = "d.document_id, d.revision, d.recipe, d.inserted_at, d.updated_at, d.expires_at, d.record"


@dataclass(frozen=True, slots=True)
class _Ready:
    """One write, made ready."""

    write: DocumentWrite
    name: str
    """Identifier of the document, quoted."""
    expires_at: float | None
    facts: str
    record: bytes
    content: bytes
    chunks: list[Prepared] | None


class Documents:
    """The documents of all banks."""

    def __init__(self, database: Database) -> None:
        """Keeps them in a database."""
        self._database = database

    async def write(
        self, bank: Bank, writes: Sequence[DocumentWrite], receipt: Receipt | None, now: float
    ) -> list[memory_pb2.DocumentResult]:
        """Writes documents with their chunks and facts."""
        ready = await asyncio.to_thread(lambda: [_made_ready(bank, write) for write in writes])

        async def work(connection: Connection) -> list[memory_pb2.DocumentResult]:
            await receipts.claim(connection, bank, receipt, now)
            if bank.is_graph:
                await banks.lock(connection, bank)
                await graph_changes.settle(connection, bank, now)
            rows = await _write_heads(connection, bank, ready, now)
            _check_revisions(ready, rows)
            change = await _write_chunks(connection, bank, ready, rows)
            change.documents = sum(row["added"] for row in rows.values())
            results = [_result(one, rows[one.name]["revision"]) for one in ready]
            await receipts.fill(connection, bank, receipt, results)
            await banks.record(connection, bank, change, now)
            return results

        return await self._database.write(work, bank.spec.bank_id)

    async def get(
        self, bank: Bank, document_ids: Sequence[str], now: float, *, content: bool
    ) -> dict[str, DocumentRecord]:
        """Returns those of the documents that exist, by identifier."""
        more = ", d.content" if content else ""
        statement = bank.sql(
            f"SELECT {_FIELDS}{more} FROM documents_{{n}} d WHERE document_id = ANY ($1) AND {LIVE.format('d', '$2')}"
        )
        names = [quoted(document_id) for document_id in document_ids]
        rows = await self._database.read(lambda connection: connection.fetch(statement, names, now), bank.spec.bank_id)
        records = await asyncio.to_thread(
            lambda: [DocumentRecord(_stored(row), row["recipe"].decode()) for row in rows]
        )
        return {record.document.document_id: record for record in records}

    async def list(
        self, bank: Bank, after: str, limit: int, where: filters_pb2.MetadataFilter | None, now: float
    ) -> list[memory_pb2.StoredDocument]:
        """Returns documents without content in the order of their identifiers."""
        parameters = Parameters(quoted(after), now, limit)
        fits = "true" if where is None else compiled(where, "d", parameters)
        statement = bank.sql(
            f"SELECT {_FIELDS} FROM documents_{{n}} d WHERE document_id > $1 AND {LIVE.format('d', '$2')} AND {fits} "
            "ORDER BY document_id LIMIT $3"
        )
        rows = await self._database.read(
            lambda connection: connection.fetch(statement, *parameters.values), bank.spec.bank_id
        )
        return await asyncio.to_thread(lambda: [_stored(row) for row in rows])

    async def delete(self, bank: Bank, selection: Selection, receipt: Receipt | None, now: float) -> int:
        """Deletes documents with all that belongs to them; returns how many there were."""

        async def work(connection: Connection) -> int:
            await receipts.claim(connection, bank, receipt, now)
            if bank.is_graph:
                await banks.lock(connection, bank)
                await graph_changes.settle(connection, bank, now)
            change, live = await _delete(connection, bank, selection, now)
            await receipts.fill(connection, bank, receipt, live)
            await banks.record(connection, bank, change, now)
            return live

        return await self._database.write(work, bank.spec.bank_id)


async def _delete(connection: Connection, bank: Bank, selection: Selection, now: float) -> tuple[Change, int]:
    """Deletes documents and chunks; returns the change, and how many documents had not expired."""
    names = [quoted(document_id) for document_id in selection.document_ids]
    heads, rest = Parameters(now), Parameters()
    if selection.everything:
        which = "true"
    elif selection.filter is not None:
        which = compiled(selection.filter, "d", heads)
    else:
        which = f"document_id = ANY ({heads.add(names)}::text[])"
    statement = f"DELETE FROM documents_{{n}} d WHERE {which} RETURNING document_id, {LIVE.format('d', '$1')} AS live"
    rows = await connection.fetch(bank.sql(statement), *heads.values)
    deleted = [row["document_id"] for row in rows]
    if selection.filter is not None:
        orphan = "NOT EXISTS (SELECT FROM documents_{n} d WHERE d.document_id = chunks_{n}.document_id)"
        fits = compiled(selection.filter, "chunks_{n}", rest)
        which = f"document_id = ANY ({rest.add(deleted)}::text[]) OR ({fits} AND {orphan})"
    elif not selection.everything:
        which = f"document_id = ANY ({rest.add(names)}::text[])"
    change = Change(documents=-len(rows))
    change.remove(await chunk_rows.delete(connection, bank, which, *rest.values))
    if bank.is_graph:
        await graph_changes.forget(connection, bank, deleted)
    return change, sum(row["live"] for row in rows)


def _made_ready(bank: Bank, write: DocumentWrite) -> _Ready:
    document = memory_pb2.StoredDocument()
    document.CopyFrom(write.document)
    content = document.content.SerializeToString()
    for field in ("content", "revision", "inserted_at", "updated_at"):
        document.ClearField(field)
    expires_at = None
    if document.HasField("expires_at"):
        expires_at = document.expires_at.seconds + document.expires_at.nanos / 1e9
    chunks = None
    if write.batch is not None:
        owner = Owner(document.document_id, document.metadata, document.mime_type)
        chunks = chunk_rows.prepare(bank, write.batch, owner)
    return _Ready(
        write=write,
        name=quoted(document.document_id),
        expires_at=expires_at,
        facts=facets.facts(document.metadata, document.document_id, document.mime_type),
        record=document.SerializeToString(),
        content=content,
        chunks=chunks,
    )


async def _write_heads(connection: Connection, bank: Bank, ready: Sequence[_Ready], now: float) -> dict[str, Any]:
    """Writes the documents' rows, which keeps others from changing these documents; returns them by name."""
    rows: dict[str, Any] = {}
    if whole := [one for one in ready if one.chunks is not None]:
        contents = [one.content for one in whole]
        found = await connection.fetch(bank.sql(_UPSERT), now, *_columns(whole), contents)
        rows.update((row["document_id"], row) for row in found)
    if changed := [one for one in ready if one.chunks is None]:
        found = await connection.fetch(bank.sql(_CHANGE), now, *_columns(changed))
        rows.update((row["document_id"], row) for row in found)
    return rows


def _columns(ready: Sequence[_Ready]) -> tuple[list[Any], ...]:
    return (
        [one.name for one in ready],
        [one.write.recipe.encode() for one in ready],
        [one.expires_at for one in ready],
        [one.facts for one in ready],
        [one.record for one in ready],
    )


def _check_revisions(ready: Sequence[_Ready], rows: dict[str, Any]) -> None:
    for one in ready:
        row, name = rows.get(one.name), one.write.document.document_id
        current = 0 if row is None else row["revision"] - 1
        expected = one.write.expected_revision
        if row is None and not expected:
            raise NotFoundError(
                f"there is no document {name!r} to change; insert it with its content",
                resource_type="document",
                resource_name=name,
                reason="DOCUMENT_NOT_FOUND",
            )
        if expected is not None and current != expected:
            raise failures.stale_revision(f"document {name!r}", current, {"document_id": name})


async def _write_chunks(connection: Connection, bank: Bank, ready: Sequence[_Ready], rows: dict[str, Any]) -> Change:
    whole = [one for one in ready if one.chunks is not None]
    chunks, places = chunk_rows.distinct([one.chunks or [] for one in whole])
    change = Change()
    if whole:
        which = "document_id = ANY ($1) OR chunk_id = ANY ($2)"
        names, chunk_ids = [one.name for one in whole], [chunk.chunk_id for chunk in chunks]
        gone = await chunk_rows.delete(connection, bank, which, names, chunk_ids)
        holders = {one.name: Holder(rows[one.name]["inserted_at"], one.expires_at) for one in whole}
        keys, change = await chunk_rows.insert(connection, bank, chunks, holders.__getitem__)
        change.remove(gone)
    else:
        keys = []
    await _refresh_chunks(connection, bank, [one for one in ready if one.chunks is None])
    if bank.is_graph:
        mentions = [_mentions(one, keys, places[at]) for at, one in enumerate(whole)]
        told = [(one.name, one.write.facts or Facts(), mentions[at]) for at, one in enumerate(whole)]
        told += [(one.name, one.write.facts, []) for one in ready if one.chunks is None and one.write.facts is not None]
        await graph_changes.retell(connection, bank, told)
    return change


async def _refresh_chunks(connection: Connection, bank: Bank, changed: Sequence[_Ready]) -> None:
    """Brings the facts and the life of chunks that stay to those of their changed documents."""
    if not changed:
        return
    await connection.execute(
        bank.sql(
            "UPDATE chunks_{n} c SET facts = u.facts::jsonb, expires_at = u.expires_at "
            "FROM unnest($1::text[], $2::text[], $3::double precision[]) AS u(document_id, facts, expires_at) "
            "WHERE c.document_id = u.document_id AND NOT c.alone"
        ),
        [one.name for one in changed],
        [one.facts for one in changed],
        [one.expires_at for one in changed],
    )
    documents = {one.name: one for one in changed}
    alone = await connection.fetch(
        bank.sql(
            "SELECT c.key, c.document_id, t.body FROM chunks_{n} c JOIN texts_{n} t USING (key) WHERE c.alone AND c.document_id = ANY ($1)"
        ),
        list(documents),
    )
    if alone:
        facts = [
            chunk_rows.facts_of(row["body"], documents[row["document_id"]].write.document.metadata) for row in alone
        ]
        await connection.execute(
            bank.sql(
                "UPDATE chunks_{n} c SET facts = u.facts::jsonb, expires_at = least(c.own_expiry, u.expires_at) "
                "FROM unnest($1::bigint[], $2::text[], $3::double precision[]) AS u(key, facts, expires_at) WHERE c.key = u.key"
            ),
            [row["key"] for row in alone],
            facts,
            [documents[row["document_id"]].expires_at for row in alone],
        )


def _mentions(one: _Ready, keys: Sequence[int], places: dict[int, int]) -> list[tuple[int, str]]:
    """Which of the document's chunks, by key, tells of which entity."""
    mentions = one.write.facts.mentions if one.write.facts is not None else ()
    return [(keys[places[at]], entity) for at, entity in mentions if at in places]


def _result(one: _Ready, revision: int) -> memory_pb2.DocumentResult:
    new = revision == 1
    return memory_pb2.DocumentResult(
        document_id=one.write.document.document_id,
        outcome=memory_pb2.DOCUMENT_OUTCOME_INSERTED if new else memory_pb2.DOCUMENT_OUTCOME_UPDATED,
        chunk_count=one.write.document.chunk_count,
        revision=revision,
    )


def _stored(row: Any) -> memory_pb2.StoredDocument:
    document = memory_pb2.StoredDocument.FromString(row["record"])
    document.revision = row["revision"]
    document.inserted_at.FromMicroseconds(round(row["inserted_at"] * 1_000_000))
    document.updated_at.FromMicroseconds(round(row["updated_at"] * 1_000_000))
    content = row.get("content")
    if content is not None:
        document.content.CopyFrom(types_pb2.InterleavedContent.FromString(content))
    return document
