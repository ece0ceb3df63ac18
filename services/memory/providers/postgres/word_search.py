"""Searching chunks by their words: a `tsvector` finds them, BM25 orders them.

How often a chunk has a word is not to be had from a `tsvector` directly, but from `ts_rank`: with all weights 1 and a query of one word it
is (1 + 1/2^2 + ... + 1/n^2) / (pi^2/6) for n occurrences, which grows with n; `width_bucket` finds n among the steps between these values.
Source: calc_rank_or in PostgreSQL's src/backend/utils/adt/tsrank.c.
"""

from itertools import accumulate, pairwise

from caravan.memory.v1 import filters_pb2
from services.memory import analysis
from services.memory.providers.postgres.banks import Bank
from services.memory.providers.postgres.chunks import LIVE
from services.memory.providers.postgres.database import Database
from services.memory.providers.postgres.filters import Parameters, compiled
from services.memory.providers.postgres.words import MOST_POSITIONS, terms_of
from services.memory.records import Match, WordQuery

SATURATION = 1.2
"""BM25's k1: how much a word's further occurrences count."""
LENGTH_SHARE = 0.75
"""BM25's b: how much the length of a chunk counts."""
MOST_TERMS = 256
"""Distinct words of a query that are looked for; of a longer one, the first."""

_RANKS = [total / 1.64493406685 for total in accumulate(1 / n**2 for n in range(1, MOST_POSITIONS + 2))]
_STEPS = [_RANKS[0] / 2] + [(below + above) / 2 for below, above in pairwise(_RANKS)]
_SEARCH = f"""
    WITH bank AS MATERIALIZED (
        SELECT greatest(chunks, 1)::double precision AS chunks, greatest(words, 1)::double precision / greatest(chunks, 1) AS length
        FROM banks WHERE number = $1
    ), found AS MATERIALIZED (
        SELECT q.number, q.weight, t.key, t.length,
            CASE WHEN q.prefix IS NULL THEN width_bucket(ts_rank('{{1,1,1,1}}', t.words, q.term), $5::double precision[])
                ELSE (
                    SELECT sum(cardinality(CASE WHEN starts_with(u.lexeme, '=') THEN u.positions ELSE array_positions(u.weights, 'A') END))
                    FROM unnest(t.words) AS u WHERE starts_with(u.lexeme, q.prefix) OR starts_with(u.lexeme, '=' || q.prefix)
                ) END::double precision AS often
        FROM unnest($2::text[]::tsquery[], $3::integer[], $4::text[]) WITH ORDINALITY AS q(term, weight, prefix, number)
        CROSS JOIN LATERAL (SELECT key, length, words FROM texts_{{n}} WHERE words @@ q.term) AS t
    ), rarity AS MATERIALIZED (
        SELECT f.number, ln(1 + (greatest(bank.chunks - count(*), 0) + 0.5) / (count(*) + 0.5)) AS idf
        FROM found f CROSS JOIN bank GROUP BY f.number, bank.chunks
    ), scored AS (
        SELECT f.key, sum(f.weight * r.idf * f.often * {SATURATION + 1}
            / (f.often + {SATURATION} * ({1 - LENGTH_SHARE} + {LENGTH_SHARE} * f.length / bank.length))) AS score
        FROM found f JOIN rarity r USING (number) CROSS JOIN bank GROUP BY f.key
    )
    SELECT s.key, s.score FROM (SELECT key, score FROM scored ORDER BY score DESC, key OFFSET 0) AS s WHERE
"""
"""The best come first, and the conditions that follow are asked of them one by one until enough fit."""


class WordSearch:
    """The search of all banks with words."""

    def __init__(self, database: Database) -> None:
        """Searches a database."""
        self._database = database

    async def find(
        self, bank: Bank, query: WordQuery, k: int, now: float, *, where: filters_pb2.MetadataFilter | None
    ) -> list[Match]:
        """Finds the chunks that hold a query's words; see `Store.search_words`."""
        terms = terms_of(query, analysis.language(bank.spec.language))
        if not terms.weights:
            return []
        words = list(terms.weights)[:MOST_TERMS]
        parameters = Parameters(
            bank.number,
            words,
            [terms.weights[word] for word in words],
            [terms.prefixes.get(word) for word in words],
            _STEPS,
            k,
            now,
        )
        fits = LIVE.format("c", "$7")
        if where is not None:
            fits += f" AND {compiled(where, 'c', parameters)}"
        statement = f"{_SEARCH} (SELECT {fits} FROM chunks_{{n}} c WHERE c.key = s.key)"
        if terms.phrases:
            phrases = f"{parameters.add(terms.phrases)}::text[]::tsquery[]"
            statement += f" AND (SELECT t.words @@ ALL ({phrases}) FROM texts_{{n}} t WHERE t.key = s.key)"
        statement = bank.sql(f"{statement} LIMIT $6")
        rows = await self._database.read(
            lambda connection: connection.fetch(statement, *parameters.values), bank.spec.bank_id
        )
        return [Match(row["key"], row["score"]) for row in rows]
