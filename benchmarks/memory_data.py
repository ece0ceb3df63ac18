"""What the memory benchmarks write and ask: vectors, texts, documents, filters, and the true answers."""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from caravan.memory.v1 import filters_pb2, memory_pb2, query_pb2
from caravan.registry.v1 import memory_banks_pb2
from services.memory.content import of_text
from services.memory.records import BankSpec, ChunkBatch, DocumentWrite, Word, WordQuery

DIMENSION = 384
K = 10
CHUNKS_PER_DOCUMENT = 10
SLICE = 1000
FILTERS = {"half": ("half", 0), "tenth": ("tenth", 3), "hundredth": ("hundredth", 7)}
_SHARES = {"half": 2, "tenth": 10, "hundredth": 100}
_CLUSTERS = 400
_SPREAD = np.float32(1.15)
_WORDS = 30_000
_WORDS_A_CHUNK = 100
_WARM = 20

Ask: TypeAlias = Callable[[int], Awaitable[Sequence[int]]]
"""Asks a query by its number; returns what was found."""


def vectors(kind: str, count: int, seed: int) -> NDArray[np.float32]:
    """Makes unit vectors.

    Args:
        kind: `random` is uniform in every direction. `clustered` is like the vectors of real texts: clusters of many sizes and a spectrum
            that falls as a power. Intrinsic dimension (by maximum likelihood from 20 neighbours) and spectrum are near those that MiniLM's
            vectors of 8000 paragraphs of documentation have.
        count: How many.
        seed: Others for each.
    """
    own = np.random.default_rng(seed)
    if kind == "random":
        points = own.random((count, DIMENSION), dtype=np.float32) - 0.5
    else:
        shared = np.random.default_rng(99)
        spectrum = (np.arange(1, DIMENSION + 1) ** -0.42).astype(np.float32)
        centres = shared.standard_normal((_CLUSTERS, DIMENSION)).astype(np.float32) * spectrum
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        weights = np.arange(1, _CLUSTERS + 1) ** -0.5
        which = own.choice(_CLUSTERS, count, p=weights / weights.sum())
        spread = own.standard_normal((count, DIMENSION), dtype=np.float32) * spectrum / np.linalg.norm(spectrum)
        points = centres[which] + _SPREAD * spread
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


class Texts:
    """Texts of made-up words whose frequencies are those of a language (Zipf's law)."""

    def __init__(self) -> None:
        """Makes the words."""
        letters = np.random.default_rng(5)
        self._words = [
            "".join(chr(97 + code) for code in letters.integers(0, 26, letters.integers(3, 11))) for _ in range(_WORDS)
        ]
        weights = np.arange(1, _WORDS + 1) ** -1.0
        self._shares = np.cumsum(weights / weights.sum())

    def make(self, count: int, seed: int, length: int = _WORDS_A_CHUNK) -> list[str]:
        """Returns texts of `length` words."""
        draws = np.searchsorted(self._shares, np.random.default_rng(seed).random((count, length)))
        return [" ".join(map(self._words.__getitem__, row)) for row in np.minimum(draws, _WORDS - 1).tolist()]

    def question(self, seed: int) -> WordQuery:
        """Returns a query of three words, of which few chunks have many."""
        places = np.random.default_rng(seed).integers(20, 3000, 3)
        return WordQuery([Word(self._words[place]) for place in places.tolist()])


def documents(first: int, points: NDArray[np.float32], texts: Sequence[str]) -> list[DocumentWrite]:
    """Makes documents of some chunks each."""
    writes = []
    for begin in range(0, len(points), CHUNKS_PER_DOCUMENT):
        number = (first + begin) // CHUNKS_PER_DOCUMENT
        name = f"document-{number}"
        own = texts[begin : begin + CHUNKS_PER_DOCUMENT]
        stored = memory_pb2.StoredDocument(
            document_id=name, content=of_text(" ".join(own)), mime_type="text/plain", chunk_count=len(own)
        )
        stored.metadata.update({"half": number % 2, "tenth": number % 10, "hundredth": number % 100, "title": name})
        chunks = [
            query_pb2.Chunk(content=of_text(text), document_id=name, chunk_id=f"{name}-{place}", token_count=128)
            for place, text in enumerate(own)
        ]
        batch = ChunkBatch(chunks, points[begin : begin + CHUNKS_PER_DOCUMENT])
        writes.append(DocumentWrite(stored, "", batch))
    return writes


