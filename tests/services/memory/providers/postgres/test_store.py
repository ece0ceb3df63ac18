"""What holds for banks on PostgreSQL beside what the conformance suite asks of every store."""

import asyncio
from typing import Any

import numpy as np
import pytest

from caravan.memory.v1 import keyvalue_pb2
from caravan.registry.v1 import memory_banks_pb2
from services.core.errors import (
    AbortedError,
    CaravanError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from services.memory.providers.postgres.store import PostgresStore
from services.memory.records import Selection
from tests.services.memory.providers.postgres.building import (
    chunks,
    condition,
    graph_bank,
    keyword_bank,
    value_bank,
    vector_bank,
    vectors,
    write,
)
from tests.services.memory.providers.postgres.conftest import MakeStore

COSINE = memory_banks_pb2.VECTOR_METRIC_COSINE
DOT = memory_banks_pb2.VECTOR_METRIC_DOT
L2 = memory_banks_pb2.VECTOR_METRIC_L2
HNSW = memory_banks_pb2.VECTOR_INDEX_HNSW
FLAT = memory_banks_pb2.VECTOR_INDEX_FLAT


def likeness(metric: int, held: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    if metric == L2:
        return 1 / (1 + np.linalg.norm(held - wanted, axis=1))
    scores = held @ wanted
    return scores / np.linalg.norm(held, axis=1) / np.linalg.norm(wanted) if metric == COSINE else scores


@pytest.mark.parametrize("metric", [COSINE, DOT, L2])
@pytest.mark.parametrize("index", [HNSW, FLAT])
@pytest.mark.parametrize("dimension", [3, 2001])
async def test_scores_and_order_are_those_of_the_metric(
    store: PostgresStore, metric: Any, index: Any, dimension: int
) -> None:
    await store.open_bank(vector_bank("b", metric=metric, index=index, dimension=dimension))
    held, (wanted,) = 3 * vectors(40, dimension), vectors(1, dimension, seed=1)
    await store.insert_chunks("b", chunks("d", ["x"] * 40, held), None)
    expected = likeness(metric, held.astype(float), wanted.astype(float))
    for exact in (True, False):
        matches = await store.search_vectors("b", wanted, 10, exact=exact)
        assert [match.score for match in matches] == pytest.approx(sorted(expected, reverse=True)[:10], rel=1e-4)
    shown = await store.get_chunks("b", [match.key for match in matches], embeddings=True)
    nearest = held[int(np.argmax(expected))]
    assert list(shown[matches[0].key].embedding) == pytest.approx(nearest.tolist(), rel=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
async def test_cosine_knows_no_length(store: PostgresStore, scale: float) -> None:
    await store.open_bank(vector_bank("b"))
    held = vectors(20)
    await store.insert_chunks("b", chunks("d", ["x"] * 20, (held * scale).astype(np.float32)), None)
    matches = await store.search_vectors("b", held[3], 20)
    assert len(matches) == 20
    assert matches[0].score == pytest.approx(1.0)
    shown = await store.get_chunks("b", [matches[0].key], embeddings=True)
    assert list(shown[matches[0].key].embedding) == pytest.approx((held[3] * scale).tolist(), rel=1e-5)


@pytest.mark.parametrize("metric", [DOT, L2])
async def test_scores_are_finite_even_where_distances_are_not(store: PostgresStore, metric: Any) -> None:
    await store.open_bank(vector_bank("b", metric=metric, index=FLAT))
    huge = np.full((2, 8), 3e38, np.float32)
    huge[1] *= -1
    await store.insert_chunks("b", chunks("d", ["x", "y"], huge), None)
    matches = await store.search_vectors("b", huge[0], 5)
    assert len(matches) == 2
    assert np.isfinite([match.score for match in matches]).all()


async def test_a_vector_beyond_the_index_is_refused_and_nothing_of_it_stays(store: PostgresStore) -> None:
    await store.open_bank(vector_bank("b", metric=DOT, dimension=2001))
    with pytest.raises(InvalidArgumentError) as refused:
        await store.insert_chunks("b", chunks("d", ["x"], np.full((1, 2001), 1e6, np.float32)), None)
    assert refused.value.reason == "VECTOR_OUT_OF_RANGE"
    assert (await store.statistics("b")).chunk_count == 0


@pytest.mark.parametrize(("dimension", "index"), [(4001, HNSW), (16_001, FLAT)])
async def test_dimensions_that_pgvector_cannot_hold_are_refused(
    store: PostgresStore, dimension: int, index: Any
) -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        await store.open_bank(vector_bank("b", dimension=dimension, index=index))
    assert refused.value.reason == "DIMENSION_TOO_LARGE"


@pytest.mark.parametrize("dimension", [4000, 16_000])
async def test_the_longest_vectors_are_found(store: PostgresStore, dimension: int) -> None:
    await store.open_bank(vector_bank("b", dimension=dimension, index=HNSW if dimension <= 4000 else FLAT))
    held = vectors(5, dimension)
    await store.insert_chunks("b", chunks("d", ["x"] * 5, held), None)
    assert (await store.search_vectors("b", held[2], 1))[0].score == pytest.approx(1.0)


@pytest.mark.slow
async def test_k_are_found_whenever_k_fit_whatever_the_filter_leaves(store: PostgresStore) -> None:
    await store.open_bank(vector_bank("b"))
    held = vectors(4000)
    for start in range(0, 4000, 2000):
        writes = [
            write(f"d{at}", ["x"], held[at : at + 1], metadata={"n": at, "half": at % 2, "rare": at % 400 == 0})
            for at in range(start, start + 2000)
        ]
        await store.write_documents("b", writes)
    wanted = vectors(1, seed=2)[0]
    # Many fit, few fit, many fit but far from what is wanted.
    far = float(np.argsort(held @ wanted / np.linalg.norm(held, axis=1))[0])
    cases = [
        ({"equal": {"key": "half", "value": 1}}, 2000),
        ({"equal": {"key": "rare", "value": True}}, 10),
        ({"less": {"key": "n", "value": 1800}}, 1800),
        ({"equal": {"key": "n", "value": far}}, 1),
        ({"equal": {"key": "n", "value": -1}}, 0),
    ]
    for json, fitting in cases:
        for k in (10, 3000):
            for width in (None, 1):
                matches = await store.search_vectors("b", wanted, k, where=condition(json), width=width)
                assert len(matches) == min(k, fitting), (json, k, width)
                assert [m.score for m in matches] == sorted((m.score for m in matches), reverse=True)
    assert len(await store.search_vectors("b", wanted, 4000)) == 4000


async def test_replicas_see_what_another_has_written_at_once(make_store: MakeStore) -> None:
    one, other = await make_store(), await make_store()
    for store in (one, other):
        await store.open_bank(vector_bank("b"))
    for number in range(20):
        held = vectors(1, seed=number)
        await one.write_documents("b", [write(f"d{number}", ["x"], held)])
        assert (await other.search_vectors("b", held[0], 1))[0].score == pytest.approx(1.0)


async def test_replicas_open_a_new_bank_at_the_same_time(make_store: MakeStore) -> None:
    stores = [await make_store() for _ in range(4)]
    await asyncio.gather(*(store.open_bank(vector_bank("b")) for store in stores))
    await stores[0].write_documents("b", [write("d", ["x"], vectors(1))])
    assert [len(await store.get_documents("b", ["d"])) for store in stores] == [1] * 4


async def test_replicas_that_write_one_document_leave_one_whole_version(make_store: MakeStore) -> None:
    stores = [await make_store() for _ in range(3)]
    for store in stores:
        await store.open_bank(vector_bank("b"))

    async def rewrite(number: int, store: PostgresStore) -> None:
        for turn in range(8):
            texts = [f"{number} {turn}"] * (1 + (number + turn) % 5)
            names = ["one", "two"] if number % 2 else ["two", "one"]
            await store.write_documents("b", [write(name, texts, vectors(len(texts))) for name in names])

    await asyncio.gather(*(rewrite(number, store) for number, store in enumerate(stores)))
    documents = await stores[0].get_documents("b", ["one", "two"])
    assert {record.document.revision for record in documents.values()} == {24}
    matches = await stores[0].search_vectors("b", vectors(1)[0], 100)
    shown = (await stores[0].get_chunks("b", [match.key for match in matches])).values()
    for name, record in documents.items():
        texts = [chunk.content.items[0].text for chunk in shown if chunk.document_id == name]
        assert " ".join(texts) == record.document.content.items[0].text
    statistics = await stores[0].statistics("b")
    assert (statistics.document_count, statistics.chunk_count) == (2, len(matches))


async def test_one_of_several_replicas_wins_a_compare_and_set(make_store: MakeStore) -> None:
    stores = [await make_store() for _ in range(4)]
    for store in stores:
        await store.open_bank(value_bank("b"))

    lost: set[str] = set()

    async def add(store: PostgresStore) -> int:
        won = 0
        for _ in range(25):
            entries = await store.get_values("b", ["counter"])
            revision = entries["counter"].revision if entries else 0
            count = entries["counter"].value.integer if entries else 0
            try:
                value = keyvalue_pb2.TypedValue(integer=count + 1)
                await store.put_value("b", "counter", value, expected_revision=revision)
            except AbortedError as error:
                lost.add(error.reason)
            else:
                won += 1
        return won

    won = sum(await asyncio.gather(*(add(store) for store in stores)))
    entry = (await stores[0].get_values("b", ["counter"]))["counter"]
    assert entry.value.integer == entry.revision == won > 0
    assert lost <= {"STALE_REVISION"}


async def test_a_bank_that_another_replica_drops_is_told_clearly(make_store: MakeStore) -> None:
    one, other = await make_store(), await make_store()
    specs = [vector_bank("v"), keyword_bank("w"), value_bank("k"), graph_bank("g")]
    for spec in specs:
        for store in (one, other):
            await store.open_bank(spec)
    for spec in specs:
        await one.drop_bank(spec.bank_id)
        with pytest.raises(AbortedError) as dropped:
            await (other.get_values("k", ["a"]) if spec.bank_id == "k" else other.get_documents(spec.bank_id, ["a"]))
        assert dropped.value.reason == "BANK_DROPPED"
        with pytest.raises(NotFoundError) as unknown:
            await other.statistics(spec.bank_id)
        assert unknown.value.reason == "BANK_NOT_OPEN"
        await other.open_bank(spec)
        assert (await other.statistics(spec.bank_id)).document_count == 0


async def test_a_bank_dropped_under_writes_and_queries_ends_them_cleanly(make_store: MakeStore) -> None:
    one, other = await make_store(), await make_store(max_connections=12)
    for store in (one, other):
        await store.open_bank(vector_bank("b"))
    outcomes: list[str] = []

    async def keep(work: Any) -> None:
        for number in range(200):
            try:
                await work(number)
            except (AbortedError, NotFoundError) as error:
                outcomes.append(error.reason)
                return
            await asyncio.sleep(0)

    held = vectors(1)

    def read(number: int) -> Any:
        return other.search_vectors("b", held[0], 5)

    def change(number: int) -> Any:
        return other.write_documents("b", [write(f"d{number % 7}", ["x"], held)])

    running = [asyncio.create_task(keep(work)) for work in (read, change) * 4]
    await asyncio.sleep(0.1)
    await one.drop_bank("b")
    await asyncio.gather(*running)
    assert len(outcomes) == 8
    assert set(outcomes) <= {"BANK_DROPPED", "BANK_NOT_OPEN"}


async def test_a_dropped_bank_leaves_no_table_behind(store: PostgresStore, sql: Any) -> None:
    before = await sql.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace")
    for spec in (vector_bank("v"), keyword_bank("w"), value_bank("k"), graph_bank("g")):
        await store.open_bank(spec)
        await store.drop_bank(spec.bank_id)
    after = await sql.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace")
    assert after == before
    assert await sql.fetchval("SELECT count(*) FROM banks") == 0


@pytest.mark.parametrize("name", ["x'; DROP TABLE banks; --", 'a"b', "a\x00b\x01", "ü" * 4000, "{n}", "%s $1"])
async def test_hostile_names_are_only_names(store: PostgresStore, name: str) -> None:
    await store.open_bank(vector_bank(name))
    short = name[:512]
    held = vectors(2)
    await store.write_documents(name, [write(short, ["one", "two"], held)])
    assert [found.document_id for found in await store.list_documents(name, after="", limit=5)] == [short]
    matches = await store.search_vectors(name, held[0], 2)
    assert {chunk.chunk_id for chunk in (await store.get_chunks(name, [m.key for m in matches])).values()} == {
        f"{short}/0",
        f"{short}/1",
    }
    assert await store.delete_documents(name, Selection(document_ids=[short])) == 1
    await store.drop_bank(name)
    values = value_bank(name)
    await store.open_bank(values)
    await store.put_value(name, name[:1024], keyvalue_pb2.TypedValue(text=name))
    (entry,) = await store.list_values(name, prefix=name[:1], after="", limit=5)
    assert entry.key == name[:1024]


async def test_long_keys_are_listed_in_the_order_of_their_bytes(store: PostgresStore) -> None:
    await store.open_bank(value_bank("b"))
    keys = sorted(
        ["", "\x00", "\x01", "\x01\x02", "a", "a\x00", "z", "é", "\uffff", "\U00010000"]
        + [f"{'k' * 300}{tail}" for tail in ("", "a", "b", "\x00")],
        key=str.encode,
    )[1:]
    for key in reversed(keys):
        await store.put_value("b", key, keyvalue_pb2.TypedValue(integer=1))
    listed: list[str] = []
    while page := await store.list_values("b", prefix="", after=listed[-1] if listed else "", limit=3, keys_only=True):
        listed += [entry.key for entry in page]
    assert listed == keys
    for prefix in ("k", "k" * 300, "a", "\x01", "\U00010000"):
        found = await store.list_values("b", prefix=prefix, after="", limit=100)
        assert [entry.key for entry in found] == [key for key in keys if key.startswith(prefix)], prefix


async def test_an_error_in_the_middle_of_a_write_leaves_nothing(store: PostgresStore, sql: Any) -> None:
    await store.open_bank(vector_bank("b"))
    number = await sql.fetchval("SELECT number FROM banks")
    await sql.execute(f"ALTER TABLE vectors_{number} ADD CHECK (norm < 100)")
    fine, broken = vectors(3), vectors(3) * 1000
    with pytest.raises(CaravanError):
        await store.write_documents("b", [write("a", ["x"] * 3, fine), write("b", ["y"] * 3, broken)])
    statistics = await store.statistics("b")
    assert (statistics.document_count, statistics.chunk_count, statistics.token_count) == (0, 0, 0)
    assert await sql.fetchval(f"SELECT count(*) FROM chunks_{number}") == 0
