"""Searching chunks by the likeness of their vectors.

Without a filter the HNSW index answers. With one, a sample of the chunks tells how many fit, about: of few, each is compared; where they
are many, the index is walked until enough of them are found (pgvector's iterative scan). An index may give up early, or have lost its
way to a vector; whenever it has found fewer than were asked for, all chunks that fit are compared instead.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caravan.memory.v1 import filters_pb2
from services.memory.providers.postgres import vectors
from services.memory.providers.postgres.banks import Bank
from services.memory.providers.postgres.chunks import LIVE
from services.memory.providers.postgres.database import Connection, Database
from services.memory.providers.postgres.filters import Parameters, compiled
from services.memory.records import Match

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEW = 1_000
"""Chunks that fit a filter, up to which each of them is compared in any case."""
DEARER = 8
"""How much more it takes to visit a vector in the index than to compare it, about. To find k of n vectors of which f fit, the index visits
`MARGIN` k n / f; comparing f takes less while f is below the root of `MARGIN * DEARER` k n."""
MARGIN = 1.5
"""How many times as many as are wanted are taken from the index under a filter: what it finds then comes in steps, and out of order."""
SAMPLED = 128
"""Chunks by which it is told how many fit a filter."""
KEPT_SECONDS = 30.0
"""How long a sample is trusted."""
KEPT_FILTERS = 1024
"""Most filters whose samples are kept."""
WIDEST = 1_000
"""Greatest `hnsw.ef_search`; a search that asks for more goes on in steps of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What is looked for."""

    vector: "NDArray[np.float32]"
    """What the vectors are to be like."""
    k: int
    """Most matches."""
    where: filters_pb2.MetadataFilter | None
    """Only chunks that fit."""
    now: float
    """The present time."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many chunks fit a filter, about."""

    chunks: int
    """Number of chunks of the bank."""
    share: float
    """Share of them that fits."""

    @property
    def fitting(self) -> float:
        """Number of chunks that fit."""
        return self.chunks * self.share


class Shares:
    """What was told by samples of late, since filters come again. They only choose the way: whatever it is, what is found fits now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Knows nothing yet.

        Args:
            clock: Seconds of a clock that never goes back.
        """
        self._clock = clock
        self._kept: OrderedDict[tuple[int, bytes], tuple[float, Share]] = OrderedDict()

    def get(self, bank: Bank, where: filters_pb2.MetadataFilter) -> Share | None:
        """Returns what is known of a filter and is not too old."""
        known = self._kept.get(_named(bank, where))
        return known[1] if known is not None and known[0] > self._clock() else None

    def keep(self, bank: Bank, where: filters_pb2.MetadataFilter, share: Share) -> Share:
        """Keeps what was told; returns it."""
        key = _named(bank, where)
        self._kept[key] = (self._clock() + KEPT_SECONDS, share)
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT_FILTERS:
            self._kept.popitem(last=False)
        return share


def _named(bank: Bank, where: filters_pb2.MetadataFilter) -> tuple[int, bytes]:
    return bank.number, hashlib.sha256(where.SerializeToString(deterministic=True)).digest()


class VectorSearch:
    """The search of all banks with vectors."""

    def __init__(self, database: Database, width: int) -> None:
        """Searches a database.

        Args:
            database: The database.
            width: Width of the approximate search where none is asked for.
        """
        self._database = database
        self._width = width
        self._shares = Shares()

    async def find(self, bank: Bank, wanted: Wanted, *, exact: bool, width: int | None) -> list[Match]:
        """Finds the chunks whose vectors are most like one; see `Store.search_vectors`."""
        space = bank.space
        assert space is not None
        search = _Search(bank, space, wanted)

        async def work(connection: Connection) -> list[Any]:
            if exact or not space.indexed:
                return await search.among_all(connection)
            if wanted.where is not None:
                found = await self._few(connection, bank, search, wanted)
                if found is not None:
                    return found
            rows = await self._approximate(connection, search, max(wanted.k, width or self._width))
            return rows if len(rows) >= wanted.k else await search.among_all(connection)

        rows = await self._database.read(work, bank.spec.bank_id)
        return [Match(row["key"], space.score(row["distance"])) for row in rows]

    async def _few(self, connection: Connection, bank: Bank, search: "_Search", wanted: Wanted) -> list[Any] | None:
        """Compares all chunks that fit, where they are few. None: they are many, or may be."""
        assert wanted.where is not None
        share = self._shares.get(bank, wanted.where)
        if share is None:
            share = self._shares.keep(bank, wanted.where, await _sampled(connection, bank, wanted))
        few = max(FEW, round(math.sqrt(MARGIN * DEARER * wanted.k * share.chunks)))
        if share.fitting > few:
            return None
        found = await search.among_few(connection, 2 * few)
        if found is None:
            # More than the sample told.
            self._shares.keep(bank, wanted.where, Share(share.chunks, 2 * few / max(share.chunks, 1)))
        return found

    async def _approximate(self, connection: Connection, search: "_Search", width: int) -> list[Any]:
        width = min(width, WIDEST)
        if width == self._width:
            return await search.by_index(connection)
        # For this statement only.
        async with connection.transaction(readonly=True):
            await connection.execute("SELECT set_config('hnsw.ef_search', $1, true)", str(width))
            return await search.by_index(connection)


