"""Documents in the database."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf import struct_pb2

from caravan.memory.v1 import filters_pb2, memory_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import AbortedError, NotFoundError
from services.memory.filters import Subject, fits
from services.memory.providers.embedded import chunk_rows, graph_rows
from services.memory.providers.embedded.chunk_rows import own_fields
from services.memory.providers.embedded.index import Facets, NewChunks
from services.memory.providers.embedded.transaction import Totals, Transaction, rows_of, seconds, timestamp
from services.memory.records import ChunkBatch, DocumentRecord, DocumentWrite, Selection

_LIVE = "(expires_at IS NULL OR expires_at > ?)"
_COLUMNS = "document_id, head, metadata, recipe, revision, inserted_at, updated_at"


def write(tx: Transaction, writes: Sequence[DocumentWrite], *, graph: bool) -> list[memory_pb2.DocumentResult]:
    """Writes documents with their chunks and facts; see `Store.write_documents`."""
    ids = [one.document.document_id for one in writes]
    drop_expired(tx, ids)
    before = {
        document_id: (revision, inserted_at)
        for document_id, revision, inserted_at in rows_of(
            tx.connection, "SELECT document_id, revision, inserted_at FROM documents WHERE document_id IN ({})", ids
        )
    }
    for one in writes:
        _check(one, before.get(one.document.document_id, (0, 0.0))[0])
    whole = [one for one in writes if one.batch is not None]
    replaced = [one.document.document_id for one in whole]
    chunk_rows.remove(tx, "c.document_id IN ({})", replaced)
    if graph:
        told_anew = [one.document.document_id for one in writes if one.batch is not None or one.facts is not None]
        graph_rows.forget(tx, told_anew)
    results = []
    for one in writes:
        revision, inserted_at = before.get(one.document.document_id, (0, tx.now))
        _put(tx, one, revision + 1, inserted_at)
        outcome = memory_pb2.DOCUMENT_OUTCOME_UPDATED if revision else memory_pb2.DOCUMENT_OUTCOME_INSERTED
        results.append(
            memory_pb2.DocumentResult(
                document_id=one.document.document_id,
                outcome=outcome,
                chunk_count=one.document.chunk_count,
                revision=revision + 1,
            )
        )
    _put_chunks(tx, whole, {key: inserted_at for key, (_, inserted_at) in before.items()}, graph=graph)
    _alter(tx, [one.document.document_id for one in writes if one.batch is None])
    if graph:
        for one in writes:
            if one.facts is not None and one.batch is None:
                graph_rows.tell(tx, one.facts, one.document.document_id, ())
    tx.totals += Totals(documents=len(writes) - len(before))
    return results


def _check(one: DocumentWrite, revision: int) -> None:
    document_id = one.document.document_id
    if one.expected_revision is not None and one.expected_revision != revision:
        state = f"is at revision {revision}" if revision else "does not exist"
        message = f"document {document_id!r} {state}, not at {one.expected_revision}: read it again"
        metadata = {"document_id": document_id, "revision": str(revision)}
        raise AbortedError(message, reason="STALE_REVISION", metadata=metadata)
    if one.batch is None and not revision:
        message = f"there is no document {document_id!r}"
        raise NotFoundError(message, resource_type="document", resource_name=document_id, reason="DOCUMENT_NOT_FOUND")


def _put(tx: Transaction, one: DocumentWrite, revision: int, inserted_at: float) -> None:
    head = memory_pb2.StoredDocument()
    head.CopyFrom(one.document)
    metadata = one.document.metadata.SerializeToString()
    for name in ("content", "metadata", "revision", "inserted_at", "updated_at"):
        head.ClearField(name)
    expires_at = seconds(one.document.expires_at) if one.document.HasField("expires_at") else None
    tx.execute(
        f"INSERT OR REPLACE INTO documents ({_COLUMNS}, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        head.document_id,
        head.SerializeToString(),
        metadata,
        one.recipe,
        revision,
        inserted_at,
        tx.now,
        expires_at,
    )
    if one.batch is not None:
        content = one.document.content.SerializeToString()
        tx.execute("INSERT OR REPLACE INTO contents (document_id, content) VALUES (?, ?)", head.document_id, content)


def _put_chunks(tx: Transaction, writes: Sequence[DocumentWrite], inserted: dict[str, float], *, graph: bool) -> None:
    batches = [one.batch if one.batch is not None else ChunkBatch(()) for one in writes]
    for one, keys in zip(writes, chunk_rows.insert(tx, batches, own=True, expires_at=None), strict=True):
        document = one.document
        there = [key for key in keys if key is not None]
        if there:
            own = own_fields(document.document_id, document.mime_type, inserted.get(document.document_id, tx.now))
            expires_at = seconds(document.expires_at) if document.HasField("expires_at") else None
            tx.changes.added.append(NewChunks(there, Facets(own, document.metadata, expires_at)))
        if graph and one.facts is not None:
            graph_rows.tell(tx, one.facts, document.document_id, keys)


def _alter(tx: Transaction, document_ids: Sequence[str]) -> None:
    """Tells the index what filters see of chunks that have stayed while their documents changed."""
    tx.changes.altered_documents += document_ids
    for group in chunk_rows.facets_after(tx.connection, 0, only=document_ids):
        tx.changes.altered.append((group.keys, group.facets))


def drop_expired(tx: Transaction, document_ids: Sequence[str]) -> None:
    """Deletes those of some documents that have expired, so that they are as absent as they look."""
    rows = rows_of(
        tx.connection,
        "SELECT document_id FROM documents WHERE document_id IN ({}) AND expires_at <= ?",
        document_ids,
        tx.now,
    )
    delete_rows(tx, [row[0] for row in rows])


def delete_rows(tx: Transaction, document_ids: Sequence[str]) -> int:
    """Deletes documents and all chunks with their identifiers; returns how many documents there were."""
    chunk_rows.remove(tx, "c.document_id IN ({})", document_ids)
    graph_rows.forget(tx, document_ids)
    there = sum(1 for _ in rows_of(tx.connection, "SELECT 1 FROM documents WHERE document_id IN ({})", document_ids))
    for table in ("documents", "contents"):
        for _ in rows_of(tx.connection, f"DELETE FROM {table} WHERE document_id IN ({{}})", document_ids):
            pass
    tx.totals += Totals(documents=-there)
    return there


def delete(tx: Transaction, selection: Selection) -> int:
    """Deletes the selected documents; see `Store.delete_documents`."""
    if selection.everything:
        ids = [row[0] for row in tx.execute("SELECT document_id FROM documents")]
        expired = tx.execute("SELECT count(*) FROM documents WHERE expires_at <= ?", tx.now).fetchone()[0]
        count = delete_rows(tx, ids) - expired
        chunk_rows.remove(tx, "c.key > ({})", [0])
        return int(count)
    if selection.filter is not None:
        condition = selection.filter
        ids = [row[0] for row in _rows(tx.connection, "", tx.now) if fits(condition, _subject(row))]
        free = [key for key, subject in chunk_rows.free_subjects(tx.connection, tx.now) if fits(condition, subject)]
        chunk_rows.remove(tx, "c.key IN ({})", free)
        return delete_rows(tx, ids)
    drop_expired(tx, selection.document_ids)
    return delete_rows(tx, list(dict.fromkeys(selection.document_ids)))


def get(
    connection: sqlite3.Connection, document_ids: Sequence[str], now: float, *, content: bool
) -> dict[str, DocumentRecord]:
    """Returns documents by identifier."""
    statement = f"SELECT {_COLUMNS} FROM documents WHERE document_id IN ({{}}) AND {_LIVE}"
    found = {row[0]: _record(row) for row in rows_of(connection, statement, document_ids, now)}
    if content:
        contents = rows_of(
            connection, "SELECT document_id, content FROM contents WHERE document_id IN ({})", list(found)
        )
        for document_id, blob in contents:
            found[document_id].document.content.CopyFrom(types_pb2.InterleavedContent.FromString(blob))
    return found


def page(
    connection: sqlite3.Connection, after: str, limit: int, where: filters_pb2.MetadataFilter | None, now: float
) -> list[memory_pb2.StoredDocument]:
    """Returns documents in the order of their identifiers; see `Store.list_documents`."""
    found: list[memory_pb2.StoredDocument] = []
    for row in _rows(connection, after, now):
        if len(found) == limit:
            break
        if where is None or fits(where, _subject(row)):
            found.append(_record(row).document)
    return found


def _rows(connection: sqlite3.Connection, after: str, now: float) -> Iterator[Sequence[Any]]:
    statement = f"SELECT {_COLUMNS} FROM documents WHERE document_id > ? AND {_LIVE} ORDER BY document_id"
    yield from connection.execute(statement, (after, now))


def _subject(row: Sequence[Any]) -> Subject:
    document_id, head, metadata, _, _, inserted_at, _ = row
    mime_type = memory_pb2.StoredDocument.FromString(head).mime_type
    return Subject(document_id, mime_type, inserted_at, struct_pb2.Struct.FromString(metadata))


def _record(row: Sequence[Any]) -> DocumentRecord:
    _, head, metadata, recipe, revision, inserted_at, updated_at = row
    document = memory_pb2.StoredDocument.FromString(head)
    document.revision = revision
    if metadata:
        document.metadata.ParseFromString(metadata)
    document.inserted_at.CopyFrom(timestamp(inserted_at))
    document.updated_at.CopyFrom(timestamp(updated_at))
    return DocumentRecord(document, recipe)
