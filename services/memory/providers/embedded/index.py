"""What a bank's searches need, in memory: vectors, words and metadata of its chunks, and which of them exist.

Chunks have ordinals, 0, 1, 2 and so on, in the order of their keys. New chunks are staged first, so that nobody sees them, and published
when the database has committed. Searches work on a `View`, which never changes.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from google.protobuf import struct_pb2
from numpy.typing import NDArray

from caravan.memory.v1 import filters_pb2
from services.memory.filters import Scalar
from services.memory.providers.embedded.columns import Columns
from services.memory.providers.embedded.growing import Growing
from services.memory.providers.embedded.vector_index import Fitting, VectorIndex
from services.memory.providers.embedded.word_index import Corpus, Texts, WordIndex
from services.memory.records import Match, WordQuery

_REMEMBERED_FILTERS = 32
_NEVER = np.inf


@dataclass(frozen=True, slots=True)
class Facets:
    """What filters see of some chunks, and when they expire."""

    own: Mapping[str, Scalar]
    """The document's own fields, as far as they are set."""
    metadata: struct_pb2.Struct
    """The document's metadata with the chunk's over them."""
    expires_at: float | None
    """When they expire."""


@dataclass(frozen=True, slots=True, eq=False)
class NewChunks:
    """Chunks that follow each other and have the same facets."""

    keys: Sequence[int]
    """Their keys, ascending, greater than all before."""
    facets: Facets
    """What filters see of them."""


@dataclass(slots=True)
class Changes:
    """What one transaction does to the index."""

    added: list[NewChunks] = field(default_factory=list)
    """New chunks in the order of their keys."""
    removed: list[int] = field(default_factory=list)
    """Keys of chunks that are gone."""
    altered: list[tuple[Sequence[int], Facets]] = field(default_factory=list)
    """Chunks whose facets have changed: keys, and what they have now."""
    altered_documents: list[str] = field(default_factory=list)
    """The documents of these chunks."""


class View:
    """Which chunks exist at one time."""

    def __init__(self, number: int, exists: NDArray[np.bool_], expires: NDArray[np.float64]) -> None:
        """Takes what exists.

        Args:
            number: Grows with every change.
            exists: Whether the chunk exists, by ordinal; must not change.
            expires: When it expires, by ordinal.
        """
        self.number = number
        self.exists = exists
        self.count = int(np.count_nonzero(exists))
        living = expires[exists]
        self.valid_until = float(living.min()) if len(living) else _NEVER

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """One bit for each ordinal."""
        return np.packbits(self.exists, bitorder="little")


