"""Vectors of chunks in memory: a graph (HNSW) that is searched approximately, and the same vectors searched one by one.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World graphs" (2018), as
faiss has it. With the cosine metric vectors are kept in half precision: half the memory, and faster to compare. Other metrics take vectors
of any length, which half precision could not hold.
"""

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from caravan.registry.v1 import memory_banks_pb2
from services.memory.providers.embedded.partition import (
    SMALLEST,
    Cells,
    PlacedVectors,
    sample_size,
    wanted_cells,
)
from services.memory.providers.embedded.shared_lock import SharedLock

# Its stubs know little of its wrappers.
faiss: Any = typed_faiss

_SLICE_SECONDS = 0.003
_LARGEST_SLICE = 512
_SCANNED_BELOW = 2000
_GRAPH_SHARE = 0.3
_NEAR_PER_WIDTH = 10
_PICKED_SHARE = 8
_COMPARED_PER_WIDTH = 12
_QUICK_COMPONENTS = 1_000_000
_WIDTHS = (48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_PROBES = 48
_WANTED_RECALL = 0.975
_PROBE_GROWTH = 1.7


@dataclass(frozen=True, slots=True)
class VectorLayout:
    """What vectors are and how they are searched."""

    dimension: int
    """Length of a vector."""
    metric: memory_banks_pb2.VectorMetric.ValueType
    """How vectors are compared."""
    graph: bool
    """Whether there is a graph."""
    links: int
    """Links of a vector in the graph (M)."""
    construction_width: int
    """Width of the search for a new vector's neighbours."""
    threads: int
    """Threads that add."""

    @property
    def angular(self) -> bool:
        """Whether only angles count."""
        return self.metric == memory_banks_pb2.VECTOR_METRIC_COSINE


@dataclass(slots=True, eq=False)
class Fitting:
    """The vectors that a search may find."""

    bits: NDArray[np.uint8] | None
    """One bit for each ordinal, as faiss wants them. None: all vectors there are."""
    count: int
    """Number of them."""
    ordinals: NDArray[np.int64] | None
    """The ordinals, where a filter has been applied."""
    placed: PlacedVectors | None = None
    """The cells that they lie in, once somebody has asked."""


class VectorIndex:
    """The vectors of a bank. One thread at a time adds; any number search."""

    def __init__(self, layout: VectorLayout) -> None:
        """Begins empty."""
        self._layout = layout
        self._lock = SharedLock()
        self._index: Any = _new_index(layout)
        self._cells: Cells | None = None
        self._slice = 16
        self._width: int | None = None
        self._probed_at = 0
        self._probes = 0
        self._hits = dict.fromkeys(_WIDTHS, 0)

    @property
    def size(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    @property
    def memory_bytes(self) -> int:
        """Size in memory, about."""
        layout = self._layout
        each = layout.dimension * (2 if layout.angular else 4) + (8.5 * layout.links if layout.graph else 0)
        return int(each * self.size)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Adds vectors with the next ordinals. Searches do not find them while the fitting ones do not name them.

        They go in by slices of a few milliseconds; searches run in between.
        """
        vectors = self._normal(vectors)
        faiss.omp_set_num_threads(self._layout.threads)
        if self._layout.graph and self.size >= max(_SCANNED_BELOW, self._probed_at * _PROBE_GROWTH):
            self._probe(vectors)
        cells = self._cells
        if cells is not None:
            cells.cell_of.append(cells.nearest(vectors))
        begin = 0
        while begin < len(vectors):
            part = vectors[begin : begin + self._slice]
            with self._lock.alone():
                # This thread's own time: how long others held it up says nothing about the slice.
                started = time.thread_time()
                self._index.add(part)
                taken = time.thread_time() - started
            begin += len(part)
            if len(part) == self._slice or taken > _SLICE_SECONDS:
                fair = int(len(part) * _SLICE_SECONDS / max(taken, 1e-6))
                self._slice = min(max(fair, self._slice // 2, 8), self._slice * 2, _LARGEST_SLICE)

    def is_quick(self, k: int, fitting: Fitting, *, exact: bool, width: int | None) -> bool:
        """Whether a search takes well under a millisecond, so that handing it to a thread would take longer."""
        width = None if exact else width or self._width
        if width is None or not self._layout.graph or fitting.count <= max(_SCANNED_BELOW, 2 * k):
            compared = fitting.count
        elif fitting.count < _GRAPH_SHARE * self.size:
            compared = fitting.count if self._cells is None else 2 * _NEAR_PER_WIDTH * width + 4 * k
        else:
            compared = _COMPARED_PER_WIDTH * int(max(width, k) * self.size / fitting.count)
        return compared * self._layout.dimension <= _QUICK_COMPONENTS

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        fitting: Fitting,
        *,
        exact: bool,
        width: int | None,
        wait: bool = True,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """Finds the nearest vectors.

        Args:
            vector: What to look for, shape (dimension,).
            k: Most vectors.
            fitting: The vectors that may be found.
            exact: Looks at all of them.
            width: Width of the approximate search. None: what was found to be enough.
            wait: Waits while vectors are added.

        Returns:
            Ordinals and scores as `Store.search_vectors` has them, best first. None: it was not to wait.
        """
        k = min(k, fitting.count)
        if k == 0:
            return np.empty(0, np.int64), np.empty(0)
        query = self._query(vector)
        if not self._lock.acquire_shared(wait=wait):
            return None
        try:
            ordinals, raw = self._nearest(query, k, fitting, None if exact else width or self._width)
        finally:
            self._lock.release_shared()
        return ordinals, self._scores(raw)

    def _nearest(
        self, query: NDArray[np.float32], k: int, fitting: Fitting, width: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        size = self.size
        share = fitting.count / size
        if width is None or not self._layout.graph or fitting.count <= max(_SCANNED_BELOW, 2 * k):
            return self._scan(query, k, fitting)
        width = max(width, k)
        if share < _GRAPH_SHARE:
            return self._near(query, k, fitting, width)
        if fitting.bits is None:
            parameters = _unfiltered(width)
        else:
            selector = faiss.IDSelectorBitmap(fitting.bits)
            parameters = faiss.SearchParametersHNSW(efSearch=min(size, int(width / share)), sel=selector)
        raw, ordinals = self._index.search(query, k, params=parameters)
        if ordinals[0, -1] < 0:
            return self._scan(query, k, fitting)
        return ordinals[0], raw[0]

    def _near(
        self, query: NDArray[np.float32], k: int, fitting: Fitting, width: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Searches fitting vectors in the cells around the query."""
        cells, ordinals = self._cells, fitting.ordinals
        least = max(_NEAR_PER_WIDTH * width, 4 * k)
        if cells is None or ordinals is None or least > fitting.count // 2:
            return self._scan(query, k, fitting)
        placed = fitting.placed
        if placed is None or placed.cells is not cells:
            placed = fitting.placed = PlacedVectors.of(cells, ordinals)
        return self._compared(query, k, placed.near(query[0], least))

    def _scan(
        self, query: NDArray[np.float32], k: int, fitting: Fitting
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Looks at all fitting vectors; there are at least k."""
        if fitting.ordinals is not None and fitting.count * _PICKED_SHARE < self.size:
            return self._compared(query, k, fitting.ordinals)
        parameters = None if fitting.bits is None else faiss.SearchParameters(sel=faiss.IDSelectorBitmap(fitting.bits))
        raw, ordinals = self._storage().search(query, k, params=parameters)
        return ordinals[0], raw[0]

    def _compared(
        self, query: NDArray[np.float32], k: int, ordinals: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Looks at some vectors, at least k: copied together they are compared sooner than picked out of all by a selector."""
        storage = self._storage()
        every = faiss.rev_swig_ptr(storage.codes.data(), self.size * storage.code_size)
        few = _new_storage(self._layout)
        few.add_sa_codes(np.take(every.reshape(self.size, storage.code_size), ordinals, axis=0))
        raw, places = few.search(query, k)
        return ordinals[places[0]], raw[0]

    def _storage(self) -> Any:
        return faiss.downcast_index(self._index.storage) if self._layout.graph else self._index

    def _query(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns a vector as the index compares it, shape (1, dimension)."""
        if self._layout.angular:
            square = float(np.dot(vector, vector))
            if 1e-20 < square < 1e30:
                return (vector * np.float32(1 / math.sqrt(square)))[None, :]
        return self._normal(vector[None, :])

    def _normal(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self._layout.angular:
            return np.ascontiguousarray(vectors, np.float32)
        wide = vectors.astype(np.float64) if _extreme(vectors) else vectors
        return np.ascontiguousarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), np.float32)

    def _scores(self, raw: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = raw.astype(np.float64)
        if self._layout.angular:
            return np.clip(scores, -1.0, 1.0)
        if self._layout.metric == memory_banks_pb2.VECTOR_METRIC_L2:
            scores = 1 / (1 + np.sqrt(np.maximum(scores, 0)))
        return scores

    # What follows the bank's growth.

    @property
    def wants_tuning(self) -> bool:
        """Whether there are so many more vectors than the last time that `tune` has something to do."""
        if not self._layout.graph or self._layout.metric == memory_banks_pb2.VECTOR_METRIC_DOT:
            return False
        cells = self._cells
        return self.size >= SMALLEST and (cells is None or len(cells.centres) < wanted_cells(self.size))

    def tune(self) -> None:
        """Divides the vectors into cells. Nobody may add meanwhile."""
        if self.wants_tuning:
            self._cells = self._divided(wanted_cells(self.size))

    def _divided(self, count: int) -> Cells:
        chosen = np.random.default_rng(0).choice(self.size, min(self.size, sample_size(count)), replace=False)
        cells = Cells.made_of(self._vectors(chosen), count, angular=self._layout.angular)
        for begin in range(0, self.size, _LARGEST_SLICE * 16):
            block = np.arange(begin, min(begin + _LARGEST_SLICE * 16, self.size))
            cells.cell_of.append(cells.nearest(self._vectors(block)))
        return cells

    def _probe(self, fresh: NDArray[np.float32]) -> None:
        """Asks for the neighbours of vectors that are about to be added, exactly and by the graph, to find out how wide searches must be.

        Vectors that are in the graph would be found more easily than what a user asks for.
        """
        chosen = np.random.default_rng(self.size).permutation(len(fresh))[: _PROBES - self._probes]
        for probe in fresh[chosen]:
            hits = 0
            with self._lock.shared():
                near = set(self._storage().search(probe[None, :], 10)[1][0].tolist())
                for width in _WIDTHS:
                    # A wider search finds what a narrower one did.
                    if hits < len(near):
                        found = self._index.search(probe[None, :], 10, params=_unfiltered(width))[1][0]
                        hits = len(near.intersection(found.tolist()))
                    self._hits[width] += hits
        self._probes += len(chosen)
        if self._probes == _PROBES:
            enough = [width for width, hits in self._hits.items() if hits >= _WANTED_RECALL * 10 * _PROBES]
            # Where the graph would have to compare with most vectors, comparing with all is as quick and finds more.
            quick = enough[:1] if enough and _COMPARED_PER_WIDTH * enough[0] < self.size else []
            self._width = quick[0] if quick else None
            self._probed_at, self._probes, self._hits = self.size, 0, dict.fromkeys(_WIDTHS, 0)

    def _vectors(self, ordinals: NDArray[np.int64]) -> NDArray[np.float32]:
        with self._lock.shared():
            vectors: NDArray[np.float32] = self._storage().reconstruct_batch(ordinals)
        return vectors

    # Snapshots.

    def write(self, path: Path) -> dict[str, NDArray[Any]]:
        """Writes the vectors and the graph into a file; returns the rest of what `restored` needs."""
        with self._lock.shared():
            faiss.write_index(self._index, str(path))
        cells = self._cells
        state: dict[str, NDArray[Any]] = {"tuning": np.array([self._width or 0, self._probed_at], np.int64)}
        if cells is not None:
            state |= {"centres": cells.centres, "cells": cells.cell_of.view()[: self.size]}
        return state

    @classmethod
    def restored(cls, layout: VectorLayout, path: Path, state: dict[str, NDArray[Any]]) -> "VectorIndex":
        """Reads what `write` has written."""
        index = cls(layout)
        index._index = faiss.read_index(str(path))
        width, probed_at = state["tuning"].tolist()
        index._width, index._probed_at = width or None, probed_at
        if "centres" in state:
            cells = Cells.of(np.ascontiguousarray(state["centres"], np.float32), angular=layout.angular)
            cells.cell_of.append(state["cells"])
            index._cells = cells
        return index


@lru_cache(maxsize=256)
def _unfiltered(width: int) -> Any:
    """Parameters of a search of the whole graph. Making them takes as long as a tenth of a search."""
    return faiss.SearchParametersHNSW(efSearch=width)


def _extreme(vectors: NDArray[np.float32]) -> bool:
    """Whether squares of the components leave the range of single precision."""
    largest = np.abs(vectors).max(axis=1)
    return bool((largest > 1e15).any() or (largest < 1e-15).any())


def _faiss_metric(layout: VectorLayout) -> Any:
    inner = layout.metric != memory_banks_pb2.VECTOR_METRIC_L2
    return faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2


def _new_storage(layout: VectorLayout) -> Any:
    """Vectors without a graph."""
    if layout.angular:
        return faiss.IndexScalarQuantizer(layout.dimension, faiss.ScalarQuantizer.QT_fp16, _faiss_metric(layout))
    return faiss.IndexFlat(layout.dimension, _faiss_metric(layout))


def _new_index(layout: VectorLayout) -> Any:
    if not layout.graph:
        return _new_storage(layout)
    metric = _faiss_metric(layout)
    if layout.angular:
        index = faiss.IndexHNSWSQ(layout.dimension, faiss.ScalarQuantizer.QT_fp16, layout.links, metric)
    else:
        index = faiss.IndexHNSWFlat(layout.dimension, layout.links, metric)
    index.hnsw.efConstruction = layout.construction_width
    # Half precision needs no training.
    index.is_trained = True
    return index
