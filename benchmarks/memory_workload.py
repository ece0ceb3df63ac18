"""One measurement of the embedded memory store beside the bare vector library, in a process of its own.

Reads a `MemoryJob` as JSON from standard input and writes figures as JSON. Bare and store take turns, slice by slice and query by query, so
that whatever else the machine does hits both.
"""

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import faiss
import numpy as np
import psutil  # type: ignore[import-untyped]
import uvloop
from numpy.typing import NDArray

from caravan.memory.v1 import filters_pb2, memory_pb2, query_pb2
from caravan.registry.v1 import memory_banks_pb2
from services.memory.content import of_text
from services.memory.providers.embedded.config import EmbeddedConfig
from services.memory.providers.embedded.store import EmbeddedStore
from services.memory.records import BankSpec, ChunkBatch, DocumentWrite, Word, WordQuery

DIMENSION = 384
K = 10
LINKS = 32
CONSTRUCTION_WIDTH = 64
CHUNKS_PER_DOCUMENT = 10
SLICE = 1000
WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)
FILTERS = {"half": ("half", 0), "tenth": ("tenth", 3), "hundredth": ("hundredth", 7)}
_CLUSTERS = 400
_SPREAD = np.float32(1.15)
_WORDS = 30_000
_WORDS_A_CHUNK = 100
_WARM = 20


@dataclass(frozen=True)
class MemoryJob:
    """What to measure."""

    size: int
    """Number of chunks."""
    data: str
    """`clustered` or `random`."""
    queries: int
    """Queries of each kind."""
    beside: bool = True
    """Measure the bare library too; without it the process's memory is the store's alone."""

    def to_json(self) -> str:
        """Writes the job."""
        return json.dumps(asdict(self))


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


class Stopwatch:
    """Adds up wall time and processor time."""

    def __init__(self) -> None:
        """Begins at nothing."""
        self.wall = 0.0
        self.cpu = 0.0

    async def of(self, work: Awaitable[Any]) -> None:
        """Times something."""
        wall, cpu = time.perf_counter(), time.process_time()
        await work
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


async def _now(action: Callable[[], Any]) -> Any:
    return action()


async def measure(job: MemoryJob, folder: Path) -> dict[str, Any]:
    """Fills the bare library and the store, asks both, and returns the figures."""
    faiss.omp_set_num_threads(1)
    store = EmbeddedStore(EmbeddedConfig(folder=folder, hnsw_links=LINKS, hnsw_construction_width=CONSTRUCTION_WIDTH))
    await store.start()
    base = psutil.Process().memory_info().rss
    await store.open_bank(bank())
    bare = faiss.IndexHNSWFlat(DIMENSION, LINKS, faiss.METRIC_INNER_PRODUCT) if job.beside else None
    if bare is not None:
        bare.hnsw.efConstruction = CONSTRUCTION_WIDTH
    figures = await _insert(job, store, bare)
    gc.collect()
    figures["base_rss"], figures["rss"] = base, psutil.Process().memory_info().rss
    figures["counted"] = (await store.statistics("bench")).memory_bytes
    if job.beside:
        figures |= await _query(job, store, bare)
    started = time.perf_counter()
    await store.close_bank("bench")
    figures["close"] = time.perf_counter() - started
    started = time.perf_counter()
    await store.open_bank(bank())
    figures["open"] = time.perf_counter() - started
    await store.stop()
    return figures


async def _insert(job: MemoryJob, store: EmbeddedStore, bare: Any) -> dict[str, Any]:
    texts, ours, theirs = Texts(), Stopwatch(), Stopwatch()
    for begin in range(0, job.size, SLICE):
        points = vectors(job.data, SLICE, begin + 1)
        writes = documents(begin, points, texts.make(SLICE, begin + 1))
        if bare is not None:
            await theirs.of(_now(lambda points=points: bare.add(points)))  # type: ignore[misc]
        await ours.of(store.write_documents("bench", writes))
    # What goes on behind the last write (tuning, snapshots) is part of the price.
    await ours.of(store.write_documents("bench", documents(job.size, points[:10], ["the last"] * 10)))
    figures = {"store_insert": ours.wall, "store_insert_cpu": ours.cpu}
    if bare is not None:
        figures |= {"bare_insert": theirs.wall, "bare_insert_cpu": theirs.cpu}
    return figures


def _truth(
    job: MemoryJob, queries: NDArray[np.float32], masks: Mapping[str, Callable[[NDArray[np.int64]], NDArray[np.bool_]]]
) -> dict[str, list[set[int]]]:
    """The true nearest ten of each query, under each filter; made again slice by slice, to keep no copy."""
    best: dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]] = {
        name: (np.full((len(queries), K), -2, np.float32), np.full((len(queries), K), -1)) for name in masks
    }
    for begin in range(0, job.size, SLICE):
        numbers = np.arange(begin, begin + SLICE)
        scores = queries @ vectors(job.data, SLICE, begin + 1).T
        for name, fits in masks.items():
            kept, places = best[name]
            every = np.concatenate((kept, np.where(fits(numbers), scores, -2)), axis=1)
            names = np.concatenate((places, np.broadcast_to(numbers, scores.shape)), axis=1)
            order = np.argpartition(-every, K, axis=1)[:, :K]
            best[name] = np.take_along_axis(every, order, 1), np.take_along_axis(names, order, 1)
    return {name: [set(row.tolist()) for row in places] for name, (_, places) in best.items()}


Ask: TypeAlias = Callable[[int], Awaitable[Sequence[int]]]


