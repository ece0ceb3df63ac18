"""The vectors of a large bank: cells for filtered searches, and a width that finds itself."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.memory.providers.embedded.partition import SMALLEST
from services.memory.providers.embedded.vector_index import Fitting, VectorIndex, VectorLayout
from tests.conformance.memory.building import COSINE, L2
from tests.conformance.memory.test_vectors import LIKE_TEXT, clustered, true_scores

COUNT = SMALLEST + 1000
METRICS = pytest.mark.parametrize("metric", [COSINE, L2], ids=["cosine", "l2"])


def layout(metric: int) -> VectorLayout:
    return VectorLayout(
        dimension=LIKE_TEXT,
        metric=metric,  # type: ignore[arg-type]
        graph=True,
        links=16,
        construction_width=40,
        threads=1,
    )


@pytest.fixture(scope="module")
def large() -> dict[int, VectorIndex]:
    points = clustered(COUNT, 2)
    made = {}
    for metric in (COSINE, L2):
        index = made[metric] = VectorIndex(layout(metric))
        for begin in range(0, COUNT, 2000):
            index.add(points[begin : begin + 2000])
            if index.wants_tuning:
                index.tune()
    return made


def fitting(mask: NDArray[np.bool_]) -> Fitting:
    ordinals = np.flatnonzero(mask)
    return Fitting(np.packbits(mask, bitorder="little"), len(ordinals), ordinals)


def recall(index: VectorIndex, metric: int, mask: NDArray[np.bool_]) -> float:
    points, queries = clustered(COUNT, 2), clustered(40, 3)
    which, hits = fitting(mask), 0
    for query in queries:
        scores = np.where(mask, true_scores(points, query, metric), -np.inf)  # type: ignore[arg-type]
        found = index.search(query, 10, which, exact=False, width=None)
        assert found is not None
        assert mask[found[0]].all()
        assert found[1] == pytest.approx(scores[found[0]], abs=5e-3)
        hits += len(set(np.argsort(-scores)[:10]) & set(found[0].tolist()))
    return hits / (10 * len(queries))


@METRICS
@pytest.mark.parametrize("share", [0.05, 0.15, 0.25, 0.5, 0.9, 1.0])
def test_nearly_all_of_the_nearest_that_fit_are_found(large: dict[int, VectorIndex], metric: int, share: float) -> None:
    mask = np.random.default_rng(1).random(COUNT) < share
    assert recall(large[metric], metric, mask) >= 0.95


@METRICS
def test_an_index_that_was_kept_finds_the_same(large: dict[int, VectorIndex], metric: int, tmp_path: Path) -> None:
    state = large[metric].write(tmp_path / "vectors")
    restored = VectorIndex.restored(layout(metric), tmp_path / "vectors", state)
    for share in (0.15, 1.0):
        which = fitting(np.random.default_rng(1).random(COUNT) < share)
        for query in clustered(5, 4):
            first, second = (
                index.search(query, 10, which, exact=False, width=None) for index in (large[metric], restored)
            )
            assert first is not None
            assert second is not None
            assert first[0].tolist() == second[0].tolist()


def test_vectors_without_structure_are_all_compared() -> None:
    index = VectorIndex(layout(COSINE))
    points = np.random.default_rng(1).standard_normal((5000, LIKE_TEXT)).astype(np.float32)
    for begin in range(0, 5000, 1000):
        index.add(points[begin : begin + 1000])
    every = Fitting(None, 5000, None)
    hits = 0
    for query in np.random.default_rng(2).standard_normal((40, LIKE_TEXT)).astype(np.float32):
        found = index.search(query, 10, every, exact=False, width=None)
        assert found is not None
        true = np.argsort(-true_scores(points, query, COSINE))[:10]
        hits += len(set(true) & set(found[0].tolist()))
    assert hits / 400 >= 0.95


def test_a_search_that_must_not_wait_says_so_while_vectors_are_added() -> None:
    index = VectorIndex(layout(COSINE))
    index.add(clustered(100, 1))
    every = Fitting(None, 100, None)
    with index._lock.alone():
        assert index.search(clustered(1, 2)[0], 5, every, exact=False, width=None, wait=False) is None
    assert index.search(clustered(1, 2)[0], 5, every, exact=False, width=None, wait=False) is not None
