"""Chunks that clients cut, and maybe embed, by themselves."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caravan.memory.v1 import query_pb2, vector_io_pb2
from services.core.errors import InvalidArgumentError
from services.memory import content
from services.memory.banks import Bank
from services.memory.checks import check_metadata, check_name, check_unique
from services.memory.idempotency import Once
from services.memory.ports import Embedder, Store
from services.memory.preparation import chunk_id
from services.memory.records import ChunkBatch, Receipt
from services.memory.telemetry import chunks_inserted
from services.memory.vectors import embedded, given

_MOST_CHARS = 1_000_000


class Chunks:
    """Chunks that stand for themselves."""

    def __init__(self, store: Store, embedder: Embedder, once: Once, clock: Callable[[], float] = time.time) -> None:
        """Keeps the parts.

        Args:
            store: Where they are kept.
            embedder: Embeds those that come without a vector.
            once: Runs mutations with receipts.
            clock: Seconds since the epoch.
        """
        self._store = store
        self._embedder = embedder
        self._once = once
        self._clock = clock

    async def insert(
        self, bank: Bank, request: vector_io_pb2.InsertChunksRequest
    ) -> vector_io_pb2.InsertChunksResponse:
        """Inserts chunks."""
        # Only now: identifiers that are made of the content may be the same for two of one content.
        chunks = await asyncio.to_thread(_prepared, bank, request.chunks)
        check_unique([chunk.chunk_id for chunk in chunks], "chunks[{}].chunk_id")
        ttl = request.ttl_seconds if request.HasField("ttl_seconds") else bank.default_ttl

        async def work(receipt: Receipt | None) -> None:
            vectors = await self._vectors(bank, request.chunks, chunks)
            expires_at = self._clock() + ttl if ttl is not None else None
            await self._store.insert_chunks(bank.store_id, ChunkBatch(chunks, vectors), expires_at, receipt)
            chunks_inserted(bank, len(chunks))

        response = vector_io_pb2.InsertChunksResponse(chunk_ids=[chunk.chunk_id for chunk in chunks])
        return await self._once.run(bank, request, vector_io_pb2.InsertChunksResponse, lambda _: response, work)

    async def delete(
        self, bank: Bank, request: vector_io_pb2.DeleteChunksRequest
    ) -> vector_io_pb2.DeleteChunksResponse:
        """Deletes chunks."""
        for place, identifier in enumerate(request.chunk_ids):
            check_name(identifier, f"chunk_ids[{place}]")
        identifiers = list(dict.fromkeys(request.chunk_ids))

        async def work(receipt: Receipt | None) -> int:
            return await self._store.delete_chunks(bank.store_id, identifiers, receipt)

        return await self._once.run(
            bank,
            request,
            vector_io_pb2.DeleteChunksResponse,
            lambda count: vector_io_pb2.DeleteChunksResponse(deleted_count=count),
            work,
        )

    async def _vectors(
        self, bank: Bank, sent: Sequence[query_pb2.Chunk], chunks: Sequence[query_pb2.Chunk]
    ) -> NDArray[np.float32] | None:
        if bank.spec.dimension is None:
            return None
        vectors = np.empty((len(sent), bank.spec.dimension), np.float32)
        missing = [place for place, chunk in enumerate(sent) if not chunk.embedding]
        texts = [content.text_of(chunks[place].content) for place in missing]
        if missing:
            counts = [chunks[place].token_count for place in missing]
            vectors[missing] = await embedded(bank, self._embedder, texts, counts)
        for place, chunk in enumerate(sent):
            if chunk.embedding:
                vectors[place] = given(bank, chunk.embedding, f"chunks[{place}].embedding")
        return vectors


def _prepared(bank: Bank, sent: Sequence[query_pb2.Chunk]) -> list[query_pb2.Chunk]:
    """Checks chunks; returns them as they are kept."""
    return [_one(bank, chunk, f"chunks[{place}]") for place, chunk in enumerate(sent)]


def _one(bank: Bank, sent: query_pb2.Chunk, field: str) -> query_pb2.Chunk:
    text = content.text_of(sent.content)
    if not text.strip():
        raise InvalidArgumentError.of(f"{field}.content", "must hold text")
    if len(text) > _MOST_CHARS:
        raise InvalidArgumentError.of(
            f"{field}.content", f"must have at most {_MOST_CHARS} characters; insert a document"
        )
    check_name(text, f"{field}.content")
    check_name(sent.chunk_id, f"{field}.chunk_id")
    check_metadata(sent.metadata, f"{field}.metadata")
    if sent.embedding:
        given(bank, sent.embedding, f"{field}.embedding")
    document_id = sent.document_id or _document_id(sent, field)
    chunk = query_pb2.Chunk(
        content=sent.content,
        token_count=len(bank.tokenizer.token_ends(text)),
        document_id=document_id,
        metadata=sent.metadata,
        chunk_id=sent.chunk_id or chunk_id(document_id, text),
    )
    if sent.HasField("location"):
        chunk.location.CopyFrom(sent.location)
    return chunk


def _document_id(sent: query_pb2.Chunk, field: str) -> str:
    value: Any = sent.metadata.fields.get("document_id")
    document_id: str = value.string_value if value is not None else ""
    check_name(document_id, f"{field}.document_id")
    if len(document_id) > 512:
        raise InvalidArgumentError.of(f"{field}.metadata.document_id", "must have at most 512 characters")
    return document_id
