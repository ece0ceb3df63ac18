"""Entities, relations and mentions in the database."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from caravan.memory.v1 import graph_pb2
from services.memory.facts import merged_entity, merged_relation
from services.memory.providers.embedded.transaction import Totals, Transaction, rows_of
from services.memory.records import (
    EntityFact,
    EntitySelection,
    Facts,
    GraphCounts,
    GraphDeletion,
    GraphSnapshot,
    RelationFact,
    RelationSelection,
)

_CALLER = ""
_RelationKey = tuple[str, str, str]


def tell(tx: Transaction, facts: Facts, document_id: str | None, chunk_keys: Sequence[int | None]) -> GraphCounts:
    """Adds facts, or merges them into what is known.

    Args:
        tx: The write.
        facts: The facts.
        document_id: The document that tells them. None: each fact's own sources.
        chunk_keys: Keys of the document's chunks, by index.
    """
    new_entities = sum(_tell_entity(tx, fact, document_id) for fact in facts.entities)
    new_relations = sum(_tell_relation(tx, fact, document_id) for fact in facts.relations)
    mentions = ((chunk_keys[index], key) for index, key in facts.mentions)
    tx.connection.executemany(
        "INSERT OR IGNORE INTO mentions (chunk, key) VALUES (?, ?)", (pair for pair in mentions if pair[0] is not None)
    )
    tx.totals += Totals(entities=new_entities, relations=new_relations)
    tx.graph_changed()
    return GraphCounts(new_entities, new_relations)


def _sources(told: Iterable[str], document_id: str | None) -> list[str]:
    return [document_id] if document_id is not None else list(dict.fromkeys(told)) or [_CALLER]


def _tell_entity(tx: Transaction, fact: EntityFact, document_id: str | None) -> bool:
    told = graph_pb2.Entity()
    told.CopyFrom(fact.entity)
    told.ClearField("document_ids")
    row = tx.execute("SELECT body, vector FROM entities WHERE key = ?", fact.key).fetchone()
    vector = None if fact.vector is None else fact.vector.astype("<f4").tobytes()
    if row is not None:
        told = merged_entity(graph_pb2.Entity.FromString(row[0]), told)
        vector = row[1] if vector is None else vector
    tx.execute(
        "INSERT OR REPLACE INTO entities (key, entity_type, body, vector) VALUES (?, ?, ?, ?)",
        fact.key,
        told.entity_type,
        told.SerializeToString(),
        vector,
    )
    for source in _sources(fact.entity.document_ids, document_id):
        tx.execute("INSERT OR IGNORE INTO entity_sources (document_id, key) VALUES (?, ?)", source, fact.key)
    return row is None


def _tell_relation(tx: Transaction, fact: RelationFact, document_id: str | None) -> bool:
    told = graph_pb2.Relation()
    told.CopyFrom(fact.relation)
    told.ClearField("document_ids")
    key = (fact.subject_key, told.relation_type, fact.object_key)
    row = tx.execute("SELECT body FROM relations WHERE (subject, type, object) = (?, ?, ?)", *key).fetchone()
    if row is not None:
        told = merged_relation(graph_pb2.Relation.FromString(row[0]), told)
    tx.execute(
        "INSERT OR REPLACE INTO relations (subject, type, object, body) VALUES (?, ?, ?, ?)",
        *key,
        told.SerializeToString(),
    )
    for source in _sources(fact.relation.document_ids, document_id):
        tx.execute(
            "INSERT OR IGNORE INTO relation_sources (document_id, subject, type, object) VALUES (?, ?, ?, ?)",
            source,
            *key,
        )
    return row is None


def forget(tx: Transaction, document_ids: Sequence[str]) -> None:
    """Takes documents out of the sources, and deletes what nobody tells of any more."""
    connection = tx.connection
    relations = list(
        rows_of(
            connection, "SELECT subject, type, object FROM relation_sources WHERE document_id IN ({})", document_ids
        )
    )
    entities = {
        row[0] for row in rows_of(connection, "SELECT key FROM entity_sources WHERE document_id IN ({})", document_ids)
    }
    if not relations and not entities:
        return
    for table in ("relation_sources", "entity_sources"):
        for _ in rows_of(connection, f"DELETE FROM {table} WHERE document_id IN ({{}})", document_ids):
            pass
    untold = [
        key
        for key in dict.fromkeys(relations)
        if not tx.execute("SELECT 1 FROM relation_sources WHERE (subject, type, object) = (?, ?, ?)", *key).fetchone()
    ]
    _delete_relations(tx, untold)
    _delete_orphans(tx, entities.union(*((key[0], key[2]) for key in untold)))
    tx.graph_changed()


def _delete_relations(tx: Transaction, keys: Sequence[_RelationKey]) -> int:
    deleted = 0
    for key in keys:
        deleted += tx.execute("DELETE FROM relations WHERE (subject, type, object) = (?, ?, ?)", *key).rowcount
        tx.execute("DELETE FROM relation_sources WHERE (subject, type, object) = (?, ?, ?)", *key)
    tx.totals += Totals(relations=-deleted)
    return deleted


def _delete_orphans(tx: Transaction, keys: Iterable[str]) -> None:
    """Deletes those of some entities that nobody tells of and no relation needs."""
    orphans = [
        key
        for key in sorted(keys)
        if not tx.execute(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM entity_sources WHERE key = ?1) OR EXISTS (SELECT 1 FROM relations WHERE subject = ?1)"
            " OR EXISTS (SELECT 1 FROM relations WHERE object = ?1)",
            key,
        ).fetchone()
    ]
    _delete_entities(tx, orphans)


def _delete_entities(tx: Transaction, keys: Sequence[str]) -> int:
    deleted = 0
    for key in keys:
        deleted += tx.execute("DELETE FROM entities WHERE key = ?", key).rowcount
        tx.execute("DELETE FROM entity_sources WHERE key = ?", key)
        tx.execute("DELETE FROM mentions WHERE key = ?", key)
    tx.totals += Totals(entities=-deleted)
    return deleted


def delete(tx: Transaction, deletion: GraphDeletion) -> GraphCounts:
    """Deletes entities with their relations, and relations; see `Store.delete_graph`."""
    keys: dict[_RelationKey, None] = {}
    for subject, kind, target in deletion.relations:
        rows = tx.execute(
            "SELECT subject, type, object FROM relations WHERE subject = ?1 AND object = ?3 AND (type = ?2 OR ?2 = '')",
            subject,
            kind,
            target,
        )
        keys |= dict.fromkeys(rows)
    for entity in deletion.entity_keys:
        keys |= dict.fromkeys(
            tx.execute("SELECT subject, type, object FROM relations WHERE subject = ?1 OR object = ?1", entity)
        )
    relations = _delete_relations(tx, list(keys))
    entities = _delete_entities(tx, list(dict.fromkeys(deletion.entity_keys)))
    if entities or relations:
        # What only these relations needed goes too.
        _delete_orphans(tx, {end for key in keys for end in (key[0], key[2])})
        tx.graph_changed()
    return GraphCounts(entities, relations)


def entities_of(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, EntityFact]:
    """Returns entities by key."""
    rows = rows_of(connection, "SELECT key, body FROM entities WHERE key IN ({})", keys)
    found = {key: graph_pb2.Entity.FromString(body) for key, body in rows}
    _fill_entity_sources(connection, found)
    return {key: EntityFact(key, entity) for key, entity in found.items()}


def _fill_entity_sources(connection: sqlite3.Connection, found: Mapping[str, graph_pb2.Entity]) -> None:
    statement = (
        "SELECT key, document_id FROM entity_sources WHERE key IN ({}) AND document_id != '' ORDER BY document_id"
    )
    for key, document_id in rows_of(connection, statement, list(found)):
        found[key].document_ids.append(document_id)


def page_of_entities(connection: sqlite3.Connection, selection: EntitySelection, limit: int) -> list[EntityFact]:
    """Returns entities in the order of their keys; see `Store.list_entities`."""
    conditions, values = ["key > ?"], [selection.after]
    if selection.prefix:
        # The last code point is no character, so no name has it.
        conditions.append("key >= ? AND key < ?")
        values += [selection.prefix, selection.prefix + "\U0010ffff"]
    if selection.entity_type:
        conditions.append("entity_type = ?")
        values.append(selection.entity_type)
    if selection.document_id:
        conditions.append("key IN (SELECT key FROM entity_sources WHERE document_id = ?)")
        values.append(selection.document_id)
    statement = f"SELECT key, body FROM entities WHERE {' AND '.join(conditions)} ORDER BY key LIMIT ?"
    found = {key: graph_pb2.Entity.FromString(body) for key, body in connection.execute(statement, (*values, limit))}
    _fill_entity_sources(connection, found)
    return [EntityFact(key, entity) for key, entity in found.items()]


def page_of_relations(connection: sqlite3.Connection, selection: RelationSelection, limit: int) -> list[RelationFact]:
    """Returns relations in the order of their keys; see `Store.list_relations`."""
    conditions: list[str] = ["1"]
    values: list[str] = []
    if selection.after is not None:
        conditions.append("(subject, type, object) > (?, ?, ?)")
        values += selection.after
    if selection.entity_key is not None:
        ends = [name for name, wanted in (("subject", selection.outgoing), ("object", selection.incoming)) if wanted]
        conditions.append(f"({' OR '.join(f'{end} = ?' for end in ends) or '0'})")
        values += [selection.entity_key] * len(ends)
    if selection.relation_types:
        conditions.append(f"type IN ({','.join('?' * len(selection.relation_types))})")
        values += selection.relation_types
    if selection.document_id:
        conditions.append(
            "(subject, type, object) IN (SELECT subject, type, object FROM relation_sources WHERE document_id = ?)"
        )
        values.append(selection.document_id)
    statement = (
        f"SELECT subject, type, object, body FROM relations WHERE {' AND '.join(conditions)}"
        " ORDER BY subject, type, object LIMIT ?"
    )
    return _relations(connection, connection.execute(statement, (*values, limit)).fetchall())


def _relations(connection: sqlite3.Connection, rows: Sequence[Any]) -> list[RelationFact]:
    found = []
    for subject, kind, target, body in rows:
        relation = graph_pb2.Relation.FromString(body)
        sources = connection.execute(
            "SELECT document_id FROM relation_sources WHERE (subject, type, object) = (?, ?, ?) AND document_id != '' ORDER BY document_id",
            (subject, kind, target),
        )
        relation.document_ids.extend(row[0] for row in sources)
        found.append(RelationFact(subject, target, relation))
    return found


def revision(connection: sqlite3.Connection) -> int:
    """Returns the revision of the graph."""
    return int(connection.execute("SELECT graph_revision FROM bank").fetchone()[0])


def snapshot(connection: sqlite3.Connection) -> GraphSnapshot:
    """Returns the whole graph."""
    entities = {}
    vectors = {}
    for key, body, vector in connection.execute("SELECT key, body, vector FROM entities ORDER BY key"):
        entities[key] = graph_pb2.Entity.FromString(body)
        vectors[key] = None if vector is None else np.frombuffer(vector, "<f4").astype(np.float32)
    told = connection.execute(
        "SELECT key, document_id FROM entity_sources WHERE document_id != '' ORDER BY key, document_id"
    )
    for key, document_id in told:
        entities[key].document_ids.append(document_id)
    relations = connection.execute("SELECT subject, type, object, body FROM relations ORDER BY subject, type, object")
    return GraphSnapshot(
        revision=revision(connection),
        entities=[EntityFact(key, entity, vectors[key]) for key, entity in entities.items()],
        relations=_relations(connection, relations.fetchall()),
        mentions=connection.execute("SELECT chunk, key FROM mentions ORDER BY chunk, key").fetchall(),
        valid_until=connection.execute("SELECT min(expires_at) FROM documents").fetchone()[0],
    )
