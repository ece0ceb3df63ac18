"""Entities and relations as callers write, read and list them."""

import asyncio
from dataclasses import replace

from caravan.memory.v1 import graph_pb2
from services.core.errors import NotFoundError
from services.core.paging import last_of, page_size, token_after
from services.memory.banks import Bank
from services.memory.facts import entity_key
from services.memory.graph.telling import check_entity_name, check_facts, facts_from, with_vectors
from services.memory.idempotency import Once
from services.memory.ports import Embedder, Store
from services.memory.records import (
    EntityFact,
    EntitySelection,
    Facts,
    GraphCounts,
    GraphDeletion,
    Receipt,
    RelationFact,
    RelationSelection,
)
from services.memory.responses import Responses


class Graphs:
    """The entities and relations of all graph banks."""

    def __init__(self, store: Store, embedder: Embedder, once: Once, responses: Responses) -> None:
        """Keeps the parts.

        Args:
            store: Where they are kept.
            embedder: Embeds entities.
            once: Runs mutations with receipts.
            responses: How large responses may be.
        """
        self._store = store
        self._embedder = embedder
        self._once = once
        self._responses = responses

    async def upsert(self, bank: Bank, request: graph_pb2.UpsertGraphRequest) -> graph_pb2.UpsertGraphResponse:
        """Adds entities and relations, or changes them.

        Raises:
            InvalidArgumentError: What is told contradicts itself.
        """
        facts = await asyncio.to_thread(_told, request.facts)

        async def work(receipt: Receipt | None) -> GraphCounts:
            written = await with_vectors(bank, self._store, self._embedder, facts)
            return await self._store.upsert_graph(bank.store_id, written, receipt)

        return await self._once.run(
            bank,
            request,
            graph_pb2.UpsertGraphResponse,
            lambda counts: graph_pb2.UpsertGraphResponse(
                entities_added=counts.entities, relations_added=counts.relations
            ),
            work,
        )

    async def delete(self, bank: Bank, request: graph_pb2.DeleteGraphRequest) -> graph_pb2.DeleteGraphResponse:
        """Deletes entities with their relations, and relations."""
        for place, name in enumerate(request.entities):
            check_entity_name(name, f"entities[{place}]")
        for place, relation in enumerate(request.relations):
            check_entity_name(relation.subject, f"relations[{place}].subject")
            check_entity_name(relation.object, f"relations[{place}].object")
        deletion = GraphDeletion(
            list(dict.fromkeys(entity_key(name) for name in request.entities)),
            list(
                dict.fromkeys(
                    (entity_key(one.subject), one.relation_type, entity_key(one.object)) for one in request.relations
                )
            ),
        )

        async def work(receipt: Receipt | None) -> GraphCounts:
            return await self._store.delete_graph(bank.store_id, deletion, receipt)

        return await self._once.run(
            bank,
            request,
            graph_pb2.DeleteGraphResponse,
            lambda counts: graph_pb2.DeleteGraphResponse(
                entities_deleted=counts.entities, relations_deleted=counts.relations
            ),
            work,
        )

    async def get(self, bank: Bank, request: graph_pb2.GetEntityRequest) -> graph_pb2.GetEntityResponse:
        """Gets one entity.

        Raises:
            NotFoundError: There is none of that name.
        """
        check_entity_name(request.name, "name")
        key = entity_key(request.name)
        fact = (await self._store.get_entities(bank.store_id, [key])).get(key)
        if fact is None:
            raise no_entity(bank, request.name)
        return graph_pb2.GetEntityResponse(entity=fact.entity)

    async def list_entities(self, bank: Bank, request: graph_pb2.ListEntitiesRequest) -> graph_pb2.ListEntitiesResponse:
        """Lists entities."""
        selection = EntitySelection(
            after=(last_of(request.page_token, request, str) or [""])[0],
            prefix=entity_key(request.prefix),
            entity_type=request.entity_type,
            document_id=request.document_id,
        )

        async def read(last: EntityFact | None, limit: int) -> list[EntityFact]:
            chosen = selection if last is None else replace(selection, after=last.key)
            return await self._store.list_entities(bank.store_id, chosen, limit)

        found, more = await self._responses.page(read, page_size(request), lambda fact: fact.entity.ByteSize())
        page = graph_pb2.ListEntitiesResponse(data=[fact.entity for fact in found])
        if more:
            page.next_page_token = token_after(request, found[-1].key)
        return page

    async def list_relations(
        self, bank: Bank, request: graph_pb2.ListRelationsRequest
    ) -> graph_pb2.ListRelationsResponse:
        """Lists relations."""
        first = last_of(request.page_token, request, str, str, str)
        selection = RelationSelection(
            after=(first[0], first[1], first[2]) if first else None,
            entity_key=entity_key(request.entity) if request.entity else None,
            outgoing=request.direction != graph_pb2.RELATION_DIRECTION_IN,
            incoming=request.direction != graph_pb2.RELATION_DIRECTION_OUT,
            relation_types=list(dict.fromkeys(request.relation_types)),
            document_id=request.document_id,
        )

        async def read(last: RelationFact | None, limit: int) -> list[RelationFact]:
            chosen = selection if last is None else replace(selection, after=_place(last))
            return await self._store.list_relations(bank.store_id, chosen, limit)

        found, more = await self._responses.page(read, page_size(request), lambda fact: fact.relation.ByteSize())
        page = graph_pb2.ListRelationsResponse(data=[fact.relation for fact in found])
        if more:
            page.next_page_token = token_after(request, *_place(found[-1]))
        return page


def no_entity(bank: Bank, name: str) -> NotFoundError:
    """Returns the error of an entity that does not exist."""
    message = f"memory bank {bank.bank_id!r} knows no entity {name!r}; ListEntities names those it knows"
    return NotFoundError(message, resource_type="entity", resource_name=name, reason="ENTITY_NOT_FOUND")


def _told(told: graph_pb2.GraphFacts) -> Facts:
    check_facts(told, "facts")
    return facts_from(told)


def _place(fact: RelationFact) -> tuple[str, str, str]:
    return fact.subject_key, fact.relation.relation_type, fact.object_key
