"""The rows of chunks: made ready off the event loop, written by COPY, and deleted with all that belongs to them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import struct_pb2

from caravan.memory.v1 import query_pb2
from services.memory import analysis
from services.memory.content import text_of
from services.memory.providers.postgres import copying, facets, vectors, words
from services.memory.providers.postgres.banks import Bank, Change
from services.memory.providers.postgres.database import Connection
from services.memory.providers.postgres.text import quoted
from services.memory.records import ChunkBatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK_COLUMNS = (
    "key",
    "chunk_id",
    "document_id",
    "alone",
    "inserted_at",
    "own_expiry",
    "expires_at",
    "tokens",
    "words",
    "facts",
)


@dataclass(frozen=True, slots=True)
class Owner:
    """The document that chunks are written with, as far as it is known before the transaction."""

    document_id: str
    metadata: struct_pb2.Struct
    mime_type: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """One chunk, ready but for what the transaction tells."""

    chunk_id: str
    """Its identifier, quoted."""
    document_id: str
    """Its document's, quoted."""
    alone: bool
    """It stands for itself."""
    own_expiry: float | None
    tokens: int
    lexemes: bytes
    """Its words as a `tsvector`."""
    length: int
    """Number of its words."""
    body: bytes
    facts: bytes
    vector: tuple[float, bytes] | None
    """Its length, and the vector as it is kept."""


def prepare(bank: Bank, batch: ChunkBatch, owner: Owner | None, expires_at: float | None = None) -> list[Prepared]:
    """Makes chunks ready, which takes a while: call it in a thread.

    Args:
        bank: The bank.
        batch: The chunks.
        owner: Their document. None: they stand for themselves.
        expires_at: When they expire, without a document.
    """
    embedded = _vectors(bank, batch.vectors)
    shared = None if owner is None else copying.jsonb(facets.facts(owner.metadata, owner.document_id, owner.mime_type))
    language = analysis.language(bank.spec.language)
    prepared = []
    for at, chunk in enumerate(batch.chunks):
        lexemes, length = words.vector(text_of(chunk.content), language)
        prepared.append(
            Prepared(
                chunk_id=quoted(chunk.chunk_id),
                document_id=quoted(chunk.document_id if owner is None else owner.document_id),
                alone=owner is None,
                own_expiry=expires_at if owner is None else None,
                tokens=chunk.token_count,
                lexemes=lexemes,
                length=length,
                body=chunk.SerializeToString(),
                facts=shared or copying.jsonb(facets.facts(chunk.metadata, chunk.document_id, "")),
                vector=None if embedded is None else embedded[at],
            )
        )
    return prepared


def distinct(batches: Sequence[Sequence[Prepared]]) -> tuple[list[Prepared], list[dict[int, int]]]:
    """Returns the chunks of all batches, of two with one identifier the later, and each batch's places among them."""
    last = {chunk.chunk_id: (number, at) for number, batch in enumerate(batches) for at, chunk in enumerate(batch)}
    chunks: list[Prepared] = []
    places: list[dict[int, int]] = [{} for _ in batches]
    for number, batch in enumerate(batches):
        for at, chunk in enumerate(batch):
            if last[chunk.chunk_id] == (number, at):
                places[number][at] = len(chunks)
                chunks.append(chunk)
    return chunks, places


def _vectors(bank: Bank, given: "NDArray[np.float32] | None") -> list[tuple[float, bytes]] | None:
    if given is None or bank.space is None:
        return None
    norms: Sequence[float] = [1.0] * len(given)
    if bank.space.cosine and len(given):
        given, measured = vectors.normalized(given)
        norms = measured.tolist()
    return [(norm, vectors.encoded(vector)) for norm, vector in zip(norms, given, strict=True)]


@dataclass(frozen=True, slots=True)
class Holder:
    """What the document of a chunk, as it is in the transaction, makes of the chunk."""

    inserted_at: float
    expires_at: float | None
    metadata: struct_pb2.Struct | None = None
    """The document's metadata, for chunks that stand for themselves. None: the facts are made already."""


