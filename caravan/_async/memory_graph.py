"""Entities and relations in graph banks, and walking along them."""

import uuid
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Unpack

from caravan import documents as built
from caravan._async.calls import AsyncCalls
from caravan.documents import EntityLike, QueryParameters, RelationLike
from caravan.memory.v1 import graph_pb2
from caravan.messages import ContentLike


class AsyncMemoryGraph:
    """`GraphService` of `caravan.memory.v1`. An entity is named by its name, without regard to case, accents and spaces around it."""

    def __init__(self, calls: AsyncCalls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    async def upsert(
        self,
        bank_id: str,
        entities: Iterable[EntityLike] = (),
        relations: Iterable[RelationLike] = (),
        *,
        request_id: str | None = None,
    ) -> graph_pb2.UpsertGraphResponse:
        """Adds entities and relations, or changes those that are there; ends of relations need not be listed.

            client.memory.graph.upsert("people", ["Ada"], [("Ada", "knows", "Charles")])

        Args:
            bank_id: The bank, a graph bank.
            entities: Names, mappings as `{"name": ..., "entity_type": ..., "description": ..., "properties": {...}}`, or messages.
            relations: Subject, type and object, mappings as `{"subject": ..., "relation_type": ..., "object": ..., "weight": ...}`, or
                messages.
            request_id: Makes a repeated call return the first one's result. Default: a new one.

        Returns:
            How many are new.
        """
        request = graph_pb2.UpsertGraphRequest(
            bank_id=bank_id, facts=built.graph_facts(entities, relations), request_id=request_id or uuid.uuid4().hex
        )
        return await self._calls.unary(request, graph_pb2.UpsertGraphResponse)

    async def delete(
        self,
        bank_id: str,
        entities: str | Iterable[str] = (),
        relations: Iterable[tuple[str, str, str]] = (),
    ) -> graph_pb2.DeleteGraphResponse:
        """Deletes entities with their relations, and relations; returns how many there were.

        Args:
            bank_id: The bank.
            entities: One name or several.
            relations: Subject, type and object; an empty type stands for every type.
        """
        request = graph_pb2.DeleteGraphRequest(
            bank_id=bank_id,
            entities=[entities] if isinstance(entities, str) else entities,
            relations=[built.relation_key(one, f"relations[{place}]") for place, one in enumerate(relations)],
            request_id=uuid.uuid4().hex,
        )
        return await self._calls.unary(request, graph_pb2.DeleteGraphResponse)

    async def entity(self, bank_id: str, name: str) -> graph_pb2.Entity:
        """Gets one entity.

        Args:
            bank_id: The bank.
            name: Its name.

        Raises:
            NotFoundError: There is none.
        """
        request = graph_pb2.GetEntityRequest(bank_id=bank_id, name=name)
        return (await self._calls.unary(request, graph_pb2.GetEntityResponse)).entity

    def entities(
        self, bank_id: str, *, prefix: str = "", entity_type: str = "", document_id: str = ""
    ) -> AsyncGenerator[graph_pb2.Entity, None]:
        """Yields the entities of a bank, in the order of their names.

        Args:
            bank_id: The bank.
            prefix: Only those whose name begins with this.
            entity_type: Only those of this type.
            document_id: Only those that this document tells of.
        """
        return self._calls.entries(
            lambda token: graph_pb2.ListEntitiesRequest(
                bank_id=bank_id, prefix=prefix, entity_type=entity_type, document_id=document_id, page_token=token
            ),
            graph_pb2.ListEntitiesResponse,
        )

    def relations(
        self,
        bank_id: str,
        *,
        entity: str = "",
        direction: str | None = None,
        relation_types: Sequence[str] = (),
        document_id: str = "",
    ) -> AsyncGenerator[graph_pb2.Relation, None]:
        """Yields the relations of a bank, in the order of their subjects.

        Args:
            bank_id: The bank.
            entity: Only those of this entity.
            direction: With `entity`: `out` from it, `in` to it, or `both`.
            relation_types: Only those of these types.
            document_id: Only those that this document tells of.
        """
        way = built.relation_direction(direction)
        return self._calls.entries(
            lambda token: graph_pb2.ListRelationsRequest(
                bank_id=bank_id,
                entity=entity,
                direction=way,
                relation_types=relation_types,
                document_id=document_id,
                page_token=token,
            ),
            graph_pb2.ListRelationsResponse,
        )

    async def query(
        self,
        bank_id: str,
        query: ContentLike | None = None,
        *,
        damping: float | None = None,
        max_entities: int | None = None,
        **parameters: Unpack[QueryParameters],
    ) -> graph_pb2.QueryGraphResponse:
        """Searches by entities, by text, or by both: passages, entities, and the relations among these.

        Args:
            bank_id: The bank.
            query: What to look for; entities that it names are started from.
            damping: Chance to go on from a node to a neighbour, above 0 and below 1. Default: 0.5.
            max_entities: Most entities to return. Default: 10.
            **parameters: `entities` to start from, `max_chunks`, `filter`, ...; see QueryParameters.
        """
        request = graph_pb2.QueryGraphRequest(
            bank_id=bank_id,
            entities=parameters.pop("entities", ()),
            query=None if query is None else built.text_query(query),
            params=built.query_params(parameters),
            damping=damping,
            max_entities=max_entities,
        )
        return await self._calls.unary(request, graph_pb2.QueryGraphResponse)

    async def neighbors(
        self,
        bank_id: str,
        entity: str,
        *,
        max_depth: int | None = None,
        direction: str | None = None,
        relation_types: Sequence[str] = (),
        limit: int = 0,
    ) -> graph_pb2.GetNeighborsResponse:
        """Gets the entities around one, nearest first.

        Args:
            bank_id: The bank.
            entity: Name of the entity.
            max_depth: Most relations between. Default: 1.
            direction: Relations that go `out`, come `in`, or `both`. Default: both.
            relation_types: Only relations of these types.
            limit: Most neighbours. 0: 100.

        Raises:
            NotFoundError: There is no such entity.
        """
        request = graph_pb2.GetNeighborsRequest(
            bank_id=bank_id,
            entity=entity,
            max_depth=max_depth,
            direction=built.relation_direction(direction),
            relation_types=relation_types,
            limit=limit,
        )
        return await self._calls.unary(request, graph_pb2.GetNeighborsResponse)

    async def paths(  # noqa: PLR0913 - one parameter a field
        self,
        bank_id: str,
        source: str,
        target: str,
        *,
        max_length: int | None = None,
        max_paths: int | None = None,
        direction: str | None = None,
        relation_types: Sequence[str] = (),
    ) -> Sequence[graph_pb2.GraphPath]:
        """Finds the shortest paths between two entities; none is no error.

        Args:
            bank_id: The bank.
            source: Name of the entity to start from.
            target: Name of the entity to reach.
            max_length: Most relations of a path. Default: 4.
            max_paths: Most paths. Default: 1.
            direction: Relations that go `out`, come `in`, or `both`. Default: both.
            relation_types: Only relations of these types.

        Raises:
            NotFoundError: There is no such entity.
        """
        request = graph_pb2.FindPathsRequest(
            bank_id=bank_id,
            source=source,
            target=target,
            max_length=max_length,
            max_paths=max_paths,
            direction=built.relation_direction(direction),
            relation_types=relation_types,
        )
        return (await self._calls.unary(request, graph_pb2.FindPathsResponse)).paths
