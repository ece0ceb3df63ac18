"""Chunks in the database."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from google.protobuf import struct_pb2
from numpy.typing import NDArray

from caravan.memory.v1 import memory_pb2, query_pb2
from services.memory.content import text_of
from services.memory.filters import Scalar, Subject, instant
from services.memory.providers.embedded.index import Facets, NewChunks
from services.memory.providers.embedded.transaction import Totals, Transaction, micros, rows_of
from services.memory.records import ChunkBatch

_METADATA_FIELD = query_pb2.Chunk.DESCRIPTOR.fields_by_name["metadata"].number
_LARGEST_HALF = 60_000.0
_SMALLEST_HALF = 1e-2

# What has expired: the chunk, or the document that it belongs to.
LIVE = "(c.expires_at IS NULL OR c.expires_at > :now) AND (d.expires_at IS NULL OR d.expires_at > :now)"


def insert(
    tx: Transaction, batches: Sequence[ChunkBatch], *, own: bool, expires_at: float | None
) -> list[list[int | None]]:
    """Inserts chunks, in the place of those that have their identifiers; `tx.changes.added` is left to the caller.

    Args:
        tx: The write.
        batches: The chunks; of two with one identifier the later stays.
        own: Whether they are documents' own cutting.
        expires_at: When those that are not go.

    Returns:
        Their keys, by batch; None for those that have made way for a later one.
    """
    last = {chunk.chunk_id: (at, place) for at, batch in enumerate(batches) for place, chunk in enumerate(batch.chunks)}
    remove(tx, "c.chunk_id IN ({})", list(last))
    kept = [
        [place for place, chunk in enumerate(batch.chunks) if last[chunk.chunk_id] == (at, place)]
        for at, batch in enumerate(batches)
    ]
    keys = tx.new_keys(sum(map(len, kept)))
    chunks = [batch.chunks[place] for batch, places in zip(batches, kept, strict=True) for place in places]
    vectors = [
        batch.vectors[places] if len(places) < len(batch.chunks) else batch.vectors
        for batch, places in zip(batches, kept, strict=True)
        if batch.vectors is not None
    ]
    tx.stage(keys, vectors, [text_of(chunk.content) for chunk in chunks])
    tx.connection.executemany(
        "INSERT INTO chunks (key, chunk_id, document_id, own, tokens, inserted_at, expires_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                key,
                chunk.chunk_id,
                chunk.document_id,
                own,
                chunk.token_count,
                tx.now,
                expires_at,
                chunk.SerializeToString(),
            )
            for key, chunk in zip(keys, chunks, strict=True)
        ),
    )
    if vectors:
        packed = (blob for part in vectors for blob in _packed(part))
        tx.connection.executemany("INSERT INTO vectors (key, vector) VALUES (?, ?)", zip(keys, packed, strict=True))
    tx.totals += Totals(chunks=len(chunks), tokens=sum(chunk.token_count for chunk in chunks))
    numbers = iter(keys)
    by_batch: list[list[int | None]] = []
    for batch, places in zip(batches, kept, strict=True):
        given: list[int | None] = [None] * len(batch.chunks)
        for place in places:
            given[place] = next(numbers)
        by_batch.append(given)
    return by_batch


def insert_free(tx: Transaction, batch: ChunkBatch, expires_at: float | None) -> None:
    """Inserts chunks that stand for themselves."""
    ids = sorted({chunk.document_id for chunk in batch.chunks})
    documents = {
        document_id: (metadata, expiry)
        for document_id, metadata, expiry in rows_of(
            tx.connection, "SELECT document_id, metadata, expires_at FROM documents WHERE document_id IN ({})", ids
        )
    }
    (keys,) = insert(tx, [batch], own=False, expires_at=expires_at)
    for key, chunk in zip(keys, batch.chunks, strict=True):
        if key is None:
            continue
        metadata, expiry = documents.get(chunk.document_id, (b"", None))
        merged = with_own(metadata, chunk.metadata)
        facets = Facets(own_fields(chunk.document_id, "", tx.now), merged, _earlier(expires_at, expiry))
        tx.changes.added.append(NewChunks([key], facets))


def remove(tx: Transaction, condition: str, values: Sequence[Any]) -> int:
    """Deletes chunks, with what mentions entities in them; returns how many.

    Args:
        tx: The write.
        condition: Which, over `chunks` as `c`, with `{}` for the values.
        values: The values.
    """
    found = list(rows_of(tx.connection, f"SELECT c.key, c.tokens FROM chunks c WHERE {condition}", values))
    keys = [key for key, _ in found]
    for table, column in (("chunks", "key"), ("vectors", "key"), ("mentions", "chunk")):
        for _ in rows_of(tx.connection, f"DELETE FROM {table} WHERE {column} IN ({{}})", keys):
            pass
    tx.changes.removed += keys
    tx.totals += Totals(chunks=-len(keys), tokens=-sum(tokens for _, tokens in found))
    return len(keys)


def get(
    connection: sqlite3.Connection, keys: Sequence[int], now: float, *, embeddings: bool
) -> dict[int, query_pb2.Chunk]:
    """Returns chunks by key, as hits show them."""
    vector = "v.vector" if embeddings else "NULL"
    join = "LEFT JOIN vectors v ON v.key = c.key" if embeddings else ""
    live = LIVE.replace(":now", "?")
    statement = (
        f"SELECT c.key, c.body, d.metadata, {vector} FROM chunks c LEFT JOIN documents d ON d.document_id = c.document_id {join}"
        f" WHERE c.key IN ({{}}) AND {live}"
    )
    found = {}
    for key, body, metadata, blob in rows_of(connection, statement, keys, now, now):
        # Fields of a message may come twice; what comes later is merged over what came before.
        chunk = query_pb2.Chunk.FromString((_metadata_first(metadata) if metadata else b"") + body)
        if blob is not None:
            chunk.embedding.extend(unpacked(blob).tolist())
        found[key] = chunk
    return found


def texts(connection: sqlite3.Connection, keys: Sequence[int]) -> dict[int, str]:
    """Returns the texts of chunks by key."""
    found = rows_of(connection, "SELECT key, body FROM chunks WHERE key IN ({})", keys)
    return {key: text_of(query_pb2.Chunk.FromString(body).content) for key, body in found}


def facets_after(
    connection: sqlite3.Connection, after: int, *, only: Sequence[str] | None = None
) -> Iterator[NewChunks]:
    """Reads what filters see of chunks with keys greater than `after`, or of those of some documents, in the order of keys."""
    statement = (
        "SELECT c.key, c.document_id, c.own, c.inserted_at, c.expires_at, CASE WHEN c.own THEN NULL ELSE c.body END, d.head, d.metadata,"
        " d.inserted_at, d.expires_at FROM chunks c LEFT JOIN documents d ON d.document_id = c.document_id WHERE {} ORDER BY c.key"
    )
    rows = (
        connection.execute(statement.format("c.key > ?"), (after,))
        if only is None
        else rows_of(connection, statement.replace("{}", "c.document_id IN ({})"), only)
    )
    # A document's own chunks are alike, and mostly follow each other.
    for _, alike in groupby(enumerate(rows), key=lambda row: (row[1][1] if row[1][2] else None, row[1][0] - row[0])):
        group = [row for _, row in alike]
        if group[0][2]:
            yield NewChunks([row[0] for row in group], _facets(group[0]))
        else:
            yield from (NewChunks([row[0]], _facets(row)) for row in group)


def _facets(row: Sequence[Any]) -> Facets:
    _, document_id, own, inserted_at, expires_at, body, head, metadata, document_inserted_at, document_expires_at = row
    if own:
        mime_type = memory_pb2.StoredDocument.FromString(head).mime_type
        merged = struct_pb2.Struct.FromString(metadata)
        return Facets(own_fields(document_id, mime_type, document_inserted_at), merged, document_expires_at)
    chunk = query_pb2.Chunk.FromString(body)
    merged = with_own(metadata or b"", chunk.metadata)
    return Facets(own_fields(document_id, "", inserted_at), merged, _earlier(expires_at, document_expires_at))


def free_subjects(connection: sqlite3.Connection, now: float) -> Iterator[tuple[int, Subject]]:
    """Reads the chunks without a document: key, and what filters see of it."""
    rows = connection.execute(
        "SELECT c.key, c.document_id, c.inserted_at, c.body FROM chunks c LEFT JOIN documents d ON d.document_id = c.document_id"
        " WHERE c.own = 0 AND d.document_id IS NULL AND (c.expires_at IS NULL OR c.expires_at > ?)",
        (now,),
    )
    for key, document_id, inserted_at, body in rows:
        yield key, Subject(document_id, "", inserted_at, query_pb2.Chunk.FromString(body).metadata)


def own_fields(document_id: str, mime_type: str, inserted_at: float) -> Mapping[str, Scalar]:
    """Returns what filters see under the names of a document's own fields."""
    fields: dict[str, Scalar] = {"document_id": _text(document_id), "inserted_at": ("time", micros(inserted_at))}
    if mime_type:
        fields["mime_type"] = _text(mime_type)
    return fields


