"""Searching one bank: stages, merging, second judgement, threshold."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caravan.memory.v1 import filters_pb2, query_pb2
from services.core.errors import InvalidArgumentError
from services.memory import content, keywords, ranking
from services.memory.banks import Bank
from services.memory.filters import check_filter
from services.memory.highlights import highlights
from services.memory.knowledge import GraphQuestion, Knowledge
from services.memory.ports import Embedder, Store
from services.memory.ranking import Found
from services.memory.records import BankKind, Match, WordQuery
from services.memory.reranking import Reranker
from services.memory.telemetry import searched
from services.memory.vectors import embedded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_CHUNKS = 10
# A merged ranking is only as good as the rankings are deep.
_LEAST_DEPTH = 50
_DEPTH_FACTOR = 4
_MOST = 10_000
_MOST_QUERY_CHARS = 100_000
# Below, finding the query's words in the hits is quicker than handing it to a thread.
_QUICK_CHARS = 20_000

_USUAL = {
    BankKind.VECTOR: query_pb2.QUERY_MODE_VECTOR,
    BankKind.KEYWORD: query_pb2.QUERY_MODE_KEYWORD,
    BankKind.GRAPH: query_pb2.QUERY_MODE_GRAPH,
}


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """One chunk that was found."""

    chunk: query_pb2.Chunk
    """The chunk."""

    score: float
    """Final score; higher is better, always finite."""

    details: query_pb2.HitDetails
    """How it came to its score."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is looked for in one bank, checked."""

    text: str
    """The words. Empty: there are none."""

    vector: "NDArray[np.float32] | None"
    """The caller's own vector. None: the text's."""

    params: query_pb2.QueryParams
    """How to search."""

    field: str = "query"
    """Path of the request's field that holds the text, for errors."""

    @property
    def chunks(self) -> int:
        """Most chunks to return."""
        return self.params.max_chunks if self.params.HasField("max_chunks") else DEFAULT_CHUNKS

    @property
    def depth(self) -> int:
        """Number of hits that the last stage needs of those before it."""
        if not self.params.HasField("rerank"):
            return self.chunks
        rerank = self.params.rerank
        candidates = rerank.candidates if rerank.HasField("candidates") else self.chunks * _DEPTH_FACTOR
        return min(max(candidates, self.chunks), 1000)

    @property
    def where(self) -> filters_pb2.MetadataFilter | None:
        """Only chunks that fit. None: all."""
        return self.params.filter if self.params.HasField("filter") else None


class Queries:
    """Searches banks."""

    def __init__(self, store: Store, embedder: Embedder, reranker: Reranker, knowledge: Knowledge) -> None:
        """Keeps the parts.

        Args:
            store: Where the banks are kept.
            embedder: Embeds queries.
            reranker: Judges hits once more.
            knowledge: Searches through graphs.
        """
        self._store = store
        self._embedder = embedder
        self._reranker = reranker
        self._knowledge = knowledge

    async def search(self, bank: Bank, question: Question) -> list[Hit]:
        """Searches a bank.

        Args:
            bank: The bank.
            question: What to look for.

        Returns:
            The hits, best first, at most `max_chunks`.

        Raises:
            InvalidArgumentError: The question does not fit the bank.
            FailedPreconditionError: A model is gone.
            UnavailableError: A model or the store does not answer.
        """
        mode, started = checked_mode(bank, question), time.monotonic()
        words = self._words(question, mode)
        found = await self._found(bank, question, mode, words)
        if not question.params.HasField("rerank"):
            # Before the chunks are fetched: most may be below.
            found = _above(found, question.params)
        keys = [one.key for one in found]
        chunks = await self._store.get_chunks(bank.store_id, keys, embeddings=question.params.include_embeddings)
        # What was deleted since it was found is none.
        found = [one for one in found if one.key in chunks]
        hits = [Hit(chunks[one.key], one.score, _details(bank, one)) for one in found]
        if question.params.HasField("rerank"):
            hits = await self._reranked(question, hits)
        hits = hits[: question.chunks]
        if words is not None and hits:
            await _highlight(hits, words, bank.spec.language)
        searched(mode, started)
        return hits

    def _words(self, question: Question, mode: query_pb2.QueryMode.ValueType) -> WordQuery | None:
        if mode == query_pb2.QUERY_MODE_KEYWORD:
            return keywords.required(question.text, question.field)
        return keywords.parsed(question.text) if mode == query_pb2.QUERY_MODE_HYBRID else None

    async def _found(
        self, bank: Bank, question: Question, mode: query_pb2.QueryMode.ValueType, words: WordQuery | None
    ) -> list[Found]:
        depth = question.depth
        match mode:
            case query_pb2.QUERY_MODE_KEYWORD:
                assert words is not None
                matches = await self._store.search_words(bank.store_id, words, depth, where=question.where)
                return ranking.of_words(matches)
            case query_pb2.QUERY_MODE_HYBRID:
                assert words is not None
                deeper = min(max(depth * _DEPTH_FACTOR, _LEAST_DEPTH), _MOST)
                by_vector, by_words = await asyncio.gather(
                    self._by_vector(bank, question, deeper),
                    self._store.search_words(bank.store_id, words, deeper, where=question.where),
                )
                return ranking.fused(by_vector, by_words, question.params.ranker)[:depth]
            case query_pb2.QUERY_MODE_GRAPH:
                asked = GraphQuestion(question.text, list(question.params.entities), question.where, question.vector)
                return ranking.of_graph(await self._knowledge.search(bank, asked, depth))
            case _:
                return ranking.of_vectors(await self._by_vector(bank, question, depth))

    async def _by_vector(self, bank: Bank, question: Question, k: int) -> list[Match]:
        vector = question.vector
        if vector is None:
            vector = (await embedded(bank, self._embedder, [question.text]))[0]
        params = question.params
        return await self._store.search_vectors(
            bank.store_id,
            vector,
            k,
            where=question.where,
            exact=params.exact,
            width=params.search_width if params.HasField("search_width") else None,
        )

    async def _reranked(self, question: Question, hits: Sequence[Hit]) -> list[Hit]:
        texts = [content.text_of(hit.chunk.content) for hit in hits]
        scores = await self._reranker.scores(question.params.rerank.model, question.text, texts)
        judged = []
        for hit, score in zip(hits, scores, strict=True):
            hit.details.rerank_score = score
            judged.append(Hit(hit.chunk, score, hit.details))
        # Equal ones stay in the order of the search.
        judged.sort(key=lambda hit: -hit.score)
        threshold = question.params.score_threshold
        return [hit for hit in judged if not question.params.HasField("score_threshold") or hit.score >= threshold]