def _vector_ask(store: EmbeddedStore, queries: NDArray[np.float32], where: filters_pb2.MetadataFilter | None) -> Ask:
    async def ask(place: int) -> Sequence[int]:
        return [match.key for match in await store.search_vectors("bench", queries[place], K, where=where)]

    return ask


def _fits(name: str) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
    """Tells which chunks, by number, fit a filter."""
    if name == "all":
        return lambda numbers: numbers >= 0
    share = {"half": 2, "tenth": 10, "hundredth": 100}[name]
    return lambda numbers: numbers // CHUNKS_PER_DOCUMENT % share == FILTERS[name][1]


async def _query(job: MemoryJob, store: EmbeddedStore, bare: Any) -> dict[str, Any]:
    queries = vectors(job.data, job.queries, 10_000_019)
    wheres = {"all": None, **{name: condition(*parts) for name, parts in FILTERS.items()}}
    truth = _truth(job, queries, {name: _fits(name) for name in wheres})
    numbers = await _numbers(store)
    texts = Texts()
    asks: dict[str, Ask] = {name: _vector_ask(store, queries, where) for name, where in wheres.items()}
    asks["keyword"] = lambda place: _words(store, texts, place)
    asks["hybrid"] = lambda place: _hybrid(store, texts, queries[place], place)
    asks["chunks"] = lambda place: _with_chunks(store, queries[place])
    recalls = {}
    for name in wheres:
        found = [{numbers[key] for key in await asks[name](place)} for place in range(job.queries)]
        recalls[name] = _recall(found, truth[name])
    width, flat = _equal_width(bare, queries, truth["all"], recalls["all"])
    asks["bare"] = lambda place: _now(lambda: _bare(bare, queries[place], width))
    if flat is not None:
        asks["bare flat"] = lambda place: _now(lambda: flat.search(queries[place][None, :], K))
    figures: dict[str, Any] = {f"recall {name}": recall for name, recall in recalls.items()}
    figures |= {"bare_width": width, "recall bare": _bare_recall(bare, queries, truth["all"], width)}
    return figures | await _timed(job, asks)


async def _timed(job: MemoryJob, asks: Mapping[str, Ask]) -> dict[str, float]:
    """Asks everything in turns, query by query, and each alone for its processor time."""
    times: dict[str, list[float]] = {name: [] for name in asks}
    for place in range(-_WARM, job.queries):
        for name, ask in asks.items():
            started = time.perf_counter()
            await ask(place % job.queries)
            if place >= 0:
                times[name].append(time.perf_counter() - started)
    figures = {}
    for name, ask in asks.items():
        busy = time.process_time()
        for place in range(job.queries):
            await ask(place)
        figures[f"cpu {name}"] = (time.process_time() - busy) / job.queries
    for name, taken in times.items():
        figures[f"p50 {name}"] = statistics.median(taken)
        figures[f"p99 {name}"] = sorted(taken)[int(0.99 * (len(taken) - 1))]
    return figures


async def _numbers(store: EmbeddedStore) -> dict[int, int]:
    """Numbers of all chunks by key: they were written in order, ten to a document."""
    rows: list[tuple[int, str]] = await store._read(  # noqa: SLF001 - the store tells keys to nobody else
        "bench", lambda connection, _: connection.execute("SELECT key, chunk_id FROM chunks").fetchall()
    )
    named = ((key, chunk_id.split("-")) for key, chunk_id in rows)
    return {key: int(parts[1]) * CHUNKS_PER_DOCUMENT + int(parts[2]) for key, parts in named}


def _recall(found: Sequence[set[int]], truth: Sequence[set[int]]) -> float:
    return sum(len(near & these) for near, these in zip(truth, found, strict=True)) / (K * len(truth))


def _bare(bare: Any, query: NDArray[np.float32], width: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = bare.search(query[None, :], K, params=faiss.SearchParametersHNSW(efSearch=width))[1][0]
    return found


def _bare_recall(bare: Any, queries: NDArray[np.float32], truth: Sequence[set[int]], width: int) -> float:
    return _recall([set(_bare(bare, query, width).tolist()) for query in queries], truth)


def _equal_width(bare: Any, queries: NDArray[np.float32], truth: Sequence[set[int]], wanted: float) -> tuple[int, Any]:
    """Returns the least width by which the bare graph finds as much as the store, and an exact index when none does."""
    for width in WIDTHS:
        if _bare_recall(bare, queries, truth, width) >= wanted - 0.002:
            return width, None
    return WIDTHS[-1], faiss.downcast_index(bare.storage)


async def _words(store: EmbeddedStore, texts: Texts, place: int) -> Sequence[int]:
    return [match.key for match in await store.search_words("bench", texts.question(place), K)]


async def _hybrid(store: EmbeddedStore, texts: Texts, query: NDArray[np.float32], place: int) -> Sequence[int]:
    both = await asyncio.gather(
        store.search_vectors("bench", query, 4 * K), store.search_words("bench", texts.question(place), 4 * K)
    )
    return [match.key for matches in both for match in matches]


async def _with_chunks(store: EmbeddedStore, query: NDArray[np.float32]) -> Sequence[int]:
    found = [match.key for match in await store.search_vectors("bench", query, K)]
    await store.get_chunks("bench", found)
    return found


def main() -> None:
    """Measures one job."""
    job = MemoryJob(**json.loads(sys.stdin.read()))
    with tempfile.TemporaryDirectory(prefix="caravan-bench-") as folder:
        figures = uvloop.run(measure(job, Path(folder)))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
