"""Searching a graph and walking through it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from caravan.memory.v1 import graph_pb2, query_pb2
from services.core.errors import InvalidArgumentError
from services.memory import content
from services.memory.banks import Bank
from services.memory.facts import entity_key
from services.memory.graph.graphs import no_entity
from services.memory.graph.network import Network
from services.memory.graph.networks import Networks
from services.memory.graph.retrieval import DEFAULT_DAMPING, Retrieval, Retrieved
from services.memory.graph.telling import check_entity_name
from services.memory.graph.walks import Way, paths, surroundings
from services.memory.knowledge import GraphQuestion, Knowledge
from services.memory.ports import Embedder, Store
from services.memory.queries import Hit, Queries, Question
from services.memory.records import ChunkBatch, Facts, Match
from services.memory.reranking import Reranker

_DEFAULT_ENTITIES = 10
_DEFAULT_NEIGHBORS = 100
_DEFAULT_PATH_LENGTH = 4
# Between hubs there are more relations than an answer should hold.
_MOST_RELATIONS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Exploration:
    """What QueryGraph has found."""

    hits: list[Hit]
    """Passages, best first."""

    entities: list[tuple[graph_pb2.Entity, float]]
    """Entities and their scores, best first."""

    relations: list[graph_pb2.Relation]
    """The relations among them."""


class _Asked(Knowledge):
    """A graph as one call of QueryGraph asks it: with the call's damping, and keeping the entities that were come by."""

    def __init__(self, knowledge: Knowledge, retrieval: Retrieval, damping: float, entities: int) -> None:
        self._knowledge = knowledge
        self._retrieval = retrieval
        self._damping = damping
        self._entities = entities
        self.retrieved: Retrieved | None = None

    async def facts_of(
        self, bank: Bank, document_id: str, batch: ChunkBatch, given: graph_pb2.GraphFacts | None, field: str
    ) -> Facts:
        return await self._knowledge.facts_of(bank, document_id, batch, given, field)

    async def search(self, bank: Bank, question: GraphQuestion, k: int) -> list[Match]:
        self.retrieved = await self._retrieval.search(bank, question, k, damping=self._damping, entities=self._entities)
        return self.retrieved.passages


class Exploring:
    """Searches graphs and walks through them."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        reranker: Reranker,
        networks: Networks,
        retrieval: Retrieval,
        knowledge: Knowledge,
    ) -> None:
        """Keeps the parts.

        Args:
            store: Where the banks are kept.
            embedder: Embeds questions.
            reranker: Judges hits once more.
            networks: The graphs in memory.
            retrieval: Searches them.
            knowledge: What graph banks know.
        """
        self._store = store
        self._embedder = embedder
        self._reranker = reranker
        self._networks = networks
        self._retrieval = retrieval
        self._knowledge = knowledge

    async def query(self, bank: Bank, request: graph_pb2.QueryGraphRequest) -> Exploration:
        """Searches by entities, by text, or by both.

        Raises:
            InvalidArgumentError: The question does not fit a graph bank.
            FailedPreconditionError: A model is gone.
            UnavailableError: A model or the store does not answer.
        """
        params = query_pb2.QueryParams()
        params.CopyFrom(request.params)
        if params.mode not in (query_pb2.QUERY_MODE_UNSPECIFIED, query_pb2.QUERY_MODE_GRAPH):
            description = "must be QUERY_MODE_GRAPH here; QueryDocuments searches a graph bank in other ways too"
            raise InvalidArgumentError.of("params.mode", description)
        params.mode = query_pb2.QUERY_MODE_GRAPH
        params.entities[:] = dict.fromkeys([*request.entities, *request.params.entities])
        asked = _Asked(
            self._knowledge,
            self._retrieval,
            request.damping if request.HasField("damping") else DEFAULT_DAMPING,
            request.max_entities if request.HasField("max_entities") else _DEFAULT_ENTITIES,
        )
        queries = Queries(self._store, self._embedder, self._reranker, asked)
        hits = await queries.search(bank, Question(content.text_of(request.query), None, params))
        assert asked.retrieved is not None
        network, best = asked.retrieved.network, asked.retrieved.entities
        relations = _among(network, [node for node, _ in best])
        return Exploration(hits, [(network.entities[node], score) for node, score in best], relations)

    async def neighbors(self, bank: Bank, request: graph_pb2.GetNeighborsRequest) -> graph_pb2.GetNeighborsResponse:
        """Gets the entities around one.

        Raises:
            NotFoundError: There is no such entity.
        """
        network = await self._networks.get(bank)
        start = _node(network, bank, request.entity, "entity")
        depth = request.max_depth if request.HasField("max_depth") else 1
        limit = request.limit or _DEFAULT_NEIGHBORS
        around = await asyncio.to_thread(surroundings, network, start, _way(request), depth, limit)
        return graph_pb2.GetNeighborsResponse(
            neighbors=[
                graph_pb2.Neighbor(entity=network.entities[node], depth=distance) for node, distance in around.neighbors
            ],
            relations=[network.relations[relation] for relation in around.relations[:_MOST_RELATIONS]],
            truncated=around.truncated,
        )

    async def paths(self, bank: Bank, request: graph_pb2.FindPathsRequest) -> graph_pb2.FindPathsResponse:
        """Finds the shortest paths between two entities.

        Raises:
            NotFoundError: There is no such entity.
        """
        network = await self._networks.get(bank)
        source = _node(network, bank, request.source, "source")
        target = _node(network, bank, request.target, "target")
        length = request.max_length if request.HasField("max_length") else _DEFAULT_PATH_LENGTH
        most = request.max_paths if request.HasField("max_paths") else 1
        found = await asyncio.to_thread(paths, network, source, target, _way(request), length, most)
        response = graph_pb2.FindPathsResponse()
        for path in found:
            response.paths.add(
                entities=[network.entities[node].name for _, node in path],
                relations=[network.relations[relation] for relation, _ in path if relation is not None],
            )
        return response


def _node(network: Network, bank: Bank, name: str, field: str) -> int:
    check_entity_name(name, field)
    node = network.nodes.get(entity_key(name))
    if node is None:
        raise no_entity(bank, name)
    return node


def _way(request: graph_pb2.GetNeighborsRequest | graph_pb2.FindPathsRequest) -> Way:
    return Way(
        frozenset(request.relation_types),
        request.direction != graph_pb2.RELATION_DIRECTION_IN,
        request.direction != graph_pb2.RELATION_DIRECTION_OUT,
    )


def _among(network: Network, nodes: Iterable[int]) -> list[graph_pb2.Relation]:
    """Returns the relations between some entities."""
    some = set(nodes)
    found = [
        network.relations[relation]
        for node in sorted(some)
        for relation in network.outgoing[node]
        if int(network.ends[relation, 1]) in some
    ]
    return found[:_MOST_RELATIONS]
