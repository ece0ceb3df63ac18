"""What graph banks know: facts of documents, and passages found through them."""

import asyncio

from caravan.memory.v1 import graph_pb2
from services.memory.banks import Bank
from services.memory.graph.extraction import Extraction
from services.memory.graph.retrieval import Retrieval
from services.memory.graph.telling import check_facts, facts_from, mentions_in, with_vectors
from services.memory.knowledge import GraphQuestion, Knowledge
from services.memory.ports import Embedder, Store
from services.memory.records import ChunkBatch, Facts, Match


class GraphKnowledge(Knowledge):
    """Facts from the caller or from a model, and personalised PageRank over them."""

    def __init__(self, store: Store, embedder: Embedder, extraction: Extraction, retrieval: Retrieval) -> None:
        """Keeps the parts.

        Args:
            store: Where the banks are kept.
            embedder: Embeds entities.
            extraction: Asks models what texts tell of.
            retrieval: Searches graphs.
        """
        self._store = store
        self._embedder = embedder
        self._extraction = extraction
        self._retrieval = retrieval

    async def facts_of(
        self, bank: Bank, document_id: str, batch: ChunkBatch, given: graph_pb2.GraphFacts | None, field: str
    ) -> Facts:
        """Returns what a document tells of; nothing where neither the caller nor a model says."""
        if given is not None:
            facts = await asyncio.to_thread(_told, given, document_id, batch, f"{field}.graph")
        elif bank.spec.params.graph.extraction_model:
            facts = await self._extraction.facts_of(bank, batch)
        else:
            return Facts()
        return await with_vectors(bank, self._store, self._embedder, facts)

    async def search(self, bank: Bank, question: GraphQuestion, k: int) -> list[Match]:
        """Finds passages through the graph."""
        return (await self._retrieval.search(bank, question, k)).passages


def _told(given: graph_pb2.GraphFacts, document_id: str, batch: ChunkBatch, field: str) -> Facts:
    check_facts(given, field, document_id)
    facts = facts_from(given)
    return Facts(facts.entities, facts.relations, mentions_in([fact.key for fact in facts.entities], batch))
