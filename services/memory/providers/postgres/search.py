"""Searching chunks by the likeness of their vectors.

Without a filter the HNSW index answers. With one, a sample of the chunks tells how many fit, about: of few, each is compared; where they
are many, the index is walked until enough of them are found (pgvector's iterative scan). An index may give up early, or have lost its
way to a vector; whenever it has found fewer than were asked for, all chunks that fit are compared instead.
"""

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
MARGIN = 2
"""How many times as many as are wanted are taken from the index under a filter: what it finds then comes in steps, and out of order."""
SAMPLED = 128
"""Chunks by which it is told how many fit a filter."""
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

    async def find(self, bank: Bank, wanted: Wanted, *, exact: bool, width: int | None) -> list[Match]:
        """Finds the chunks whose vectors are most like one; see `Store.search_vectors`."""
        space = bank.space
        assert space is not None
        search = _Search(bank, space, wanted)

        async def work(connection: Connection) -> list[Any]:
            if exact or not space.indexed:
                return await search.among_all(connection)
            if wanted.where is not None:
                found = await search.among_few(connection)
                if found is not None:
                    return found
            rows = await self._approximate(connection, search, max(wanted.k, width or self._width))
            return rows if len(rows) >= wanted.k else await search.among_all(connection)

        rows = await self._database.read(work, bank.spec.bank_id)
        return [Match(row["key"], space.score(row["distance"])) for row in rows]

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
        target = vectors.normalized(wanted.vector[None])[0][0] if space.cosine else wanted.vector
        self._parameters = Parameters(target, wanted.k, wanted.now)
        fits = "" if wanted.where is None else f" AND {compiled(wanted.where, 'c', self._parameters)}"
        self._fits = f"{LIVE.format('c', '$3')}{fits}"
        self._margin = 1 if wanted.where is None else MARGIN

    async def by_index(self, connection: Connection) -> list[Any]:
        """Walks the index. What it finds is put into the order of the whole vectors."""
        # A subquery in the condition leaves the planner no other way than to ask it of the vectors one by one, in the index's order.
        return await self._fetch(
            connection,
            f"SELECT key, distance FROM (SELECT v.key, {self._space.distance('$1')} AS distance FROM vectors_{{n}} v "
            f"WHERE (SELECT {self._fits} FROM chunks_{{n}} c WHERE c.key = v.key) "
            f"ORDER BY {self._space.indexed_distance('$1')} LIMIT {self._margin} * $2::bigint) AS nearest "
            "ORDER BY distance, key LIMIT $2",
        )

    async def among_all(self, connection: Connection) -> list[Any]:
        """Compares all chunks that fit."""
        distance = self._space.distance("$1")
        if self._margin == 1:
            # Without a filter only what has expired does not fit: so many more are taken, instead of looking at every chunk's life.
            expired = "(SELECT count(*) FROM chunks_{n} WHERE expires_at <= $3)"
            return await self._fetch(
                connection,
                f"SELECT key, distance FROM (SELECT v.key, {distance} AS distance FROM vectors_{{n}} v "
                f"ORDER BY distance, v.key LIMIT $2::bigint + {expired}) AS nearest "
                f"WHERE (SELECT {self._fits} FROM chunks_{{n}} c WHERE c.key = nearest.key) ORDER BY distance, key LIMIT $2",
            )
        return await self._fetch(
            connection,
            f"SELECT v.key, {distance} AS distance FROM chunks_{{n}} c JOIN vectors_{{n}} v ON v.key = c.key "
            f"WHERE {self._fits} ORDER BY distance, v.key LIMIT $2",
        )

    async def among_few(self, connection: Connection) -> list[Any] | None:
        """Compares the chunks that fit, if they are few. None: they are many."""
        # Chunks of one document are alike and lie together: the sample is spread over all of them.
        rows = await self._fetch(
            connection,
            "WITH span AS MATERIALIZED (SELECT min(key) AS first, max(key) - min(key) AS width FROM chunks_{n}), "
            "sample AS MATERIALIZED (SELECT count(*) FILTER (WHERE one.fits) AS fitting "
            f"FROM span CROSS JOIN generate_series(0, {SAMPLED - 1}) AS step CROSS JOIN LATERAL (SELECT {self._fits} AS fits "
            f"FROM chunks_{{n}} c WHERE c.key >= first + width * step / {SAMPLED} ORDER BY c.key LIMIT 1) AS one), "
            f"bounds AS MATERIALIZED (SELECT greatest({FEW}, sqrt({MARGIN * DEARER} * $2 * chunks::double precision)) AS few, "
            f"chunks * fitting / {SAMPLED} AS fitting FROM sample CROSS JOIN banks WHERE number = {self._bank.number}), "
            f"fit AS MATERIALIZED (SELECT key FROM chunks_{{n}} c WHERE (SELECT fitting <= few FROM bounds) AND {self._fits} "
            f"LIMIT (SELECT 2 * few + 1 FROM bounds)), "
            "size AS MATERIALIZED (SELECT fitting > few OR (SELECT count(*) FROM fit) > 2 * few AS many FROM bounds), "
            # One by one: the planner would rather read all vectors.
            f"nearest AS (SELECT v.* FROM fit CROSS JOIN LATERAL (SELECT v.key, {self._space.distance('$1')} AS distance "
            "FROM vectors_{n} v WHERE v.key = fit.key OFFSET 0) AS v WHERE NOT (SELECT many FROM size) "
            "ORDER BY distance, key LIMIT $2) "
            "SELECT 0 AS part, key, distance, false AS many FROM nearest UNION ALL SELECT 1, 0, 0, many FROM size "
            "ORDER BY part, distance, key",
        )
        *found, size = rows
        return None if size["many"] else found

    async def _fetch(self, connection: Connection, statement: str) -> list[Any]:
        rows: list[Any] = await connection.fetch(self._bank.sql(statement), *self._parameters.values)
        return rows