def checked_mode(bank: Bank, question: Question) -> query_pb2.QueryMode.ValueType:
    """Returns what is searched, after checking that the bank can be searched so.

    Raises:
        InvalidArgumentError: The bank has no such index, or what the search needs is not given.
    """
    params = question.params
    mode = params.mode or _USUAL[bank.spec.kind]
    kind = bank.spec.kind.value
    has_vectors = bank.spec.dimension is not None
    if mode in (query_pb2.QUERY_MODE_VECTOR, query_pb2.QUERY_MODE_HYBRID) and not has_vectors:
        raise InvalidArgumentError.of("params.mode", f"memory bank {bank.bank_id!r} is a {kind} bank without vectors")
    if mode == query_pb2.QUERY_MODE_GRAPH and bank.spec.kind is not BankKind.GRAPH:
        raise InvalidArgumentError.of("params.mode", f"memory bank {bank.bank_id!r} is a {kind} bank without a graph")
    if params.entities and mode != query_pb2.QUERY_MODE_GRAPH:
        raise InvalidArgumentError.of("params.entities", "are where a search of a graph bank starts; leave them out")
    if len(question.text) > _MOST_QUERY_CHARS:
        raise InvalidArgumentError.of(question.field, f"must have at most {_MOST_QUERY_CHARS} characters")
    needs_text = params.HasField("rerank") or (question.vector is None and not params.entities)
    if needs_text and not question.text.strip():
        raise InvalidArgumentError.of(question.field, "must hold text to search for")
    if question.where is not None:
        check_filter(question.where, "params.filter")
    return mode


def _above(found: Sequence[Found], params: query_pb2.QueryParams) -> list[Found]:
    if not params.HasField("score_threshold"):
        return list(found)
    return [one for one in found if one.score >= params.score_threshold]


def _details(bank: Bank, found: Found) -> query_pb2.HitDetails:
    details = query_pb2.HitDetails(bank_id=bank.bank_id)
    if found.vector is not None:
        details.vector_rank, details.vector_score = found.vector
    if found.words is not None:
        details.keyword_rank, details.keyword_score = found.words
    if found.graph is not None:
        details.graph_score = found.graph
    if found.fused is not None:
        details.fused_score = found.fused
    return details


async def _highlight(hits: Sequence[Hit], words: WordQuery, language: str) -> None:
    texts = [content.text_of(hit.chunk.content) for hit in hits]
    if sum(map(len, texts)) <= _QUICK_CHARS:
        spans = highlights(words, texts, language)
    else:
        spans = await asyncio.to_thread(highlights, words, texts, language)
    for hit, of_hit in zip(hits, spans, strict=True):
        hit.details.highlights.extend(of_hit)
