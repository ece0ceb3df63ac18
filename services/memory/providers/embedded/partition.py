"""A coarse division of a bank's vectors: which of them are near a query, roughly, without looking at each.

Filtered searches need it. In the graph the cost of a search grows with the inverse of the share that fits a filter; here it does not: only
fitting vectors are looked at, those of the nearest cells first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.memory.providers.embedded.growing import Growing

SMALLEST = 16_384
"""Vectors from which on it is worth it."""
_ROUNDS = 4
_SAMPLE_PER_CELL = 40
_BLOCK = 8192
_GROWTH = 4


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The division at one time."""

    centres: NDArray[np.float32]
    """Centre of each cell."""
    offsets: NDArray[np.float32]
    """Half the square of each centre's length; 0 where only angles count."""
    cell_of: Growing
    """Cell of each vector, by ordinal."""

    @classmethod
    def made_of(cls, sample: NDArray[np.float32], count: int, *, angular: bool) -> "Cells":
        """Finds centres by a few rounds of k-means (Lloyd's algorithm).

        Args:
            sample: Some vectors in random order.
            count: Number of cells.
            angular: Vectors and centres have length 1.
        """
        centres = sample[:count].copy()
        for _ in range(_ROUNDS):
            cells = cls.of(centres, angular=angular).nearest(sample)
            order = np.argsort(cells, kind="stable")
            held, firsts = np.unique(cells[order], return_index=True)
            sizes = np.diff(np.append(firsts, len(cells)))
            means = np.add.reduceat(sample[order], firsts, axis=0) / sizes[:, None]
            if angular:
                means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
            centres[held] = means
        return cls.of(centres, angular=angular)

    @classmethod
    def of(cls, centres: NDArray[np.float32], *, angular: bool) -> "Cells":
        """Returns cells with these centres and without vectors."""
        offsets = np.zeros(len(centres), np.float32) if angular else (centres**2).sum(axis=1) / 2
        return cls(centres, offsets.astype(np.float32), Growing(np.uint16))

    def nearest(self, vectors: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Returns the cell of each vector."""
        cells = np.empty(len(vectors), np.uint16)
        for begin in range(0, len(vectors), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            cells[block] = np.argmax(vectors[block] @ self.centres.T - self.offsets, axis=1)
        return cells


@dataclass(frozen=True, slots=True, eq=False)
class PlacedVectors:
    """Some vectors by the cells that they lie in."""

    cells: Cells
    """The division."""
    ordinals: NDArray[np.int64]
    """The vectors, those of one cell after those of another."""
    ends: NDArray[np.int64]
    """Where each cell's end."""

    @classmethod
    def of(cls, cells: Cells, ordinals: NDArray[np.int64]) -> "PlacedVectors":
        """Looks up where vectors lie."""
        cell_of = cells.cell_of.view()[ordinals]
        ends = np.cumsum(np.bincount(cell_of, minlength=len(cells.centres)))
        return cls(cells, ordinals[np.argsort(cell_of, kind="stable")], ends)

    def near(self, query: NDArray[np.float32], least: int) -> NDArray[np.int64]:
        """Returns those of the vectors that lie in the cells nearest to a query.

        Args:
            query: The vector that others are to be near to.
            least: Number of vectors to return at least; as many cells are taken.
        """
        parts, count = [], 0
        for cell in np.argsort(self.cells.offsets - self.cells.centres @ query).tolist():
            part = self.ordinals[self.ends[cell - 1] if cell else 0 : self.ends[cell]]
            parts.append(part)
            count += len(part)
            if count >= least:
                break
        return np.concatenate(parts)


def wanted_cells(size: int) -> int:
    """Returns how many cells suit a number of vectors: 256 from the smallest on, twice as many for four times as many vectors."""
    cells, reach = 256, SMALLEST * _GROWTH
    while size >= reach and cells < 32_768:
        cells, reach = cells * 2, reach * _GROWTH
    return cells


def sample_size(cells: int) -> int:
    """Returns how many vectors the centres are found from."""
    return cells * _SAMPLE_PER_CELL
