"""What documents and callers tell: from messages to facts that a store takes."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from caravan.memory.v1 import graph_pb2
from services.core.errors import InvalidArgumentError
from services.memory import content
from services.memory.banks import Bank
from services.memory.checks import check_metadata, check_name, check_unique
from services.memory.facts import entity_key
from services.memory.graph.names import Names, words_of
from services.memory.ports import Embedder, Store
from services.memory.records import ChunkBatch, EntityFact, Facts, RelationFact
from services.memory.vectors import embedded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def check_facts(told: graph_pb2.GraphFacts, field: str, document_id: str | None = None) -> None:
    """Checks what a caller tells.

    Args:
        told: Entities and relations.
        field: Path of the request's field that holds them, for errors.
        document_id: The document that tells it. None: no document does.

    Raises:
        InvalidArgumentError: A name says nothing, something comes twice, or another document is named.
    """
    for place, entity in enumerate(told.entities):
        path = f"{field}.entities[{place}]"
        check_entity_name(entity.name, f"{path}.name")
        check_name(entity.entity_type, f"{path}.entity_type")
        check_name(entity.description, f"{path}.description")
        check_metadata(entity.properties, f"{path}.properties")
        _check_sources(entity.document_ids, f"{path}.document_ids", document_id)
    for place, relation in enumerate(told.relations):
        path = f"{field}.relations[{place}]"
        check_entity_name(relation.subject, f"{path}.subject")
        check_entity_name(relation.object, f"{path}.object")
        check_name(relation.relation_type, f"{path}.relation_type")
        check_metadata(relation.properties, f"{path}.properties")
        _check_sources(relation.document_ids, f"{path}.document_ids", document_id)
    check_unique([entity_key(entity.name) for entity in told.entities], f"{field}.entities[{{}}].name")
    triples = ["\0".join(_triple(relation)) for relation in told.relations]
    check_unique(triples, f"{field}.relations[{{}}]")


def check_entity_name(name: str, field: str) -> None:
    """Checks the name of an entity.

    Raises:
        InvalidArgumentError: It holds NUL, or nothing but spaces.
    """
    check_name(name, field)
    if not entity_key(name):
        raise InvalidArgumentError.of(field, "must hold more than spaces")


def facts_from(told: graph_pb2.GraphFacts) -> Facts:
    """Returns entities and relations as facts, without vectors and mentions; ends that only relations name are entities too.

    Args:
        told: Entities and relations, each once.
    """
    entities = {entity_key(entity.name): entity for entity in told.entities}
    relations = []
    for relation in told.relations:
        subject, _, target = _triple(relation)
        for key, name in ((subject, relation.subject), (target, relation.object)):
            entities.setdefault(key, graph_pb2.Entity(name=name, document_ids=relation.document_ids))
        relations.append(RelationFact(subject, target, relation))
    return Facts([EntityFact(key, entity) for key, entity in entities.items()], relations)


def mentions_in(keys: Iterable[str], batch: ChunkBatch) -> list[tuple[int, str]]:
    """Returns which chunk names which entity. What no chunk names is told of by the first one. Takes time: call it in a thread.

    Args:
        keys: Keys of the entities.
        batch: The document's chunks.
    """
    ordered = list(keys)
    names = Names(ordered)
    mentions = []
    for index, chunk in enumerate(batch.chunks):
        mentions += [(index, ordered[place]) for place in names.found_in(words_of(content.text_of(chunk.content)))]
    named = {key for _, key in mentions}
    if batch.chunks:
        mentions += [(0, key) for key in ordered if key not in named]
    return mentions


async def with_vectors(bank: Bank, store: Store, embedder: Embedder, facts: Facts) -> Facts:
    """Returns facts with the vectors of their entities, in a bank that has an embedding model.

    An entity of which nothing but the name is told keeps the vector that it has.

    Args:
        bank: The bank.
        store: Where it is kept.
        embedder: Embeds names and descriptions.
        facts: The facts.

    Raises:
        FailedPreconditionError: The embedding model is gone.
        UnavailableError: Embedding model or store do not answer.
    """
    if bank.model is None or not facts.entities:
        return facts
    bare = [fact.key for fact in facts.entities if not fact.entity.description]
    known = await store.get_entities(bank.store_id, bare) if bare else {}
    fresh = [fact for fact in facts.entities if fact.key not in known]
    vectors: dict[str, NDArray[np.float32]] = {}
    if fresh:
        rows = await embedded(bank, embedder, [_text(fact.entity) for fact in fresh])
        vectors = {fact.key: row for fact, row in zip(fresh, rows, strict=True)}
    entities = [EntityFact(fact.key, fact.entity, vectors.get(fact.key)) for fact in facts.entities]
    return Facts(entities, facts.relations, facts.mentions)


def _text(entity: graph_pb2.Entity) -> str:
    return f"{entity.name}: {entity.description}" if entity.description else entity.name


def _triple(relation: graph_pb2.Relation) -> tuple[str, str, str]:
    return entity_key(relation.subject), relation.relation_type, entity_key(relation.object)


def _check_sources(given: Sequence[str], field: str, document_id: str | None) -> None:
    for name in given:
        check_name(name, field)
    if document_id is not None and any(name != document_id for name in given):
        raise InvalidArgumentError.of(field, f"may only name the document itself, {document_id!r}; leave it out")
