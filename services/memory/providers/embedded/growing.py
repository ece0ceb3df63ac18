"""Arrays that grow at their end."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_FIRST = 64


class Growing:
    """A one-dimensional array that grows. One thread at a time appends; what a reader has taken by `view` stays as it is."""

    def __init__(self, dtype: DTypeLike) -> None:
        """Begins empty."""
        self._array: NDArray[Any] = np.zeros(_FIRST, dtype)
        self.size = 0
        """Number of elements."""

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return int(self._array.nbytes)

    def view(self) -> NDArray[Any]:
        """Returns the elements there are now, without a copy."""
        size = self.size
        return self._array[:size]

    def append(self, values: NDArray[Any]) -> None:
        """Adds elements."""
        size = self.size + len(values)
        if size > len(self._array):
            larger = np.zeros(max(size, len(self._array) * 3 // 2), self._array.dtype)
            larger[: self.size] = self._array[: self.size]
            self._array = larger
        self._array[self.size : size] = values
        self.size = size
