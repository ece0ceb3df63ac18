"""One measurement of the embedded memory store beside the bare vector library, in a process of its own.

Reads a `MemoryJob` as JSON from standard input and writes figures as JSON. Bare and store take turns, slice by slice and query by query, so
that whatever else the machine does hits both.
"""

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil  # type: ignore[import-untyped]
import uvloop
from numpy.typing import NDArray

from benchmarks.memory_data import (
    CHUNKS_PER_DOCUMENT,
    DIMENSION,
    SLICE,
    Ask,
    K,
    Texts,
    bank,
    documents,
    number_of,
    recall,
    timed,
    truth,
    vectors,
    wheres,
)
from benchmarks.memory_jobs import CONSTRUCTION_WIDTH, LINKS, MemoryJob
from caravan.memory.v1 import filters_pb2
from services.memory.providers.embedded.config import EmbeddedConfig
from services.memory.providers.embedded.store import EmbeddedStore

WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)


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
    last = vectors(job.data, CHUNKS_PER_DOCUMENT, job.size + 1)
    await ours.of(store.write_documents("bench", documents(job.size, last, ["the last"] * CHUNKS_PER_DOCUMENT)))
    figures = {"store_insert": ours.wall, "store_insert_cpu": ours.cpu}
    if bare is not None:
        figures |= {"bare_insert": theirs.wall, "bare_insert_cpu": theirs.cpu}
    return figures


def _vector_ask(store: EmbeddedStore, queries: NDArray[np.float32], where: filters_pb2.MetadataFilter | None) -> Ask:
    async def ask(place: int) -> Sequence[int]:
        return [match.key for match in await store.search_vectors("bench", queries[place], K, where=where)]

    return ask


async def _query(job: MemoryJob, store: EmbeddedStore, bare: Any) -> dict[str, Any]:
    queries = vectors(job.data, job.queries, 10_000_019)
    filters, true = wheres(), truth(job.data, job.size, queries)
    numbers = await _numbers(store)
    texts = Texts()
    asks: dict[str, Ask] = {name: _vector_ask(store, queries, where) for name, where in filters.items()}
    asks["keyword"] = lambda place: _words(store, texts, place)
    asks["hybrid"] = lambda place: _hybrid(store, texts, queries[place], place)
    asks["chunks"] = lambda place: _with_chunks(store, queries[place])
    recalls = {}
    for name in filters:
        found = [{numbers[key] for key in await asks[name](place)} for place in range(job.queries)]
        recalls[name] = recall(found, true[name])
    width, flat = _equal_width(bare, queries, true["all"], recalls["all"])
    asks["bare"] = lambda place: _now(lambda: _bare(bare, queries[place], width))
    if flat is not None:
        asks["bare flat"] = lambda place: _now(lambda: flat.search(queries[place][None, :], K))
    figures: dict[str, Any] = {f"recall {name}": share for name, share in recalls.items()}
    figures |= {"bare_width": width, "recall bare": _bare_recall(bare, queries, true["all"], width)}
    return figures | await timed(asks, job.queries)


async def _numbers(store: EmbeddedStore) -> dict[int, int]:
    """Numbers of all chunks by key: they were written in order, ten to a document."""
    rows: list[tuple[int, str]] = await store._read(  # noqa: SLF001 - the store tells keys to nobody else
        "bench", lambda connection, _: connection.execute("SELECT key, chunk_id FROM chunks").fetchall()
    )
    return {key: number_of(chunk_id) for key, chunk_id in rows}


def _bare(bare: Any, query: NDArray[np.float32], width: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = bare.search(query[None, :], K, params=faiss.SearchParametersHNSW(efSearch=width))[1][0]
    return found


def _bare_recall(bare: Any, queries: NDArray[np.float32], true: Sequence[set[int]], width: int) -> float:
    return recall([set(_bare(bare, query, width).tolist()) for query in queries], true)


def _equal_width(bare: Any, queries: NDArray[np.float32], true: Sequence[set[int]], wanted: float) -> tuple[int, Any]:
    """Returns the least width by which the bare graph finds as much as the store, and an exact index when none does."""
    for width in WIDTHS:
        if _bare_recall(bare, queries, true, width) >= wanted - 0.002:
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
