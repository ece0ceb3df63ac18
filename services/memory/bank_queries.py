"""Searching several banks, whichever providers serve them, and merging what they find."""

import asyncio
from collections.abc import Sequence

from caravan.memory.v1 import memory_pb2, memory_pb2_grpc, query_pb2
from services.core.gateway import Gateway
from services.memory import content
from services.memory.banks import CHUNKED, BankTable
from services.memory.queries import Hit, Queries, Question
from services.memory.ranking import reciprocal_ranks

_TIMEOUT = 60.0


class BankQueries:
    """Searches several banks at once."""

    def __init__(self, banks: BankTable, queries: Queries, gateway: Gateway) -> None:
        """Keeps the parts.

        Args:
            banks: The banks that are here.
            queries: Searches one of them.
            gateway: The way to the others.
        """
        self._banks = banks
        self._queries = queries
        self._gateway = gateway

    async def search(self, bank_ids: Sequence[str], question: Question) -> list[Hit]:
        """Searches banks at the same time.

        Scores that mean the same everywhere (a reranking model's, or those of one kind of search) are compared; otherwise the banks'
        rankings are merged by ranks, and the score is the merged one.

        Args:
            bank_ids: Identifiers of the banks.
            question: What to look for; without a vector.

        Returns:
            The hits, best first, at most `max_chunks`.

        Raises:
            CaravanError: What any of the banks answers.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._search(bank_id, question)) for bank_id in bank_ids]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return merged([task.result() for task in tasks])[: question.chunks]

    async def _search(self, bank_id: str, question: Question) -> list[Hit]:
        if self._banks.find(bank_id) is not None:
            return await self._queries.search(self._banks.require(bank_id, *CHUNKED), question)
        stub = memory_pb2_grpc.MemoryServiceStub(self._gateway.channel)
        request = memory_pb2.QueryDocumentsRequest(
            bank_id=bank_id, query=content.of_text(question.text), params=question.params
        )
        response = await self._gateway.call(stub.QueryDocuments, request, timeout=_TIMEOUT)
        return [
            Hit(chunk, score, details)
            for chunk, score, details in zip(response.chunks, response.scores, response.hit_details, strict=True)
        ]


def merged(rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Merges the hits of several banks.

    Args:
        rankings: The hits of each bank, best first.

    Returns:
        All hits, best first; equal ones in the order of the banks.
    """
    hits = [hit for ranking in rankings for hit in ranking]
    if len({_meaning(hit.details) for hit in hits}) <= 1:
        return sorted(hits, key=lambda hit: -hit.score)
    places = {id(hit): place for place, hit in enumerate(hits)}
    scores = reciprocal_ranks([[places[id(hit)] for hit in ranking] for ranking in rankings])
    fused = []
    for place, hit in enumerate(hits):
        hit.details.fused_score = scores[place]
        fused.append(Hit(hit.chunk, scores[place], hit.details))
    return sorted(fused, key=lambda hit: -hit.score)


def _meaning(details: query_pb2.HitDetails) -> str:
    """Returns which stage a hit's final score is of."""
    for name in ("rerank_score", "fused_score", "graph_score", "keyword_score"):
        if details.HasField(name):
            return name
    return "vector_score"
