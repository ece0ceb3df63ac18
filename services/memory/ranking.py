"""Merging rankings. A score is higher for better, and finite."""

from collections.abc import Sequence
from dataclasses import dataclass

from caravan.memory.v1 import query_pb2
from services.memory.records import Match

DEFAULT_IMPACT = 60.0
"""The k of reciprocal rank fusion (Cormack, Clarke, Büttcher: SIGIR 2009)."""
_DEFAULT_ALPHA = 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """One chunk with what the stages said of it."""

    key: int
    """The store's name of the chunk."""

    score: float
    """Final score so far."""

    vector: tuple[int, float] | None = None
    """Rank, from 1, and score among the vector hits."""

    words: tuple[int, float] | None = None
    """Rank, from 1, and score among the keyword hits."""

    graph: float | None = None
    """Score among the graph's hits."""

    fused: float | None = None
    """Score after merging."""


def of_vectors(matches: Sequence[Match]) -> list[Found]:
    """Returns the hits of a vector search."""
    return [Found(match.key, match.score, vector=(rank, match.score)) for rank, match in enumerate(matches, 1)]


def of_words(matches: Sequence[Match]) -> list[Found]:
    """Returns the hits of a keyword search."""
    return [Found(match.key, match.score, words=(rank, match.score)) for rank, match in enumerate(matches, 1)]


def of_graph(matches: Sequence[Match]) -> list[Found]:
    """Returns the hits of a search through the graph."""
    return [Found(match.key, match.score, graph=match.score) for match in matches]


def fused(vectors: Sequence[Match], words: Sequence[Match], ranker: query_pb2.Ranker) -> list[Found]:
    """Merges the hits of a vector and of a keyword search.

    Args:
        vectors: The vector hits, best first.
        words: The keyword hits, best first.
        ranker: How to merge; by ranks when it says nothing.

    Returns:
        The hits, best first; equal ones in the order of the vector hits.
    """
    by_vector = {found.key: found.vector for found in of_vectors(vectors)}
    by_words = {found.key: found.words for found in of_words(words)}
    if ranker.HasField("weighted"):
        alpha = ranker.weighted.alpha if ranker.weighted.HasField("alpha") else _DEFAULT_ALPHA
        scores = _weighted(vectors, words, alpha)
    else:
        impact = ranker.rrf.impact_factor if ranker.rrf.HasField("impact_factor") else DEFAULT_IMPACT
        scores = reciprocal_ranks([[match.key for match in vectors], [match.key for match in words]], impact)
    return [
        Found(key, score, by_vector.get(key), by_words.get(key), fused=score)
        for key, score in sorted(scores.items(), key=lambda item: -item[1])
    ]


def reciprocal_ranks(rankings: Sequence[Sequence[int]], impact: float = DEFAULT_IMPACT) -> dict[int, float]:
    """Returns for each key the sum of 1 / (impact + rank) over the rankings that it is in.

    Args:
        rankings: Keys, best first, each once.
        impact: Dampens the first ranks.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, 1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (impact + rank)
    return scores


def _weighted(vectors: Sequence[Match], words: Sequence[Match], alpha: float) -> dict[int, float]:
    scores: dict[int, float] = {}
    for matches, weight in ((vectors, alpha), (words, 1.0 - alpha)):
        for key, scaled in _scaled(matches):
            scores[key] = scores.get(key, 0.0) + weight * scaled
    return scores


def _scaled(matches: Sequence[Match]) -> list[tuple[int, float]]:
    """Scales scores to 0 to 1; where all are equal, all are 1."""
    if not matches:
        return []
    least, most = min(match.score for match in matches), max(match.score for match in matches)
    return [(match.key, (match.score - least) / (most - least) if most > least else 1.0) for match in matches]
