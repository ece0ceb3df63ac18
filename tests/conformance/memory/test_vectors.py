"""Searching vectors: exact is exact, approximate finds most."""

import numpy as np
import pytest
from numpy.typing import NDArray

from caravan.registry.v1 import memory_banks_pb2
from services.memory.ports import Store
from services.memory.records import Selection
from tests.conformance.memory.building import (
    COSINE,
    DOT,
    FLAT,
    HNSW,
    L2,
    chunk,
    chunk_ids,
    comparison,
    directions,
    loose,
    vector_spec,
)

Metric = memory_banks_pb2.VectorMetric.ValueType
METRICS = pytest.mark.parametrize("metric", [COSINE, DOT, L2], ids=["cosine", "dot", "l2"])
COUNT = 3000
LIKE_TEXT = 48


def clustered(count: int, seed: int, dimension: int = LIKE_TEXT) -> NDArray[np.float32]:
    """Vectors like those of texts: clusters of many sizes, and directions of falling importance."""
    kinds = np.random.default_rng(1)
    spectrum = np.arange(1, dimension + 1) ** -0.4
    centres = kinds.standard_normal((40, dimension)) * spectrum
    own = np.random.default_rng(seed)
    which = own.choice(40, count, p=(weights := 1 / np.arange(1, 41)) / weights.sum())
    points = centres[which] + own.standard_normal((count, dimension)) * spectrum
    return points.astype(np.float32)


