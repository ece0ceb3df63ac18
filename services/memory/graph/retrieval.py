"""Retrieval through the graph, by HippoRAG's method (Gutiérrez et al., NeurIPS 2024, and HippoRAG 2, 2025).

Walks begin at the entities that the question names and at the passages that are like its text, follow relations and mentions, and begin
anew now and then; what they come by often is found. Passages take part in the beginning so that a question that one passage answers finds
it as a search by likeness would.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caravan.memory.v1 import filters_pb2
from services.memory import keywords
from services.memory.banks import Bank
from services.memory.facts import entity_key
from services.memory.filters import Subject, fits
from services.memory.graph.names import words_of
from services.memory.graph.network import Network
from services.memory.graph.networks import Networks
from services.memory.graph.pagerank import personalised
from services.memory.knowledge import GraphQuestion
from services.memory.ports import Embedder, Store
from services.memory.ranking import reciprocal_ranks
from services.memory.records import Match
from services.memory.vectors import embedded

DEFAULT_DAMPING = 0.5
"""HippoRAG's: half of the walks end at each step, so that what is near counts most."""

# Share of the walks that begin at passages when entities are known too: with less, questions that one passage answers lose against a search
# by likeness (`make eval-memory`).
_PASSAGE_SHARE = 0.9
_LEAST_DEPTH = 50
_DEPTH_FACTOR = 4
_MOST_DEPTH = 1000
# A question's words that names are looked for in; longer ones are documents.
_MOST_WORDS = 5000
_LIKE_ENTITIES = 5
# Below, likeness of a name and a question says nothing.
_LEAST_LIKENESS = 0.3
_CHECKED_AT_ONCE = 100


@dataclass(frozen=True, slots=True, eq=False)
class Retrieved:
    """What a search through a graph has found."""

    network: Network
    """The graph that was searched."""

    passages: list[Match]
    """Passages, best first."""

    entities: list[tuple[int, float]]
    """Entities and their scores, best first."""


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """Where walks begin."""

    seeds: dict[int, float]
    """Entities and their weights."""

    passages: Sequence[Match]
    """Passages that are like the text, best first."""


class Retrieval:
    """Searches graphs."""

    def __init__(self, store: Store, embedder: Embedder, networks: Networks) -> None:
        """Keeps the parts.

        Args:
            store: Where the banks are kept.
            embedder: Embeds questions.
            networks: The graphs in memory.
        """
        self._store = store
        self._embedder = embedder
        self._networks = networks

    async def search(
        self, bank: Bank, question: GraphQuestion, k: int, *, damping: float = DEFAULT_DAMPING, entities: int = 0
    ) -> Retrieved:
        """Searches a bank.

        Args:
            bank: The bank, a graph bank.
            question: What to look for.
            k: Most passages.
            damping: Chance to go on from a node to a neighbour.
            entities: Most entities.

        Raises:
            FailedPreconditionError: The embedding model is gone.
            UnavailableError: Embedding model or store do not answer.
        """
        network = await self._networks.get(bank)
        vector = question.vector
        if vector is None and bank.model is not None and question.text.strip():
            vector = (await embedded(bank, self._embedder, [question.text]))[0]
        like = await self._like(bank, question, vector, k)
        seeds = await asyncio.to_thread(seeds_of, network, question, vector)
        keys, scores = await asyncio.to_thread(_walked, network, _Start(seeds, like), damping)
        fitting = {match.key for match in like}
        passages = await self._best(bank, keys, scores[len(network.entities) :], fitting, question.where, k)
        return Retrieved(network, passages, _top(scores[: len(network.entities)], entities))

    async def _like(
        self, bank: Bank, question: GraphQuestion, vector: NDArray[np.float32] | None, k: int
    ) -> list[Match]:
        """Returns the passages most like a question: by vector and by words, merged by ranks as a hybrid search does."""
        depth = min(max(k * _DEPTH_FACTOR, _LEAST_DEPTH), _MOST_DEPTH)
        words = self._store.search_words(bank.store_id, keywords.parsed(question.text), depth, where=question.where)
        if vector is None:
            return await words
        likes = self._store.search_vectors(bank.store_id, vector, depth, where=question.where)
        scores = reciprocal_ranks([[match.key for match in matches] for matches in await asyncio.gather(likes, words)])
        return [Match(key, score) for key, score in sorted(scores.items(), key=lambda item: -item[1])][:depth]

    async def _best(
        self,
        bank: Bank,
        keys: Sequence[int],
        scores: NDArray[np.float64],
        fitting: set[int],
        where: filters_pb2.MetadataFilter | None,
        k: int,
    ) -> list[Match]:
        """Returns the best passages that fit the filter: k of them whenever the walks came by k."""
        ranked = [Match(keys[place], score) for place, score in _top(scores, len(scores))]
        if where is None:
            return ranked[:k]
        best: list[Match] = []
        for start in range(0, len(ranked), _CHECKED_AT_ONCE):
            some = ranked[start : start + _CHECKED_AT_ONCE]
            unknown = [match.key for match in some if match.key not in fitting]
            fitting |= await self._fitting(bank, unknown, where)
            best += [match for match in some if match.key in fitting]
            if len(best) >= k:
                break
        return best[:k]

    async def _fitting(self, bank: Bank, keys: Sequence[int], where: filters_pb2.MetadataFilter) -> set[int]:
        if not keys:
            return set()
        chunks = await self._store.get_chunks(bank.store_id, keys)
        documents = await self._store.get_documents(
            bank.store_id, list({chunk.document_id for chunk in chunks.values()}), content=False
        )
        fitting = set()
        for key, chunk in chunks.items():
            record = documents.get(chunk.document_id)
            if record is None:
                # Deleted since.
                continue
            inserted = record.document.inserted_at.ToNanoseconds() / 1e9
            if fits(where, Subject(chunk.document_id, record.document.mime_type, inserted, chunk.metadata)):
                fitting.add(key)
        return fitting


