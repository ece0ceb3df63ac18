"""Graphs: reading them, and the caller's own changes."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from caravan.memory.v1 import graph_pb2
from services.memory.providers.postgres import banks, failures, graph_changes, receipts
from services.memory.providers.postgres.banks import Bank, Change
from services.memory.providers.postgres.chunks import LIVE
from services.memory.providers.postgres.database import Connection, Database
from services.memory.providers.postgres.filters import Parameters
from services.memory.providers.postgres.graph_changes import entity_digest
from services.memory.providers.postgres.text import INDEXED, after_prefix, plain, quoted
from services.memory.records import (
    EntityFact,
    EntitySelection,
    Facts,
    GraphCounts,
    GraphDeletion,
    GraphSnapshot,
    Receipt,
    RelationFact,
    RelationSelection,
)

T = TypeVar("T")

# Until the next change takes it away, what expired documents alone told of is there, but not seen. $1 is the present time.
_SOURCES = (
    "FROM sources_{{n}} s LEFT JOIN documents_{{n}} d ON d.document_id = s.document_id "
    "WHERE s.fact = {0}.digest AND (d.expires_at IS NULL OR d.expires_at > $1)"
)
_RELATION = f"({{0}}.own OR EXISTS (SELECT {_SOURCES}))"
_LIVE_RELATION = _RELATION.format("r")
_LIVE_ENTITY = (
    f"(e.own OR EXISTS (SELECT {_SOURCES.format('e')}) "
    f"OR EXISTS (SELECT FROM relations_{{n}} r WHERE r.subject = e.digest AND {_LIVE_RELATION}) "
    f"OR EXISTS (SELECT FROM relations_{{n}} r WHERE r.object = e.digest AND {_LIVE_RELATION}))"
)
_TOLD_BY = "ARRAY(SELECT s.document_id {0} ORDER BY s.document_id) AS document_ids"
_ENTITY = f"e.key, e.entity, {_TOLD_BY.format(_SOURCES.format('e'))}"
_RELATION_FIELDS = f"r.subject_key, r.object_key, r.relation, {_TOLD_BY.format(_SOURCES.format('r'))}"


class Graph:
    """The graphs of all banks that have one."""

    def __init__(self, database: Database) -> None:
        """Keeps them in a database.

        Args:
            database: The database.
        """
        self._database = database

    async def upsert(self, bank: Bank, facts: Facts, receipt: Receipt | None, now: float) -> GraphCounts:
        """Adds or merges what the caller tells; returns how many facts are new."""
        return await self._change(bank, receipt, now, lambda connection: graph_changes.tell(connection, bank, facts))

    async def delete(self, bank: Bank, deletion: GraphDeletion, receipt: Receipt | None, now: float) -> GraphCounts:
        """Deletes facts, whoever told of them; returns how many."""
        return await self._change(
            bank, receipt, now, lambda connection: graph_changes.delete(connection, bank, deletion)
        )

    async def _change(
        self, bank: Bank, receipt: Receipt | None, now: float, change: Callable[[Connection], Any]
    ) -> GraphCounts:
        async def work(connection: Connection) -> GraphCounts:
            await receipts.claim(connection, bank, receipt, now)
            await banks.lock(connection, bank)
            await graph_changes.settle(connection, bank, now)
            counts: GraphCounts = await change(connection)
            await receipts.fill(connection, bank, receipt, counts)
            await banks.record(connection, bank, Change(), now)
            return counts

        return await self._database.write(work, bank.spec.bank_id)

    async def get_entities(self, bank: Bank, keys: Sequence[str], now: float) -> dict[str, EntityFact]:
        """Returns those of the entities that exist, by key."""
        parameters = Parameters(now, [entity_digest(key) for key in keys])
        facts = await self._entities(bank, f"e.digest = ANY ($2) AND {_LIVE_ENTITY}", parameters)
        return {fact.key: fact for fact in facts}

    async def list_entities(self, bank: Bank, selection: EntitySelection, limit: int, now: float) -> list[EntityFact]:
        """Returns entities in the order of their keys."""
        parameters = Parameters(now)
        first = max(quoted(selection.after), quoted(selection.prefix))
        conditions = [_LIVE_ENTITY, f"left(e.key, {INDEXED}) >= left({parameters.add(first)}, {INDEXED})"]
        conditions.append(f"e.key > {parameters.add(quoted(selection.after))}")
        if selection.prefix:
            conditions.append(f"e.key >= {parameters.add(quoted(selection.prefix))}")
            if (last := after_prefix(quoted(selection.prefix))) is not None:
                end = parameters.add(last)
                conditions.append(f"left(e.key, {INDEXED}) <= left({end}, {INDEXED}) AND e.key < {end}")
        if selection.entity_type:
            conditions.append(f"e.entity_type = {parameters.add(quoted(selection.entity_type))}")
        if selection.document_id:
            conditions.append(_told_by("e", parameters.add(quoted(selection.document_id))))
        order = f"ORDER BY left(e.key, {INDEXED}), e.key LIMIT {parameters.add(limit)}"
        return await self._entities(bank, f"{' AND '.join(conditions)} {order}", parameters)

    async def list_relations(
        self, bank: Bank, selection: RelationSelection, limit: int, now: float
    ) -> list[RelationFact]:
        """Returns relations in the order of (subject key, relation type, object key)."""
        parameters = Parameters(now)
        conditions = [_LIVE_RELATION]
        if selection.after is not None:
            subject, kind, last = (parameters.add(quoted(part)) for part in selection.after)
            conditions.append(f"left(r.subject_key, {INDEXED}) >= left({subject}, {INDEXED})")
            conditions.append(f"(r.subject_key, r.relation_type, r.object_key) > ({subject}, {kind}, {last})")
        if selection.entity_key is not None:
            end = parameters.add(entity_digest(selection.entity_key))
            ways = [
                f"r.{way} = {end}"
                for way, on in (("subject", selection.outgoing), ("object", selection.incoming))
                if on
            ]
            conditions.append(f"({' OR '.join(ways) or 'false'})")
        if selection.relation_types:
            kinds = [quoted(kind) for kind in selection.relation_types]
            conditions.append(f"r.relation_type = ANY ({parameters.add(kinds)}::text[])")
        if selection.document_id:
            conditions.append(_told_by("r", parameters.add(quoted(selection.document_id))))
        statement = bank.sql(
            f"SELECT {_RELATION_FIELDS} FROM relations_{{n}} r WHERE {' AND '.join(conditions)} "
            f"ORDER BY left(r.subject_key, {INDEXED}), r.subject_key, r.relation_type, r.object_key LIMIT {parameters.add(limit)}"
        )
        rows = await self._database.read(
            lambda connection: connection.fetch(statement, *parameters.values), bank.spec.bank_id
        )
        return await _read(_relation, rows)

    async def revision(self, bank: Bank) -> int:
        """Returns the revision of a bank's graph."""
        return await self._database.read(lambda connection: _revision(connection, bank), bank.spec.bank_id)

    async def load(self, bank: Bank, now: float) -> GraphSnapshot:
        """Returns the whole graph of a bank, of one moment."""

        async def work(connection: Connection) -> tuple[Any, ...]:
            entities = f"SELECT {_ENTITY}, e.vector FROM entities_{{n}} e WHERE {_LIVE_ENTITY} ORDER BY e.key"
            relations = f"SELECT {_RELATION_FIELDS} FROM relations_{{n}} r WHERE {_LIVE_RELATION} ORDER BY r.digest"
            mentions = (
                "SELECT m.chunk, e.key FROM mentions_{n} m JOIN chunks_{n} c ON c.key = m.chunk JOIN entities_{n} e ON e.digest = m.entity "
                f"WHERE {LIVE.format('c', '$1')} ORDER BY m.chunk, e.key"
            )
            expiry = (
                "SELECT min(expires_at) FROM (SELECT min(expires_at) AS expires_at FROM documents_{n} WHERE expires_at > $1 "
                "UNION ALL SELECT min(expires_at) FROM chunks_{n} WHERE expires_at > $1) AS first"
            )
            return (
                await _revision(connection, bank),
                await connection.fetch(bank.sql(entities), now),
                await connection.fetch(bank.sql(relations), now),
                await connection.fetch(bank.sql(mentions), now),
                await connection.fetchval(bank.sql(expiry), now),
            )

        revision, entities, relations, mentions, expiry = await self._database.snapshot(work, bank.spec.bank_id)
        return await asyncio.to_thread(
            lambda: GraphSnapshot(
                revision=revision,
                entities=[_entity(row) for row in entities],
                relations=[_relation(row) for row in relations],
                mentions=[(row["chunk"], plain(row["key"])) for row in mentions],
                valid_until=expiry,
            )
        )

    async def _entities(self, bank: Bank, which: str, parameters: Parameters) -> list[EntityFact]:
        statement = bank.sql(f"SELECT {_ENTITY} FROM entities_{{n}} e WHERE {which}")
        rows = await self._database.read(
            lambda connection: connection.fetch(statement, *parameters.values), bank.spec.bank_id
        )
        return await _read(_entity, rows)


async def _revision(connection: Connection, bank: Bank) -> int:
    revision: int | None = await connection.fetchval(
        "SELECT graph_revision FROM banks WHERE number = $1 AND NOT dropped", bank.number
    )
    if revision is None:
        raise failures.bank_dropped(bank.spec.bank_id)
    return revision


async def _read(make: Callable[[Any], T], rows: Sequence[Any]) -> list[T]:
    return await asyncio.to_thread(lambda: [make(row) for row in rows])


def _told_by(alias: str, parameter: str) -> str:
    return f"EXISTS (SELECT {_SOURCES.format(alias)} AND s.document_id = {parameter})"


def _entity(row: Any) -> EntityFact:
    entity = graph_pb2.Entity.FromString(row["entity"])
    entity.document_ids.extend(plain(name) for name in row["document_ids"])
    vector = row.get("vector")
    return EntityFact(plain(row["key"]), entity, None if vector is None else np.frombuffer(vector, "<f4"))


def _relation(row: Any) -> RelationFact:
    relation = graph_pb2.Relation.FromString(row["relation"])
    relation.document_ids.extend(plain(name) for name in row["document_ids"])
    return RelationFact(plain(row["subject_key"]), plain(row["object_key"]), relation)