def true_scores(points: NDArray[np.float32], query: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    wide, asked = points.astype(np.float64), query.astype(np.float64)
    if metric == COSINE:
        return wide @ asked / np.linalg.norm(wide, axis=1) / np.linalg.norm(asked)
    if metric == DOT:
        return wide @ asked
    return 1 / (1 + np.linalg.norm(wide - asked, axis=1))


async def filled(store: Store, metric: Metric, index: memory_banks_pb2.VectorIndex.ValueType = HNSW) -> str:
    spec = vector_spec(dimension=LIKE_TEXT, metric=metric, index=index)
    await store.open_bank(spec)
    points = clustered(COUNT, 2)
    for begin in range(0, COUNT, 1000):
        chunks = [
            chunk("t", f"d{place}", f"{place}", metadata={"tenth": place % 10, "place": place})
            for place in range(begin, begin + 1000)
        ]
        await store.insert_chunks(spec.bank_id, loose(*chunks, vectors=points[begin : begin + 1000]), None)
    return spec.bank_id


@pytest.fixture(scope="session")
async def large(shared_store: Store) -> dict[int, str]:
    """A bank for each metric, with points like those of texts."""
    return {metric: await filled(shared_store, metric) for metric in (COSINE, DOT, L2)}


async def found(store: Store, bank_id: str, query: NDArray[np.float32], k: int = 10, **how: object) -> list[int]:
    matches = await store.search_vectors(bank_id, query, k, **how)  # type: ignore[arg-type]
    return [int(name) for name in await chunk_ids(store, bank_id, matches)]


@METRICS
async def test_an_exact_search_is_the_same_as_comparing_with_every_vector(
    store: Store, large: dict[int, str], metric: Metric
) -> None:
    points = clustered(COUNT, 2)
    for query in clustered(8, 3):
        scores = true_scores(points, query, metric)
        matches = await store.search_vectors(large[metric], query, 10, exact=True)
        names = [int(name) for name in await chunk_ids(store, large[metric], matches)]
        tolerance = 2e-3 * max(1.0, float(np.abs(scores).max()))
        best = np.sort(scores)[::-1][:10]
        # Half precision may exchange those that are as good as equally near.
        assert scores[names] == pytest.approx(best, abs=tolerance)
        assert [match.score for match in matches] == pytest.approx(scores[names], abs=tolerance)


@METRICS
async def test_an_approximate_search_finds_nearly_all_of_the_nearest(
    store: Store, large: dict[int, str], metric: Metric
) -> None:
    points, hits = clustered(COUNT, 2), 0
    queries = clustered(50, 4)
    for query in queries:
        near = np.argsort(-true_scores(points, query, metric))[:10]
        hits += len(set(near) & set(await found(store, large[metric], query)))
    assert hits / (10 * len(queries)) >= 0.95


async def test_a_wider_search_is_accepted_and_finds_at_least_as_many(store: Store, large: dict[int, str]) -> None:
    query = clustered(1, 5)[0]
    near = set(np.argsort(-true_scores(clustered(COUNT, 2), query, COSINE))[:10])
    assert len(near & set(await found(store, large[COSINE], query, width=1000))) >= 9
    assert len(await found(store, large[COSINE], query, k=50, width=1)) == 50


@pytest.mark.parametrize(("key", "value", "fitting"), [("tenth", 3, 300), ("place", 77, 1)])
async def test_a_filtered_search_finds_as_many_as_fit(
    store: Store, large: dict[int, str], key: str, value: int, fitting: int
) -> None:
    query = clustered(1, 6)[0]
    where = comparison("equal", key, value)
    names = await found(store, large[COSINE], query, k=500, where=where)
    assert len(names) == fitting
    assert all((name % 10 if key == "tenth" else name) == value for name in names)


@METRICS
async def test_a_filtered_search_finds_nearly_all_of_the_nearest_that_fit(
    store: Store, large: dict[int, str], metric: Metric
) -> None:
    points, hits = clustered(COUNT, 2), 0
    queries = clustered(20, 7)
    for filter_, fits in (
        (comparison("equal", "tenth", 3), np.arange(COUNT) % 10 == 3),
        (comparison("less", "tenth", 6), np.arange(COUNT) % 10 < 6),
    ):
        for query in queries:
            scores = np.where(fits, true_scores(points, query, metric), -np.inf)
            near = set(np.argsort(-scores)[:10])
            hits += len(near & set(await found(store, large[metric], query, where=filter_)))
    assert hits / (2 * 10 * len(queries)) >= 0.95


async def test_scores_fall_and_are_finite_also_for_the_vector_itself(store: Store, large: dict[int, str]) -> None:
    itself = clustered(COUNT, 2)[17]
    for metric, bank_id in large.items():
        scores = [match.score for match in await store.search_vectors(bank_id, itself, 20)]
        assert np.isfinite(scores).all()
        assert scores == sorted(scores, reverse=True)
        if metric != DOT:
            assert scores[0] == pytest.approx(1, abs=2e-2 if metric == L2 else 2e-3)
            assert scores[0] <= 1


async def test_the_length_of_a_vector_does_not_count_with_cosine(store: Store, vectors: str) -> None:
    points = directions(4)
    lengths = np.array([[1e-6], [1.0], [1e4], [1e12]], np.float32)
    batch = loose(*(chunk("t", "d", f"{place}") for place in range(4)), vectors=points * lengths)
    await store.insert_chunks(vectors, batch, None)
    for place, point in enumerate(points):
        for factor in (1e-9, 1.0, 1e12):
            matches = await store.search_vectors(vectors, (point * factor).astype(np.float32), 1)
            assert await chunk_ids(store, vectors, matches) == [f"{place}"]
            assert matches[0].score == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("metric", [DOT, L2], ids=["dot", "l2"])
async def test_long_and_short_vectors_have_finite_scores(store: Store, metric: Metric) -> None:
    spec = vector_spec(metric=metric)
    await store.open_bank(spec)
    points = directions(3) * np.array([[1e-8], [1.0], [1e12]], np.float32)
    await store.insert_chunks(
        spec.bank_id, loose(*(chunk("t", "d", f"{place}") for place in range(3)), vectors=points), None
    )
    for point in points:
        matches = await store.search_vectors(spec.bank_id, point, 3)
        assert len(matches) == 3
        assert np.isfinite([match.score for match in matches]).all()


async def test_a_flat_bank_is_always_exact(store: Store) -> None:
    bank_id = await filled(store, COSINE, FLAT)
    points = clustered(COUNT, 2)
    for query in clustered(5, 8):
        scores = true_scores(points, query, COSINE)
        names = await found(store, bank_id, query)
        assert scores[names] == pytest.approx(np.sort(scores)[::-1][:10], abs=2e-3)


async def test_an_empty_bank_finds_nothing(store: Store, vectors: str) -> None:
    assert await store.search_vectors(vectors, directions(1)[0], 10) == []
    assert await store.search_vectors(vectors, directions(1)[0], 10, exact=True) == []


async def test_as_many_are_found_as_are_there(store: Store, vectors: str) -> None:
    batch = loose(*(chunk("t", "d") for _ in range(30)), vectors=directions(30))
    await store.insert_chunks(vectors, batch, None)
    assert len(await store.search_vectors(vectors, directions(1, 5)[0], 10_000)) == 30
    assert len(await store.search_vectors(vectors, directions(1, 5)[0], 7)) == 7


async def test_after_most_are_deleted_the_rest_is_still_found(store: Store) -> None:
    spec = vector_spec()
    await store.open_bank(spec)
    points = directions(2000)
    for begin in range(0, 2000, 500):
        chunks = [chunk("t", "keep" if place % 40 == 0 else "go", f"{place}") for place in range(begin, begin + 500)]
        await store.insert_chunks(spec.bank_id, loose(*chunks, vectors=points[begin : begin + 500]), None)
    await store.delete_documents(spec.bank_id, Selection(document_ids=["go"]))
    names = await found(store, spec.bank_id, directions(1, 3)[0], k=60)
    assert sorted(names) == list(range(0, 2000, 40))


async def test_equal_vectors_are_all_found(store: Store, vectors: str) -> None:
    points = np.repeat(directions(1), 25, axis=0)
    await store.insert_chunks(vectors, loose(*(chunk("t", "d") for _ in range(25)), vectors=points), None)
    assert len(await store.search_vectors(vectors, points[0], 25)) == 25