def seeds_of(network: Network, question: GraphQuestion, vector: NDArray[np.float32] | None) -> dict[int, float]:
    """Returns the entities where walks begin, and their weights.

    What the caller names counts as it is; what the text names, by how few passages tell of it; what is like the text, by likeness too.

    Args:
        network: The graph.
        question: What is looked for.
        vector: The text's vector. None: there is none.
    """
    seeds: dict[int, float] = {}
    if vector is not None and len(network.vector_nodes):
        likeness = network.vectors @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
        for place, cosine in _top(likeness.astype(np.float64), _LIKE_ENTITIES):
            node = int(network.vector_nodes[place])
            if cosine >= _LEAST_LIKENESS:
                seeds[node] = cosine**2 * float(network.specificity[node])
    for node in network.names.found_in(words_of(question.text)[:_MOST_WORDS]):
        seeds[node] = float(network.specificity[node])
    for name in question.entities:
        named = network.nodes.get(entity_key(name))
        if named is not None:
            seeds[named] = 1.0
    return seeds


def _walked(network: Network, start: _Start, damping: float) -> tuple[list[int], NDArray[np.float64]]:
    """Returns the passages' keys, and the scores of entities and then passages."""
    keys: list[int] = network.passages.tolist()
    places = dict(network.passage_nodes)
    first = len(network.entities)
    for match in start.passages:
        # A passage that mentions nothing is a node that no edge leads to.
        if match.key not in places:
            places[match.key] = first + len(keys)
            keys.append(match.key)
    reset = np.zeros(first + len(keys))
    total = sum(start.seeds.values())
    for node, weight in start.seeds.items():
        reset[node] = weight / total
    if start.passages:
        # By rank: cosines and BM25 scores spread differently.
        shares = 1.0 / np.arange(1, len(start.passages) + 1)
        shares *= (_PASSAGE_SHARE / (1.0 - _PASSAGE_SHARE) if start.seeds else 1.0) / shares.sum()
        reset[[places[match.key] for match in start.passages]] = shares
    if not reset.any():
        return keys, reset
    return keys, personalised(network.edges, reset, damping)


def _top(scores: NDArray[np.float64], count: int) -> list[tuple[int, float]]:
    """Returns places and scores of the best that are above 0, best first, equal ones in their order."""
    above = np.flatnonzero(scores > 0.0)
    order = above[np.argsort(-scores[above], kind="stable")][:count]
    return [(int(place), float(scores[place])) for place in order]
