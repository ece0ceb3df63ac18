"""Banks, documents and chunks for tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.json_format import ParseDict
from numpy.typing import NDArray

from caravan.memory.v1 import filters_pb2, memory_pb2, query_pb2
from caravan.registry.v1 import memory_banks_pb2
from services.memory.content import of_text
from services.memory.providers.postgres.store import PostgresStore
from services.memory.records import BankSpec, ChunkBatch, DocumentWrite

DIMENSION = 8


def vector_bank(
    bank_id: str = "bank",
    *,
    dimension: int = DIMENSION,
    metric: memory_banks_pb2.VectorMetric.ValueType = memory_banks_pb2.VECTOR_METRIC_COSINE,
    index: memory_banks_pb2.VectorIndex.ValueType = memory_banks_pb2.VECTOR_INDEX_HNSW,
) -> BankSpec:
    vector = memory_banks_pb2.VectorMemoryBankParams(embedding_model="model", metric=metric, index=index)
    return BankSpec(bank_id, memory_banks_pb2.MemoryBankParams(vector=vector), dimension)


def keyword_bank(bank_id: str = "words", language: str = "en") -> BankSpec:
    keyword = memory_banks_pb2.KeywordMemoryBankParams(language=language)
    return BankSpec(bank_id, memory_banks_pb2.MemoryBankParams(keyword=keyword))


def value_bank(bank_id: str = "values") -> BankSpec:
    keyvalue = memory_banks_pb2.KeyvalueMemoryBankParams()
    return BankSpec(bank_id, memory_banks_pb2.MemoryBankParams(keyvalue=keyvalue))


def graph_bank(bank_id: str = "graph") -> BankSpec:
    return BankSpec(bank_id, memory_banks_pb2.MemoryBankParams(graph=memory_banks_pb2.GraphMemoryBankParams()))


def vectors(count: int, dimension: int = DIMENSION, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def chunks(
    document_id: str, texts: Sequence[str], embedded: NDArray[np.float32] | None = None, **metadata: Any
) -> ChunkBatch:
    made = []
    for at, text in enumerate(texts):
        chunk = query_pb2.Chunk(
            chunk_id=f"{document_id}/{at}",
            document_id=document_id,
            content=of_text(text),
            token_count=len(text.split()),
        )
        if metadata:
            chunk.metadata.update(metadata)
        made.append(chunk)
    return ChunkBatch(made, embedded)


def write(
    document_id: str,
    texts: Sequence[str],
    embedded: NDArray[np.float32] | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    mime_type: str = "text/plain",
    **more: Any,
) -> DocumentWrite:
    document = memory_pb2.StoredDocument(
        document_id=document_id, content=of_text(" ".join(texts)), chunk_count=len(texts), mime_type=mime_type
    )
    document.metadata.update(metadata or {})
    return DocumentWrite(document, "recipe", chunks(document_id, texts, embedded), **more)


def condition(json: Mapping[str, Any]) -> filters_pb2.MetadataFilter:
    return ParseDict(json, filters_pb2.MetadataFilter())


async def texts_of(store: PostgresStore, bank_id: str, keys: Sequence[int]) -> list[str]:
    """The texts of chunks, in the keys' order."""
    found = await store.get_chunks(bank_id, keys)
    return [found[key].content.items[0].text for key in keys]