class BankIndex:
    """The index of one bank. One thread at a time changes it; any number search."""

    def __init__(self, vectors: VectorIndex | None, words: WordIndex | None) -> None:
        """Begins with what a snapshot holds, or empty.

        Args:
            vectors: Vectors. None: the bank has none.
            words: Words. None: the bank has none.
        """
        self.vectors = vectors
        self.words = words
        self._keys = Growing(np.int64)
        self._expires = Growing(np.float64)
        self._columns = Columns()
        self._guard = threading.Lock()
        self._described: list[tuple[int, int, float]] = []
        self._view = View(0, np.zeros(0, np.bool_), np.zeros(0))
        self._filtered: OrderedDict[bytes, tuple[int, NDArray[np.bool_], Fitting]] = OrderedDict()

    @property
    def size(self) -> int:
        """Number of ordinals, those of chunks that are gone included."""
        return self._keys.size

    @property
    def dead(self) -> int:
        """Number of ordinals whose chunks are gone."""
        return self.size - self._view.count

    @property
    def complete(self) -> bool:
        """Whether every reserved place has its vector and its words."""
        return all(part is None or part.size == self.size for part in (self.vectors, self.words))

    @property
    def memory_bytes(self) -> int:
        """Size in memory, about."""
        parts = (part.memory_bytes for part in (self.vectors, self.words) if part is not None)
        return sum(parts) + self._keys.nbytes + self._expires.nbytes + self._columns.memory_bytes

    def keys(self) -> NDArray[np.int64]:
        """Returns the keys by ordinal."""
        return self._keys.view()

    def published_keys(self) -> NDArray[np.int64]:
        """Returns the keys of the chunks that exist, ascending."""
        exists = self._view.exists
        return self._keys.view()[: len(exists)][exists]

    def ordinals(self, keys: Sequence[int]) -> NDArray[np.int64]:
        """Returns the ordinals of those of some chunks that are here."""
        known = self._keys.view()
        wanted = np.asarray(keys, np.int64)
        places = np.searchsorted(known, wanted)
        inside = places < len(known)
        inside[inside] = known[places[inside]] == wanted[inside]
        return places[inside]

    # Changes.

    def reserve(self, keys: Sequence[int] | NDArray[np.int64]) -> None:
        """Gives the next ordinals to new chunks; they do not exist before they are published."""
        self._expires.append(np.full(len(keys), _NEVER))
        self._keys.append(np.asarray(keys, np.int64))

    def describe(self, new: Iterable[NewChunks]) -> None:
        """Notes what filters see of reserved chunks; `publish` makes them visible."""
        for group in new:
            first = int(self.ordinals(group.keys[:1])[0])
            last = first + len(group.keys)
            # Nobody looks at these places yet; filters that run meanwhile get their turn in between.
            with self._guard:
                self._columns.set(first, last, self._columns.coded(group.facets.own, group.facets.metadata))
            self._described.append((first, last, _time(group.facets.expires_at)))

    def publish(self, changes: Changes, now: float) -> None:
        """Makes what a transaction has done visible, all at once. The vectors and words of its chunks are there already."""
        self.describe(changes.added)
        with self._guard:
            view = self._view
            exists = np.zeros(self.size, np.bool_)
            exists[: len(view.exists)] = view.exists
            exists[self.ordinals(changes.removed)] = False
            expires = self._expires.view()
            for first, last, expiry in self._described:
                exists[first:last] = True
                expires[first:last] = expiry
            self._described = []
            for keys, facets in changes.altered:
                ordinals = self.ordinals(keys)
                self._columns.replace(ordinals.tolist(), self._columns.coded(facets.own, facets.metadata))
                expires[ordinals] = _time(facets.expires_at)
            self._view = View(view.number + 1, exists & (expires > now), expires)

    def _current(self, now: float) -> View:
        """Returns what exists now; what has expired meanwhile is taken out first. The caller has the guard."""
        view = self._view
        if view.valid_until <= now:
            expires = self._expires.view()[: len(view.exists)]
            view = self._view = View(view.number + 1, view.exists & (expires > now), expires)
        return view

    # Searches.

    def search_vectors(
        self,
        vector: NDArray[np.float32],
        k: int,
        now: float,
        *,
        where: filters_pb2.MetadataFilter | None,
        exact: bool,
        width: int | None,
    ) -> list[Match]:
        """Finds the chunks with the nearest vectors; see `Store.search_vectors`."""
        assert self.vectors is not None
        view, _, fitting = self._fitting(where, now)
        found = self.vectors.search(vector, k, self._told(fitting, view), exact=exact, width=width)
        assert found is not None
        return self._matches(*found)

    def search_vectors_at_once(
        self,
        vector: NDArray[np.float32],
        k: int,
        now: float,
        *,
        where: filters_pb2.MetadataFilter | None,
        exact: bool,
        width: int | None,
    ) -> list[Match] | None:
        """Does as `search_vectors` if that takes well under a millisecond and need not wait; otherwise returns None."""
        assert self.vectors is not None
        view = self._view
        if view.valid_until <= now:
            return None
        fitting = Fitting(None, view.count, None)
        if where is not None and where.WhichOneof("condition") is not None:
            known = self._filtered.get(where.SerializeToString(deterministic=True))
            if known is None or known[0] != view.number:
                return None
            fitting = known[2]
        if not self.vectors.is_quick(k, fitting, exact=exact, width=width):
            return None
        found = self.vectors.search(vector, k, self._told(fitting, view), exact=exact, width=width, wait=False)
        return None if found is None else self._matches(*found)

    def _told(self, fitting: Fitting, view: View) -> Fitting:
        """Names the vectors where not all there are exist."""
        assert self.vectors is not None
        if fitting.bits is None and self.vectors.size != view.count:
            return Fitting(view.bits, view.count, None)
        return fitting

    def search_words(
        self, query: WordQuery, k: int, now: float, *, where: filters_pb2.MetadataFilter | None, texts: Texts
    ) -> list[Match]:
        """Finds the chunks with a query's words; see `Store.search_words`."""
        assert self.words is not None
        view, mask, _ = self._fitting(where, now)
        ordinals, scores = self.words.search(query, k, Corpus(view.exists, view.count), mask, texts)
        return self._matches(ordinals, scores)

    def _matches(self, ordinals: NDArray[np.int64], scores: NDArray[np.float64]) -> list[Match]:
        keys = self._keys.view()[ordinals]
        return list(map(Match, keys.tolist(), scores.tolist()))

    def _fitting(
        self, where: filters_pb2.MetadataFilter | None, now: float
    ) -> tuple[View, NDArray[np.bool_] | None, Fitting]:
        """Returns what exists, and which of it fits."""
        view = self._view
        if where is None or where.WhichOneof("condition") is None:
            if view.valid_until <= now:
                with self._guard:
                    view = self._current(now)
            return view, None, Fitting(None, view.count, None)
        asked = where.SerializeToString(deterministic=True)
        with self._guard:
            view = self._current(now)
            known = self._filtered.get(asked)
            if known is None or known[0] != view.number:
                mask = self._columns.fitting(where, len(view.exists)) & view.exists
                ordinals = np.flatnonzero(mask)
                fitting = Fitting(np.packbits(mask, bitorder="little"), len(ordinals), ordinals)
                known = view.number, mask, fitting
                self._filtered[asked] = known
            self._filtered.move_to_end(asked)
            if len(self._filtered) > _REMEMBERED_FILTERS:
                self._filtered.popitem(last=False)
            return view, known[1], known[2]


def _time(expires_at: float | None) -> float:
    return _NEVER if expires_at is None else expires_at
