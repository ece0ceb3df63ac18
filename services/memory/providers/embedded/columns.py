"""Metadata of chunks in memory, by key, and filters over them. What a filter means is said in `services.memory.filters`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf import struct_pb2
from numpy.typing import NDArray

from caravan.memory.v1 import filters_pb2
from services.memory.filters import Scalar, scalar

_MISSING = 0
_INCOMPARABLE = 1
_DENSE_SHARE = 16
_FIRST = 64
_RESERVED = frozenset(("document_id", "mime_type", "inserted_at"))

Comparison = Callable[[Any, Any], Any]
_COMPARISONS: Mapping[str, Comparison] = {
    "greater": lambda a, b: a > b,
    "greater_or_equal": lambda a, b: a >= b,
    "less": lambda a, b: a < b,
    "less_or_equal": lambda a, b: a <= b,
}


class Column:
    """The values of one key. Each distinct value has a code; a chunk has the code of its value."""

    __slots__ = ("_codes", "_count", "_dense", "_lists", "_ordered", "_reach", "_sparse")

    def __init__(self) -> None:
        """Begins without values."""
        self._codes: dict[str, dict[Any, int]] = {}
        self._lists: dict[frozenset[Scalar], int] = {}
        self._count = 2
        # Few values: by chunk. Many: an array over all chunks.
        self._sparse: dict[int, int] = {}
        self._dense: NDArray[np.int32] | None = None
        self._reach = 0
        self._ordered: dict[str, tuple[int, NDArray[Any], NDArray[np.int32]]] = {}

    @property
    def memory_bytes(self) -> int:
        """Size in memory, about."""
        return (0 if self._dense is None else self._dense.nbytes) + 100 * len(self._sparse) + 160 * self._count

    def code(self, value: struct_pb2.Value) -> int:
        """Returns the code of a value."""
        if value.HasField("list_value"):
            elements = frozenset(found for found in map(scalar, value.list_value.values) if found is not None)
            return self._coded(self._lists, elements) if elements else _INCOMPARABLE
        found = scalar(value)
        return _INCOMPARABLE if found is None else self.scalar_code(found)

    def scalar_code(self, found: Scalar) -> int:
        """Returns the code of a scalar."""
        return self._coded(self._codes.setdefault(found[0], {}), found[1])

    def _coded(self, codes: dict[Any, int], value: Any) -> int:
        code = codes.get(value)
        if code is None:
            code = codes[value] = self._count
            self._count += 1
        return code

    def set(self, first: int, last: int, code: int) -> None:
        """Gives the chunks from ordinal `first` up to `last`, which is not one of them, a code."""
        self._reach = max(self._reach, last)
        if self._dense is None and (len(self._sparse) + last - first) * _DENSE_SHARE > self._reach:
            self._make_dense(self._reach)
        if self._dense is None:
            self._sparse.update(dict.fromkeys(range(first, last), code))
            return
        if last > len(self._dense):
            self._dense = np.concatenate((self._dense, np.zeros(max(last, len(self._dense) // 2), np.int32)))
        self._dense[first:last] = code

    def clear(self, ordinal: int) -> None:
        """Takes a chunk's value away."""
        if self._dense is None:
            self._sparse.pop(ordinal, None)
        elif ordinal < len(self._dense):
            self._dense[ordinal] = _MISSING

    def _make_dense(self, size: int) -> None:
        dense = np.zeros(max(_FIRST, size + size // 2), np.int32)
        if self._sparse:
            dense[np.fromiter(self._sparse, np.int64)] = np.fromiter(self._sparse.values(), np.int32)
        self._dense, self._sparse = dense, {}

    # Filters: which of the first `size` chunks fit.

    def present(self, size: int) -> NDArray[np.bool_]:
        """Those that have the key."""
        wanted = np.ones(self._count, np.bool_)
        wanted[_MISSING] = False
        return self._having(wanted, size)

    def equal(self, found: Scalar, size: int) -> NDArray[np.bool_]:
        """Those whose value is equal."""
        code = self._codes.get(found[0], {}).get(found[1])
        if code is None:
            return np.zeros(size, np.bool_)
        if self._dense is not None and len(self._dense) >= size:
            fitting: NDArray[np.bool_] = self._dense[:size] == code
            return fitting
        wanted = np.zeros(self._count, np.bool_)
        wanted[code] = True
        return self._having(wanted, size)

    def one_of(self, values: Iterable[Scalar], size: int) -> NDArray[np.bool_]:
        """Those whose value, or an element of it, is one of several."""
        asked = set(values)
        wanted = np.zeros(self._count, np.bool_)
        for kind, value in asked:
            code = self._codes.get(kind, {}).get(value)
            if code is not None:
                wanted[code] = True
        for elements, code in self._lists.items():
            wanted[code] = not elements.isdisjoint(asked)
        return self._having(wanted, size)

    def compared(self, member: str, found: Scalar, size: int) -> NDArray[np.bool_]:
        """Those whose value is of the same type and greater or less, as `member` says."""
        values, codes = self._of_type(found[0])
        wanted = np.zeros(self._count, np.bool_)
        if len(values):
            wanted[codes[_COMPARISONS[member](values, found[1]).astype(np.bool_)]] = True
        return self._having(wanted, size)

    def _of_type(self, kind: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """The values of one type and their codes as arrays, kept until there are more."""
        codes = self._codes.get(kind, {})
        known = self._ordered.get(kind)
        if known is None or known[0] != len(codes):
            dtype = {"number": np.float64, "time": np.int64}.get(kind, np.object_)
            # An object array compares texts as Python does, by code points.
            values = np.fromiter(codes, dtype, len(codes))
            known = len(codes), values, np.fromiter(codes.values(), np.int32, len(codes))
            self._ordered[kind] = known
        return known[1], known[2]

    def _having(self, wanted: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
        fitting = np.zeros(size, np.bool_)
        if self._dense is not None:
            codes = self._dense[:size]
            fitting[: len(codes)] = wanted[codes]
            return fitting
        chosen = [ordinal for ordinal, code in self._sparse.items() if wanted[code] and ordinal < size]
        fitting[chosen] = True
        return fitting


class Columns:
    """The metadata of a bank's chunks, by ordinal. Not thread-safe."""

    def __init__(self) -> None:
        """Begins empty."""
        self._columns: dict[str, Column] = {}

    @property
    def memory_bytes(self) -> int:
        """Size in memory, about."""
        return sum(column.memory_bytes for column in self._columns.values())

    def set(self, first: int, last: int, values: Mapping[str, int]) -> None:
        """Gives the chunks from ordinal `first` up to `last` what `coded` has returned. They have no values yet."""
        for key, code in values.items():
            self._columns[key].set(first, last, code)

    def replace(self, ordinals: Iterable[int], values: Mapping[str, int]) -> None:
        """Gives chunks other values than they have."""
        for ordinal in ordinals:
            for key, column in self._columns.items():
                if key not in values:
                    column.clear(ordinal)
            self.set(ordinal, ordinal + 1, values)

    def coded(self, own: Mapping[str, Scalar], metadata: struct_pb2.Struct) -> dict[str, int]:
        """Returns the codes of a chunk's values by key.

        Args:
            own: The document's own fields, as far as they are set.
            metadata: The metadata; what they have under the names of own fields does not count.
        """
        flat = _flat(metadata)
        codes = {path: self._column(path).code(value) for path, value in flat if path not in _RESERVED}
        for key, found in own.items():
            codes[key] = self._column(key).scalar_code(found)
        return codes

    def _column(self, key: str) -> Column:
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = Column()
        return column

    def fitting(self, condition: filters_pb2.MetadataFilter, size: int) -> NDArray[np.bool_]:
        """Returns which of the first `size` chunks fit a checked filter."""
        member = condition.WhichOneof("condition")
        match member:
            case "all_of":
                fitting = np.ones(size, np.bool_)
                for part in condition.all_of.filters:
                    fitting &= self.fitting(part, size)
                return fitting
            case "any_of":
                fitting = np.zeros(size, np.bool_)
                for part in condition.any_of.filters:
                    fitting |= self.fitting(part, size)
                return fitting
            case "negation":
                return ~self.fitting(condition.negation.filter, size)
            case None:
                return np.ones(size, np.bool_)
            case _:
                return self._leaf(member, getattr(condition, member), size)

    def _leaf(self, member: str, leaf: Any, size: int) -> NDArray[np.bool_]:
        column = self._columns.get(leaf.key)
        if column is None:
            return np.full(size, member == "not_equal")
        match member:
            case "present":
                return column.present(size)
            case "one_of":
                values = (scalar(value) for value in leaf.values)
                return column.one_of((found for found in values if found is not None), size)
        found = scalar(leaf.value)
        if found is None:
            return np.full(size, member == "not_equal")
        if member == "equal":
            return column.equal(found, size)
        if member == "not_equal":
            return ~column.equal(found, size)
        return column.compared(member, found, size)


def _flat(metadata: struct_pb2.Struct, prefix: str = "") -> Iterator[tuple[str, struct_pb2.Value]]:
    """Returns the values under the paths by which filters name them. A name with a dot cannot be named."""
    for name, value in metadata.fields.items():
        if "." in name:
            continue
        yield prefix + name, value
        if value.HasField("struct_value"):
            yield from _flat(value.struct_value, f"{prefix}{name}.")