def _text(text: str) -> Scalar:
    moment = instant(text)
    return ("text", text) if moment is None else ("time", moment)


def with_own(metadata: bytes, own: struct_pb2.Struct) -> struct_pb2.Struct:
    """Returns a document's metadata with a chunk's own over them."""
    return struct_pb2.Struct.FromString(metadata + own.SerializeToString())


def _earlier(first: float | None, second: float | None) -> float | None:
    times = [moment for moment in (first, second) if moment is not None]
    return min(times) if times else None


def _metadata_first(metadata: bytes) -> bytes:
    """Encodes metadata as a chunk's field."""
    length, encoded = len(metadata), bytearray([_METADATA_FIELD << 3 | 2])
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + metadata


def _packed(vectors: NDArray[np.float32]) -> Iterator[bytes]:
    """Encodes vectors, in half precision where it can hold them."""
    largest = np.abs(vectors).max(axis=1, initial=0)
    fits = (largest <= _LARGEST_HALF) & (largest >= _SMALLEST_HALF)
    half = np.where(fits[:, None], vectors, 0).astype("<f2")
    for row, (short, is_short) in enumerate(zip(half, fits.tolist(), strict=True)):
        yield short.tobytes() if is_short else vectors[row].astype("<f4").tobytes() + b"\0"


def unpacked(blob: bytes) -> NDArray[np.float32]:
    """Decodes a vector."""
    if len(blob) % 2:
        return np.frombuffer(blob[:-1], "<f4").astype(np.float32)
    return np.frombuffer(blob, "<f2").astype(np.float32)
