"""What the tests of the stores write into them, and what they read."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from caravan.memory.v1 import filters_pb2, graph_pb2, keyvalue_pb2, memory_pb2, query_pb2
from caravan.registry.v1 import memory_banks_pb2
from services.memory.content import of_text
from services.memory.facts import entity_key
from services.memory.ports import Store
from services.memory.records import (
    BankSpec,
    ChunkBatch,
    DocumentWrite,
    EntityFact,
    Facts,
    Match,
    Receipt,
    RelationFact,
    Word,
    WordQuery,
)

DIMENSION = 16
NOW = 1_800_000_000.0

COSINE = memory_banks_pb2.VECTOR_METRIC_COSINE
DOT = memory_banks_pb2.VECTOR_METRIC_DOT
L2 = memory_banks_pb2.VECTOR_METRIC_L2
HNSW = memory_banks_pb2.VECTOR_INDEX_HNSW
FLAT = memory_banks_pb2.VECTOR_INDEX_FLAT


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def new_id(prefix: str = "id") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def vector_spec(
    bank_id: str = "",
    *,
    dimension: int = DIMENSION,
    metric: memory_banks_pb2.VectorMetric.ValueType = COSINE,
    index: memory_banks_pb2.VectorIndex.ValueType = HNSW,
) -> BankSpec:
    vector = memory_banks_pb2.VectorMemoryBankParams(
        embedding_model="m",
        chunk_size_in_tokens=512,
        overlap_size_in_tokens=128,
        embedding_dimension=dimension,
        metric=metric,
        index=index,
    )
    return BankSpec(bank_id or new_id("vectors"), memory_banks_pb2.MemoryBankParams(vector=vector), dimension)


def keyword_spec(bank_id: str = "", language: str = "en") -> BankSpec:
    keyword = memory_banks_pb2.KeywordMemoryBankParams(
        language=language, chunk_size_in_tokens=512, overlap_size_in_tokens=128
    )
    return BankSpec(bank_id or new_id("words"), memory_banks_pb2.MemoryBankParams(keyword=keyword))


def pairs_spec(bank_id: str = "") -> BankSpec:
    keyvalue = memory_banks_pb2.KeyvalueMemoryBankParams()
    return BankSpec(bank_id or new_id("pairs"), memory_banks_pb2.MemoryBankParams(keyvalue=keyvalue))


def graph_spec(bank_id: str = "", dimension: int | None = None) -> BankSpec:
    model = "m" if dimension else ""
    graph = memory_banks_pb2.GraphMemoryBankParams(embedding_model=model)
    return BankSpec(bank_id or new_id("graph"), memory_banks_pb2.MemoryBankParams(graph=graph), dimension)


def at(moment: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(round(moment * 1e6))
    return stamp


def chunk(
    text: str, document_id: str, chunk_id: str = "", tokens: int = 3, metadata: Mapping[str, Any] | None = None
) -> query_pb2.Chunk:
    made = query_pb2.Chunk(
        content=of_text(text), document_id=document_id, chunk_id=chunk_id or new_id("chunk"), token_count=tokens
    )
    if metadata is not None:
        made.metadata.update(dict(metadata))
    return made


def directions(count: int, seed: int = 0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Random vectors."""
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def document(
    document_id: str,
    texts: Sequence[str] = ("some words",),
    *,
    vectors: NDArray[np.float32] | None = None,
    metadata: Mapping[str, Any] | None = None,
    expires_at: float | None = None,
    expected_revision: int | None = None,
    facts: Facts | None = None,
    mime_type: str = "text/plain",
) -> DocumentWrite:
    """A document with one chunk for each text."""
    stored = memory_pb2.StoredDocument(
        document_id=document_id,
        content=of_text(" ".join(texts)),
        mime_type=mime_type,
        content_sha256="0" * 64,
        size_bytes=sum(map(len, texts)),
        chunk_count=len(texts),
        token_count=3 * len(texts),
        expires_at=None if expires_at is None else at(expires_at),
    )
    stored.metadata.update(dict(metadata or {}))
    chunks = [chunk(text, document_id, f"{document_id}#{place}") for place, text in enumerate(texts)]
    for place, one in enumerate(chunks):
        one.location.chunk_index = place
    return DocumentWrite(
        stored, "recipe-1", ChunkBatch(chunks, vectors), facts=facts, expected_revision=expected_revision
    )


def with_vectors(document_id: str, count: int = 1, seed: int = 0, **fields: Any) -> DocumentWrite:
    texts = [f"piece {place} of {document_id}" for place in range(count)]
    return document(document_id, texts, vectors=directions(count, seed), **fields)


def loose(*chunks: query_pb2.Chunk, vectors: NDArray[np.float32] | None = None) -> ChunkBatch:
    return ChunkBatch(chunks, vectors)


def receipt(request_id: str = "request", rpc: str = "Insert", fingerprint: bytes = b"f") -> Receipt:
    return Receipt(rpc, request_id, fingerprint, lambda _: memory_pb2.InsertDocumentsResponse())


def entity(name: str, kind: str = "", *, sources: Sequence[str] = (), description: str = "") -> EntityFact:
    told = graph_pb2.Entity(name=name, entity_type=kind, description=description, document_ids=sources)
    return EntityFact(entity_key(name), told)


def relation(subject: str, kind: str, target: str, *, sources: Sequence[str] = ()) -> RelationFact:
    told = graph_pb2.Relation(subject=subject, relation_type=kind, object=target, document_ids=sources)
    return RelationFact(entity_key(subject), entity_key(target), told)


def text_value(text: str) -> keyvalue_pb2.TypedValue:
    return keyvalue_pb2.TypedValue(text=text)


def words(*texts: str, prefixes: Sequence[str] = (), phrases: Sequence[str] = ()) -> WordQuery:
    return WordQuery(
        [*(Word(text) for text in texts), *(Word(text, prefix=True) for text in prefixes)],
        [tuple(phrase.split()) for phrase in phrases],
    )


def comparison(member: str, key: str, value: Any) -> filters_pb2.MetadataFilter:
    made = filters_pb2.MetadataFilter()
    leaf = getattr(made, member)
    leaf.key = key
    if member == "one_of":
        for one in value:
            _fill(leaf.values.add(), one)
    elif member != "present":
        _fill(leaf.value, value)
    return made


def _fill(message: Any, value: Any) -> None:
    match value:
        case bool():
            message.bool_value = value
        case str():
            message.string_value = value
        case _:
            message.number_value = value


def both(*filters: filters_pb2.MetadataFilter) -> filters_pb2.MetadataFilter:
    return filters_pb2.MetadataFilter(all_of=filters_pb2.MetadataFilterList(filters=filters))


def either(*filters: filters_pb2.MetadataFilter) -> filters_pb2.MetadataFilter:
    return filters_pb2.MetadataFilter(any_of=filters_pb2.MetadataFilterList(filters=filters))


def opposite(one: filters_pb2.MetadataFilter) -> filters_pb2.MetadataFilter:
    return filters_pb2.MetadataFilter(negation=filters_pb2.MetadataNegation(filter=one))


async def chunk_ids(store: Store, bank_id: str, matches: Sequence[Match]) -> list[str]:
    """The identifiers of what a search has found, in its order."""
    found = await store.get_chunks(bank_id, [match.key for match in matches])
    return [found[match.key].chunk_id for match in matches]


async def texts_of(store: Store, bank_id: str, matches: Sequence[Match]) -> list[str]:
    found = await store.get_chunks(bank_id, [match.key for match in matches])
    return [found[match.key].content.items[0].text for match in matches]