class _Search:
    """One search, in its three ways."""

    def __init__(self, bank: Bank, space: vectors.Space, wanted: Wanted) -> None:
        self._bank = bank
        self._space = space
        self._wanted = wanted
        target = vectors.normalized(wanted.vector[None])[0][0] if space.cosine else wanted.vector
        self._parameters = Parameters(target, wanted.k, wanted.now)
        fits = "" if wanted.where is None else f" AND {compiled(wanted.where, 'c', self._parameters)}"
        self._fits = f"{LIVE.format('c', '$3')}{fits}"
        self._taken = wanted.k if wanted.where is None else math.ceil(MARGIN * wanted.k)

    async def by_index(self, connection: Connection) -> list[Any]:
        """Walks the index. What it finds is put into the order of the whole vectors."""
        # A subquery in the condition leaves the planner no other way than to ask it of the vectors one by one, in the index's order.
        return await self._fetch(
            connection,
            f"SELECT key, distance FROM (SELECT v.key, {self._space.distance('$1')} AS distance FROM vectors_{{n}} v "
            f"WHERE (SELECT {self._fits} FROM chunks_{{n}} c WHERE c.key = v.key) "
            f"ORDER BY {self._space.indexed_distance('$1')} LIMIT {self._taken}) AS nearest "
            "ORDER BY distance, key LIMIT $2",
        )

    async def among_all(self, connection: Connection) -> list[Any]:
        """Compares all chunks that fit."""
        distance = self._space.distance("$1")
        if self._wanted.where is None:
            # Without a filter only what has expired does not fit: so many more are taken, instead of looking at every chunk's life.
            expired = "(SELECT count(*) FROM chunks_{n} WHERE expires_at <= $3)"
            return await self._fetch(
                connection,
                f"SELECT key, distance FROM (SELECT v.key, {distance} AS distance FROM vectors_{{n}} v "
                f"ORDER BY distance, v.key LIMIT $2::bigint + {expired}) AS nearest "
                f"WHERE (SELECT {self._fits} FROM chunks_{{n}} c WHERE c.key = nearest.key) ORDER BY distance, key LIMIT $2",
            )
        return await self._fetch(connection, self._compared(f"SELECT key FROM chunks_{{n}} c WHERE {self._fits}"))

    async def among_few(self, connection: Connection, most: int) -> list[Any] | None:
        """Compares the chunks that fit, if there are not more than `most`. None: there are."""
        nearest = self._compared("SELECT key FROM fit WHERE NOT (SELECT many FROM size)")
        rows = await self._fetch(
            connection,
            f"WITH fit AS MATERIALIZED (SELECT key FROM chunks_{{n}} c WHERE {self._fits} LIMIT {most + 1}), "
            f"size AS MATERIALIZED (SELECT count(*) > {most} AS many FROM fit), nearest AS MATERIALIZED ({nearest}) "
            "SELECT 0 AS part, key, distance, false AS many FROM nearest UNION ALL SELECT 1, 0, 0, many FROM size "
            "ORDER BY part, distance, key",
        )
        *found, size = rows
        return None if size["many"] else found

    def _compared(self, keys: str) -> str:
        """SQL that compares the vectors of some chunks.

        Args:
            keys: SQL of their keys.
        """
        # An array in the order of the index is looked up in a few passes; a join would read all vectors, or go down the index for each.
        return (
            f"SELECT v.key, {self._space.distance('$1')} AS distance FROM vectors_{{n}} v "
            f"WHERE v.key = ANY (ARRAY({keys} ORDER BY key)) ORDER BY distance, v.key LIMIT $2"
        )

    async def _fetch(self, connection: Connection, statement: str) -> list[Any]:
        rows: list[Any] = await connection.fetch(self._bank.sql(statement), *self._parameters.values)
        return rows


async def _sampled(connection: Connection, bank: Bank, wanted: Wanted) -> Share:
    """Tells by a sample how many chunks there are and which share of them fits."""
    assert wanted.where is not None
    parameters = Parameters(wanted.now, bank.number)
    fits = f"{LIVE.format('c', '$1')} AND {compiled(wanted.where, 'c', parameters)}"
    # Chunks of one document are alike and lie together: the sample is spread over all of them.
    row = await connection.fetchrow(
        bank.sql(
            "WITH span AS MATERIALIZED (SELECT min(key) AS first, max(key) - min(key) AS width FROM chunks_{n}) "
            "SELECT (SELECT chunks FROM banks WHERE number = $2) AS chunks, count(*) FILTER (WHERE one.fits) AS fitting "
            f"FROM span CROSS JOIN generate_series(0, {SAMPLED - 1}) AS step CROSS JOIN LATERAL (SELECT {fits} AS fits "
            f"FROM chunks_{{n}} c WHERE c.key >= first + width * step / {SAMPLED} ORDER BY c.key LIMIT 1) AS one"
        ),
        *parameters.values,
    )
    return Share(row["chunks"] or 0, row["fitting"] / SAMPLED)