async def insert(
    connection: Connection,
    bank: Bank,
    chunks: Sequence[Prepared],
    holder_of: Callable[[str], Holder],
) -> tuple[list[int], Change]:
    """Writes chunks; those they replace must be gone.

    Args:
        connection: A connection in a transaction.
        bank: The bank.
        chunks: The chunks, each identifier once.
        holder_of: Tells about the document with a quoted identifier.

    Returns:
        The chunks' keys, and what they add to the bank.
    """
    if not chunks:
        return [], Change()
    keys = await connection.fetchval("SELECT array_agg(nextval('chunk_keys')) FROM generate_series(1, $1)", len(chunks))
    streams, change = await asyncio.to_thread(_streams, chunks, holder_of, keys)
    for table, (columns, stream) in streams.items():
        await connection.copy_to_table(bank.sql(table), source=copying.sliced(stream), columns=columns, format="binary")
    # Words go into the index together, each once, which takes half the time of one chunk after the other; searches find nothing pending.
    await connection.execute(bank.sql("SELECT gin_clean_pending_list('texts_{n}_words')"))
    return keys, change


def _streams(
    chunks: Sequence[Prepared],
    holder_of: Callable[[str], Holder],
    keys: Sequence[int],
) -> tuple[dict[str, tuple[Sequence[str], bytes]], Change]:
    """Returns for each table its columns and rows."""
    heads, texts, embeddings = [], [], []
    change = Change(chunks=len(keys))
    for key, chunk in zip(keys, chunks, strict=True):
        holder = holder_of(chunk.document_id)
        expiries = [time for time in (chunk.own_expiry, holder.expires_at) if time is not None]
        heads.append(
            (
                copying.int8(key),
                copying.text(chunk.chunk_id),
                copying.text(chunk.document_id),
                copying.boolean(chunk.alone),
                copying.float8(holder.inserted_at),
                copying.float8(chunk.own_expiry),
                copying.float8(min(expiries, default=None)),
                copying.int4(chunk.tokens),
                copying.int4(chunk.length),
                chunk.facts if holder.metadata is None else copying.jsonb(facts_of(chunk.body, holder.metadata)),
            )
        )
        texts.append(
            (copying.int8(key), copying.int4(chunk.length), copying.raw(chunk.lexemes), copying.raw(chunk.body))
        )
        if chunk.vector is not None:
            norm, vector = chunk.vector
            embeddings.append((copying.int8(key), copying.float8(norm), copying.raw(vector)))
        change.tokens += chunk.tokens
        change.words += chunk.length
    streams: dict[str, tuple[Sequence[str], bytes]] = {
        "chunks_{n}": (_CHUNK_COLUMNS, copying.rows(heads)),
        "texts_{n}": (("key", "length", "words", "body"), copying.rows(texts)),
    }
    if embeddings:
        streams["vectors_{n}"] = (("key", "norm", "embedding"), copying.rows(embeddings))
    return streams, change


def facts_of(body: bytes, document: struct_pb2.Struct) -> str:
    """Returns the facts of a chunk that stands for itself under a document.

    Args:
        body: The chunk, serialized.
        document: The document's metadata.
    """
    chunk = query_pb2.Chunk.FromString(body)
    return facets.facts(facets.merged(document, chunk.metadata), chunk.document_id, "")


async def delete(connection: Connection, bank: Bank, which: str, *parameters: Any) -> Any:
    """Deletes chunks with all that belongs to them.

    Args:
        connection: A connection in a transaction.
        bank: The bank.
        which: Condition on `chunks_{n}`.
        parameters: The condition's.

    Returns:
        A row with their number, tokens and words.
    """
    also = ["texts_{n}"] + (["vectors_{n}"] if bank.space is not None else [])
    parts = [f"{table} AS (DELETE FROM {table} p USING gone WHERE p.key = gone.key)" for table in also]
    if bank.is_graph:
        parts.append("mentions AS (DELETE FROM mentions_{n} m USING gone WHERE m.chunk = gone.key)")
    return await connection.fetchrow(
        bank.sql(
            f"WITH gone AS (DELETE FROM chunks_{{n}} WHERE {which} RETURNING key, tokens, words), {', '.join(parts)} "
            "SELECT count(*) AS chunks, coalesce(sum(tokens), 0)::bigint AS tokens, coalesce(sum(words), 0)::bigint AS words FROM gone"
        ),
        *parameters,
    )
