"""Changes of a graph, inside a transaction that holds the bank's lock.

Every fact has a row; the documents that tell of it have rows of their own, and `own` stands for the caller. A fact goes with its last
source; an entity stays while a relation has it for an end.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from caravan.memory.v1 import graph_pb2
from services.memory.facts import merged_entity, merged_relation
from services.memory.providers.postgres.banks import Bank
from services.memory.providers.postgres.database import Connection
from services.memory.providers.postgres.text import digest, quoted
from services.memory.records import EntityFact, Facts, GraphCounts, GraphDeletion, RelationFact

Fact = TypeVar("Fact", graph_pb2.Entity, graph_pb2.Relation)


def entity_digest(key: str) -> bytes:
    """Returns the primary key of an entity."""
    return digest("entity", key)


def relation_digest(subject_key: str, relation_type: str, object_key: str) -> bytes:
    """Returns the primary key of a relation."""
    return digest("relation", subject_key, relation_type, object_key)


async def settle(connection: Connection, bank: Bank, now: float) -> None:
    """Takes away what documents that have expired alone told of, so that a change does not add to it."""
    names = await connection.fetchval(
        bank.sql("SELECT array_agg(document_id) FROM documents_{n} WHERE expires_at <= $1"), now
    )
    if names:
        await forget(connection, bank, names)


async def forget(connection: Connection, bank: Bank, names: Sequence[str]) -> None:
    """Takes away what documents alone told of.

    Args:
        connection: A connection in a transaction.
        bank: The bank.
        names: Quoted identifiers of the documents.
    """
    facts = await connection.fetchval(
        bank.sql(
            "WITH gone AS (DELETE FROM sources_{n} WHERE document_id = ANY ($1) RETURNING fact) SELECT array_agg(DISTINCT fact) FROM gone"
        ),
        names,
    )
    if facts:
        await _prune(connection, bank, facts)


async def retell(
    connection: Connection, bank: Bank, told: Sequence[tuple[str, Facts, Sequence[tuple[int, str]]]]
) -> None:
    """Puts what documents tell in the place of what they told.

    Args:
        connection: A connection in a transaction.
        bank: The bank.
        told: Quoted identifier, facts and mentions (chunk key, entity key) of each document.
    """
    if not told:
        return
    await forget(connection, bank, [name for name, _, _ in told])
    for name, facts, mentions in told:
        await tell(connection, bank, facts, name)
        if mentions:
            await connection.execute(
                bank.sql(
                    "INSERT INTO mentions_{n} SELECT m.chunk, m.entity FROM unnest($1::bigint[], $2::bytea[]) AS m(chunk, entity) "
                    "WHERE EXISTS (SELECT FROM entities_{n} e WHERE e.digest = m.entity) ON CONFLICT DO NOTHING"
                ),
                [chunk for chunk, _ in mentions],
                [entity_digest(entity) for _, entity in mentions],
            )


async def tell(connection: Connection, bank: Bank, facts: Facts, name: str | None = None) -> GraphCounts:
    """Adds facts, or merges them into those that are there; returns how many are new.

    Args:
        connection: A connection in a transaction.
        bank: The bank.
        facts: The facts.
        name: Quoted identifier of a document that is a source of all of them.
    """
    entities = {entity_digest(fact.key): fact for fact in facts.entities}
    relations = {
        relation_digest(fact.subject_key, fact.relation.relation_type, fact.object_key): fact
        for fact in facts.relations
    }
    new = GraphCounts(
        entities=await _write_entities(connection, bank, entities, name),
        relations=await _write_relations(connection, bank, relations, name),
    )
    sources = [(fact, source) for fact, told in entities.items() for source in _sources(told.entity.document_ids, name)]
    sources += [
        (fact, source) for fact, told in relations.items() for source in _sources(told.relation.document_ids, name)
    ]
    if sources:
        await connection.execute(
            bank.sql("INSERT INTO sources_{n} SELECT * FROM unnest($1::bytea[], $2::text[]) ON CONFLICT DO NOTHING"),
            [fact for fact, _ in sources],
            [source for _, source in sources],
        )
    return new


async def delete(connection: Connection, bank: Bank, deletion: GraphDeletion) -> GraphCounts:
    """Deletes entities with their relations, and relations, whoever told of them; returns how many."""
    named = [entity_digest(key) for key in deletion.entity_keys]
    whole = [relation_digest(*relation) for relation in deletion.relations if relation[1]]
    any_type = [(entity_digest(subject), entity_digest(last)) for subject, kind, last in deletion.relations if not kind]
    relations = await connection.fetch(
        bank.sql(
            "DELETE FROM relations_{n} WHERE digest = ANY ($1) OR subject = ANY ($2) OR object = ANY ($2) "
            "OR (subject, object) IN (SELECT * FROM unnest($3::bytea[], $4::bytea[])) RETURNING digest, subject, object"
        ),
        whole,
        named,
        [subject for subject, _ in any_type],
        [last for _, last in any_type],
    )
    entities = await connection.fetch(
        bank.sql("DELETE FROM entities_{n} WHERE digest = ANY ($1) RETURNING digest"), named
    )
    gone = [row["digest"] for row in (*relations, *entities)]
    await connection.execute(bank.sql("DELETE FROM sources_{n} WHERE fact = ANY ($1)"), gone)
    await connection.execute(bank.sql("DELETE FROM mentions_{n} WHERE entity = ANY ($1)"), named)
    await _prune(connection, bank, [end for row in relations for end in (row["subject"], row["object"])])
    return GraphCounts(len(entities), len(relations))


async def _prune(connection: Connection, bank: Bank, facts: Iterable[bytes]) -> None:
    """Deletes those of the facts that nobody tells of any more, and ends that only deleted relations needed."""
    candidates = list(set(facts))
    ends = await connection.fetch(
        bank.sql(
            "DELETE FROM relations_{n} r WHERE digest = ANY ($1) AND NOT own "
            "AND NOT EXISTS (SELECT FROM sources_{n} s WHERE s.fact = r.digest) RETURNING subject, object"
        ),
        candidates,
    )
    candidates += [end for row in ends for end in (row["subject"], row["object"])]
    await connection.execute(
        bank.sql(
            "WITH gone AS (DELETE FROM entities_{n} e WHERE digest = ANY ($1) AND NOT own "
            "AND NOT EXISTS (SELECT FROM sources_{n} s WHERE s.fact = e.digest) "
            "AND NOT EXISTS (SELECT FROM relations_{n} r WHERE r.subject = e.digest) "
            "AND NOT EXISTS (SELECT FROM relations_{n} r WHERE r.object = e.digest) RETURNING digest) "
            "DELETE FROM mentions_{n} m USING gone WHERE m.entity = gone.digest"
        ),
        candidates,
    )


async def _write_entities(connection: Connection, bank: Bank, told: dict[bytes, EntityFact], name: str | None) -> int:
    if not told:
        return 0
    rows = await connection.fetch(
        bank.sql("SELECT digest, entity FROM entities_{n} WHERE digest = ANY ($1)"), list(told)
    )
    known = {row["digest"]: graph_pb2.Entity.FromString(row["entity"]) for row in rows}
    merged = [_bare(merged_entity(known.get(fact, _named(one.entity)), one.entity)) for fact, one in told.items()]
    await connection.execute(
        bank.sql(
            "INSERT INTO entities_{n} AS e "
            "SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::boolean[], $5::bytea[], $6::bytea[]) "
            "ON CONFLICT (digest) DO UPDATE SET entity_type = excluded.entity_type, own = e.own OR excluded.own, entity = excluded.entity, "
            "vector = coalesce(excluded.vector, e.vector)"
        ),
        list(told),
        [quoted(one.key) for one in told.values()],
        [quoted(entity.entity_type) for entity in merged],
        [not _sources(one.entity.document_ids, name) for one in told.values()],
        [entity.SerializeToString() for entity in merged],
        [None if one.vector is None else one.vector.astype("<f4").tobytes() for one in told.values()],
    )
    return len(told) - len(known)


async def _write_relations(
    connection: Connection, bank: Bank, told: dict[bytes, RelationFact], name: str | None
) -> int:
    if not told:
        return 0
    rows = await connection.fetch(
        bank.sql("SELECT digest, relation FROM relations_{n} WHERE digest = ANY ($1)"), list(told)
    )
    known = {row["digest"]: graph_pb2.Relation.FromString(row["relation"]) for row in rows}
    merged = [_bare(merged_relation(known.get(fact, one.relation), one.relation)) for fact, one in told.items()]
    await connection.execute(
        bank.sql(
            "INSERT INTO relations_{n} AS r SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], "
            "$6::text[], $7::boolean[], $8::bytea[]) "
            "ON CONFLICT (digest) DO UPDATE SET own = r.own OR excluded.own, relation = excluded.relation"
        ),
        list(told),
        [entity_digest(one.subject_key) for one in told.values()],
        [entity_digest(one.object_key) for one in told.values()],
        [quoted(one.subject_key) for one in told.values()],
        [quoted(one.relation.relation_type) for one in told.values()],
        [quoted(one.object_key) for one in told.values()],
        [not _sources(one.relation.document_ids, name) for one in told.values()],
        [relation.SerializeToString() for relation in merged],
    )
    return len(told) - len(known)


def _named(entity: graph_pb2.Entity) -> graph_pb2.Entity:
    return graph_pb2.Entity(name=entity.name)


def _bare(fact: Fact) -> Fact:
    """Sources have rows of their own."""
    del fact.document_ids[:]
    return fact


def _sources(document_ids: Iterable[str], name: str | None) -> list[str]:
    sources = {quoted(document_id) for document_id in document_ids}
    if name is not None:
        sources.add(name)
    return sorted(sources)