def condition(key: str, value: float) -> filters_pb2.MetadataFilter:
    """Makes a filter."""
    made = filters_pb2.MetadataFilter()
    made.equal.key = key
    made.equal.value.number_value = value
    return made


def bank() -> BankSpec:
    """The bank that is measured."""
    vector = memory_banks_pb2.VectorMemoryBankParams(
        embedding_model="m",
        metric=memory_banks_pb2.VECTOR_METRIC_COSINE,
        index=memory_banks_pb2.VECTOR_INDEX_HNSW,
    )
    return BankSpec("bench", memory_banks_pb2.MemoryBankParams(vector=vector), DIMENSION)


def wheres() -> dict[str, filters_pb2.MetadataFilter | None]:
    """The filters by name; `all` is none."""
    return {"all": None, **{name: condition(*parts) for name, parts in FILTERS.items()}}


def _fits(name: str) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
    """Tells which chunks, by number, fit a filter."""
    if name == "all":
        return lambda numbers: numbers >= 0
    return lambda numbers: numbers // CHUNKS_PER_DOCUMENT % _SHARES[name] == FILTERS[name][1]


def truth(kind: str, size: int, queries: NDArray[np.float32]) -> dict[str, list[set[int]]]:
    """The true nearest ten of each query, by number, under each filter; the vectors are made again slice by slice, to keep no copy.

    Args:
        kind: Of the vectors.
        size: Number of chunks.
        queries: What is asked, one a row.
    """
    names = wheres()
    best: dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]] = {
        name: (np.full((len(queries), K), -2, np.float32), np.full((len(queries), K), -1)) for name in names
    }
    for begin in range(0, size, SLICE):
        numbers = np.arange(begin, begin + SLICE)
        scores = queries @ vectors(kind, SLICE, begin + 1).T
        for name in names:
            kept, places = best[name]
            every = np.concatenate((kept, np.where(_fits(name)(numbers), scores, -2)), axis=1)
            both = np.concatenate((places, np.broadcast_to(numbers, scores.shape)), axis=1)
            order = np.argpartition(-every, K, axis=1)[:, :K]
            best[name] = np.take_along_axis(every, order, 1), np.take_along_axis(both, order, 1)
    return {name: [set(row.tolist()) for row in places] for name, (_, places) in best.items()}


def recall(found: Sequence[set[int]], true: Sequence[set[int]]) -> float:
    """Share of the true nearest ten that was found."""
    return sum(len(near & these) for near, these in zip(true, found, strict=True)) / (K * len(true))


def number_of(chunk_id: str) -> int:
    """Number of a chunk: they are written in order, some to a document."""
    _, document, place = chunk_id.split("-")
    return int(document) * CHUNKS_PER_DOCUMENT + int(place)


async def timed(asks: Mapping[str, Ask], queries: int) -> dict[str, float]:
    """Asks everything in turns, query by query, and each alone for its processor time.

    Args:
        asks: What is asked, by name.
        queries: Number of queries.

    Returns:
        `p50 <name>`, `p99 <name>` and `cpu <name>` in seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in asks}
    for place in range(-_WARM, queries):
        for name, ask in asks.items():
            started = time.perf_counter()
            await ask(place % queries)
            if place >= 0:
                times[name].append(time.perf_counter() - started)
    figures = {}
    for name, ask in asks.items():
        busy = time.process_time()
        for place in range(queries):
            await ask(place)
        figures[f"cpu {name}"] = (time.process_time() - busy) / queries
    for name, taken in times.items():
        figures[f"p50 {name}"] = statistics.median(taken)
        figures[f"p99 {name}"] = sorted(taken)[int(0.99 * (len(taken) - 1))]
    return figures
