"""The gRPC edge of graph banks."""

from typing import Any

from caravan.memory.v1 import graph_pb2, graph_pb2_grpc
from services.memory.banks import Bank, BankTable
from services.memory.graph.exploring import Exploring
from services.memory.graph.graphs import Graphs
from services.memory.records import BankKind
from services.memory.responses import Responses
from services.memory.servicer import Context


class GraphServicer(graph_pb2_grpc.GraphServiceServicer):
    """Entities and relations in banks."""

    def __init__(self, banks: BankTable, graphs: Graphs, exploring: Exploring, responses: Responses) -> None:
        """Serves the domain; see the classes."""
        self._banks = banks
        self._graphs = graphs
        self._exploring = exploring
        self._responses = responses

    async def UpsertGraph(
        self, request: graph_pb2.UpsertGraphRequest, context: Context
    ) -> graph_pb2.UpsertGraphResponse:
        """Adds entities and relations, or changes them."""
        return await self._graphs.upsert(self._bank(request), request)

    async def DeleteGraph(
        self, request: graph_pb2.DeleteGraphRequest, context: Context
    ) -> graph_pb2.DeleteGraphResponse:
        """Deletes entities with their relations, and relations."""
        return await self._graphs.delete(self._bank(request), request)

    async def GetEntity(self, request: graph_pb2.GetEntityRequest, context: Context) -> graph_pb2.GetEntityResponse:
        """Gets one entity."""
        return await self._graphs.get(self._bank(request), request)

    async def ListEntities(
        self, request: graph_pb2.ListEntitiesRequest, context: Context
    ) -> graph_pb2.ListEntitiesResponse:
        """Lists entities."""
        return await self._graphs.list_entities(self._bank(request), request)

    async def ListRelations(
        self, request: graph_pb2.ListRelationsRequest, context: Context
    ) -> graph_pb2.ListRelationsResponse:
        """Lists relations."""
        return await self._graphs.list_relations(self._bank(request), request)

    async def QueryGraph(self, request: graph_pb2.QueryGraphRequest, context: Context) -> graph_pb2.QueryGraphResponse:
        """Searches by entities, by text, or by both."""
        found = await self._exploring.query(self._bank(request), request)
        response = graph_pb2.QueryGraphResponse(
            chunks=[hit.chunk for hit in found.hits],
            scores=[hit.score for hit in found.hits],
            hit_details=[hit.details for hit in found.hits],
            entities=[graph_pb2.ScoredEntity(entity=entity, score=score) for entity, score in found.entities],
            relations=found.relations,
        )
        return self._responses.checked(response, "lower max_chunks or max_entities")

    async def GetNeighbors(
        self, request: graph_pb2.GetNeighborsRequest, context: Context
    ) -> graph_pb2.GetNeighborsResponse:
        """Gets the entities around one."""
        response = await self._exploring.neighbors(self._bank(request), request)
        return self._responses.checked(response, "lower limit or max_depth")

    async def FindPaths(self, request: graph_pb2.FindPathsRequest, context: Context) -> graph_pb2.FindPathsResponse:
        """Finds the shortest paths between two entities."""
        return await self._exploring.paths(self._bank(request), request)

    def _bank(self, request: Any) -> Bank:
        return self._banks.require(request.bank_id, BankKind.GRAPH)
