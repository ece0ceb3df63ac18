"""One measurement of the PostgreSQL memory store beside bare pgvector, in a process of its own with a server of its own.

Reads a `PostgresJob` as JSON from standard input and writes figures as JSON. The bare table holds the same vectors, with the same kind of
index, on the same server, and is asked over the same driver; both take turns.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.memory_data import (
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
from benchmarks.memory_jobs import PostgresJob
from caravan.memory.v1 import filters_pb2
from services.core.readiness import Readiness
from services.memory.providers.postgres.config import PostgresConfig
from services.memory.providers.postgres.store import PostgresStore
from tests.support.postgres import postgres_server

_SCHEMA = "bench"
_WIDTHS = (20, 30, 40, 60, 80, 120, 160, 240, 400)
_TABLE = f"""
    CREATE TABLE bare (number integer PRIMARY KEY, embedding halfvec({DIMENSION}) NOT NULL);
    CREATE INDEX ON bare USING hnsw (embedding halfvec_ip_ops);
"""
_NEAREST = "SELECT number FROM bare ORDER BY embedding <#> $1 LIMIT $2"


async def measure(job: PostgresJob, url: str) -> dict[str, Any]:
    """Fills a bare table and the store, asks both, and returns the figures."""
    store = PostgresStore(PostgresConfig(dsn=url, schema_name=_SCHEMA), readiness=Readiness())
    await store.start()
    await store.open_bank(bank())
    bare = await asyncpg.connect(url)
    # Where the store has put the extension.
    await bare.execute(f"SET search_path = public, {_SCHEMA}")
    await bare.execute(_TABLE)
    await bare.set_type_codec("halfvec", schema="public", encoder=_encoded, decoder=bytes, format="binary")
    figures = await _insert(job, store, bare)
    await bare.execute("VACUUM ANALYZE")
    figures |= await _query(job, store, bare)
    await bare.close()
    await store.stop()
    return figures


def _encoded(vector: NDArray[np.float32]) -> bytes:
    return len(vector).to_bytes(2) + b"\0\0" + vector.astype(">f2").tobytes()


async def _insert(job: PostgresJob, store: PostgresStore, bare: Any) -> dict[str, Any]:
    texts, ours, theirs = Texts(), 0.0, 0.0
    for begin in range(0, job.size, SLICE):
        points = vectors(job.data, SLICE, begin + 1)
        writes = documents(begin, points, texts.make(SLICE, begin + 1))
        rows = [(begin + place, point) for place, point in enumerate(points)]
        started = time.perf_counter()
        await bare.copy_records_to_table("bare", records=rows)
        between = time.perf_counter()
        await store.write_documents("bench", writes)
        theirs += between - started
        ours += time.perf_counter() - between
    return {"bare_insert": theirs, "store_insert": ours}


async def _query(job: PostgresJob, store: PostgresStore, bare: Any) -> dict[str, Any]:
    queries = vectors(job.data, job.queries, 10_000_019)
    true = truth(job.data, job.size, queries)
    texts = Texts()
    asks: dict[str, Ask] = {name: _vector_ask(store, queries, where) for name, where in wheres().items()}

    async def words(place: int) -> Sequence[int]:
        return [match.key for match in await store.search_words("bench", texts.question(place), K)]

    async def nearest(place: int) -> Sequence[int]:
        return [row["number"] for row in await bare.fetch(_NEAREST, queries[place], K)]

    figures: dict[str, Any] = {}
    for name, ask in asks.items():
        found = [await _numbers(store, await ask(place)) for place in range(job.queries)]
        figures[f"recall {name}"] = recall(found, true[name])
    for width in _WIDTHS:
        await bare.execute(f"SET hnsw.ef_search = {width}")
        share = recall([set(await nearest(place)) for place in range(job.queries)], true["all"])
        figures |= {"bare_width": width, "recall bare": share}
        if share >= figures["recall all"] - 0.002:
            break
    return figures | await timed({**asks, "keyword": words, "bare": nearest}, job.queries)


def _vector_ask(store: PostgresStore, queries: NDArray[np.float32], where: filters_pb2.MetadataFilter | None) -> Ask:
    async def ask(place: int) -> Sequence[int]:
        return [match.key for match in await store.search_vectors("bench", queries[place], K, where=where)]

    return ask


async def _numbers(store: PostgresStore, keys: Sequence[int]) -> set[int]:
    chunks = await store.get_chunks("bench", keys)
    return {number_of(chunk.chunk_id) for chunk in chunks.values()}


def main() -> None:
    """Measures one job."""
    job = PostgresJob(**json.loads(sys.stdin.read()))
    with postgres_server(shared_buffers="256MB") as server:
        figures = uvloop.run(measure(job, server.url))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
