"""The order of rows: the same for the same seed, however often a training is interrupted."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class Order(Sampler[int]):  # type: ignore[misc] # torch has no types here
    """The rows of an epoch, in their order."""

    def __init__(self, rows: int, *, seed: int, shuffle: bool, limit: int) -> None:
        """Makes the order of the first epoch.

        Args:
            rows: Number of rows.
            seed: Seed of the order.
            shuffle: Rows are shuffled, anew in each epoch.
            limit: Most rows of an epoch. 0: all.
        """
        self._rows = rows
        self._seed = seed
        self._shuffle = shuffle
        self._limit = min(limit, rows) if limit else rows
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Goes to an epoch.

        Args:
            epoch: Its number, from 0.
        """
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yields the numbers of the rows."""
        if not self._shuffle:
            return iter(range(self._limit))
        # A sum of seed and epoch would give the next seed the same orders.
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + self._epoch) % 2**63)
        return iter(torch.randperm(self._rows, generator=generator)[: self._limit].tolist())

    def __len__(self) -> int:
        """Returns the number of rows of an epoch."""
        return self._limit
