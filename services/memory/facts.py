"""Identity and merging of what several sources tell of one entity or relation."""

import unicodedata

from caravan.memory.v1 import graph_pb2


def entity_key(name: str) -> str:
    """Returns what identifies an entity: its name without regard to case, accents and spaces around it.

    Spaces within count as one. A name of nothing but accents keeps them.
    """
    folded = unicodedata.normalize("NFKD", name.casefold())
    bare = "".join(sign for sign in folded if not unicodedata.combining(sign))
    return " ".join((bare if bare.strip() else folded).split())


def merged_entity(known: graph_pb2.Entity, told: graph_pb2.Entity) -> graph_pb2.Entity:
    """Returns what is known of an entity after a source has told of it.

    What the source leaves empty stays; properties are replaced one by one; the name stays as it was first written.

    Args:
        known: The entity so far.
        told: What the source tells.
    """
    merged = graph_pb2.Entity()
    merged.CopyFrom(known)
    merged.entity_type = told.entity_type or known.entity_type
    merged.description = told.description or known.description
    _merge_properties(merged, told)
    return merged


def merged_relation(known: graph_pb2.Relation, told: graph_pb2.Relation) -> graph_pb2.Relation:
    """Returns what is known of a relation after a source has told of it, by the rules of `merged_entity`."""
    merged = graph_pb2.Relation()
    merged.CopyFrom(known)
    if told.HasField("weight"):
        merged.weight = told.weight
    _merge_properties(merged, told)
    return merged


def _merge_properties(
    merged: graph_pb2.Entity | graph_pb2.Relation, told: graph_pb2.Entity | graph_pb2.Relation
) -> None:
    for key, value in told.properties.fields.items():
        merged.properties.fields[key].CopyFrom(value)
    merged.document_ids[:] = dict.fromkeys([*merged.document_ids, *told.document_ids])
