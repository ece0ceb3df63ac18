"""Vectors in pgvector's binary form: two bytes of length, two that are zero, and big-endian floats."""

import math
from typing import TYPE_CHECKING

import numpy as np

from caravan.registry.v1 import memory_banks_pb2
from services.memory.records import BankSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 16_000
"""Most dimensions that pgvector holds."""
LONGEST_INDEXED = 4_000
"""Most dimensions that it indexes, at half precision."""
LONGEST_INDEXED_WHOLE = 2_000
"""Most dimensions that it indexes as they are."""


def encoded(vector: "NDArray[np.float32]") -> bytes:
    """Returns a vector as pgvector receives it."""
    return len(vector).to_bytes(2) + b"\x00\x00" + vector.astype(">f4").tobytes()


def decoded(data: bytes) -> "NDArray[np.float32]":
    """Returns a vector that pgvector has sent."""
    return np.frombuffer(data, ">f4", offset=4).astype(np.float32)


def normalized(vectors: "NDArray[np.float32]") -> "tuple[NDArray[np.float32], NDArray[np.float64]]":
    """Returns vectors at length 1, and the lengths they had.

    Args:
        vectors: Vectors that are not zero, shape (n, dimension).
    """
    whole = vectors.astype(np.float64)
    norms = np.linalg.norm(whole, axis=1)
    return (whole / norms[:, None]).astype(np.float32), norms


class Space:
    """How one bank's vectors are kept and compared.

    With the cosine metric they are kept at length 1, beside the length they had: likeness is then an inner product, the cheapest there is,
    and fits into half precision whatever the vectors' length. Indexes of half the precision take half the memory and find the same (the
    order of what they find is made of the whole vectors); the other metrics' vectors may exceed its range and are indexed whole
    up to `LONGEST_INDEXED_WHOLE` dimensions.
    """

    def __init__(self, spec: BankSpec) -> None:
        """Describes the vectors of a bank.

        Args:
            spec: A bank with vectors.
        """
        assert spec.dimension is not None
        self.dimension = spec.dimension
        self.cosine = spec.metric == memory_banks_pb2.VECTOR_METRIC_COSINE
        self.euclidean = spec.metric == memory_banks_pb2.VECTOR_METRIC_L2
        self.indexed = spec.index == memory_banks_pb2.VECTOR_INDEX_HNSW
        self.operator = "<->" if self.euclidean else "<#>"
        """Distance; `<#>` is the negative inner product."""
        halved = self.cosine or spec.dimension > LONGEST_INDEXED_WHOLE
        self._indexed_type = f"halfvec({spec.dimension})" if halved else ""
        family = "halfvec" if halved else "vector"
        self._operators = f"{family}_{'l2' if self.euclidean else 'ip'}_ops"

    @property
    def storage(self) -> str:
        """How a row keeps the vector: within it, as long as that fits into a page."""
        return "PLAIN" if self.dimension <= LONGEST_INDEXED_WHOLE - 40 else "EXTERNAL"

    @property
    def index(self) -> str:
        """What the index is made on, with its operators."""
        return f"({self._as_indexed('embedding')}) {self._operators}"

    def indexed_distance(self, parameter: str) -> str:
        """The distance by which the index orders.

        Args:
            parameter: SQL of the vector to look for.
        """
        return f"{self._as_indexed('v.embedding')} {self.operator} {self._as_indexed(parameter)}"

    def distance(self, parameter: str) -> str:
        """The distance of the whole vectors; no index fits it, so that ordering by it is exact."""
        return (
            f"v.embedding {self.operator} {parameter}"
            if self._indexed_type
            else f"(v.embedding {self.operator} {parameter}) + 0"
        )

    def score(self, distance: float) -> float:
        """Returns what a distance of PostgreSQL's means as a score, always finite."""
        if math.isnan(distance):
            return 0.0 if self.euclidean else -np.finfo(np.float32).max.item()
        if self.euclidean:
            return 1.0 / (1.0 + distance)
        if self.cosine:
            return min(1.0, max(-1.0, -distance))
        largest = np.finfo(np.float32).max.item()
        return min(largest, max(-largest, -distance))

    def _as_indexed(self, what: str) -> str:
        return f"({what})::{self._indexed_type}" if self._indexed_type else what
