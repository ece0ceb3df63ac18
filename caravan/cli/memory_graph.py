"""`caravan memory graph`: entities and relations of graph banks, and walking along them."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from caravan.cli import memory_hits
from caravan.cli.session import Session, facts, with_session
from caravan.errors import InvalidInputError
from caravan.memory.v1 import graph_pb2

app = typer.Typer(help="Entities and relations of graph banks.", no_args_is_help=True)
BankId = Annotated[str, typer.Argument(help="Identifier of the memory bank, a graph bank.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="ENTITY", help="Name of the entity.", show_default=False)]
Direction = Annotated[str | None, typer.Option("--direction", help="Follow relations out, in, or both (default).")]
Types = Annotated[
    list[str] | None, typer.Option("--relation-type", "-r", help="Only relations of this type; may be given again.")
]


@with_session
def insert(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    bank_id: BankId,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENTITY | SUBJECT TYPE OBJECT]", help="One entity, or one relation.", show_default=False
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help='JSON: {"entities": [...], "relations": [...]}. -: what is piped in.'),
    ] = None,
    entity_type: Annotated[str, typer.Option("--type", help="Kind of the entity.", show_default=False)] = "",
    description: Annotated[str, typer.Option("--description", help="What the entity is.", show_default=False)] = "",
    weight: Annotated[float | None, typer.Option("--weight", help="How strong the relation is. Default: 1.")] = None,
) -> None:
    """Tell of entities and relations; those that are there are changed."""
    told = _read(file) if file is not None else {}
    entities, relations = list(told.get("entities", ())), list(told.get("relations", ()))
    match words or ():
        case (name,):
            entities.append({"name": name, "entity_type": entity_type, "description": description})
        case (subject, kind, target):
            relations.append({"subject": subject, "relation_type": kind, "object": target, "weight": weight})
        case ():
            pass
        case _:
            raise InvalidInputError("name one entity, or a relation by subject, type and object")
    if not entities and not relations:
        raise InvalidInputError("tell of an entity or of a relation, or give --file")
    added = session.client.memory.graph.upsert(bank_id, entities, relations)
    if session.json:
        session.write_json(added)
    else:
        counts = f"{added.entities_added} new entities, {added.relations_added} new relations"
        session.err.print(f"{bank_id}: {counts}", markup=False)


@with_session
def delete(
    session: Session,
    bank_id: BankId,
    words: Annotated[
        list[str],
        typer.Argument(metavar="ENTITY | SUBJECT TYPE OBJECT", help="One entity, or one relation; type *: every type."),
    ],
) -> None:
    """Delete an entity with its relations, or a relation. What documents tell of comes back when they are inserted anew."""
    match words:
        case [name]:
            gone = session.client.memory.graph.delete(bank_id, name)
        case [subject, kind, target]:
            gone = session.client.memory.graph.delete(
                bank_id, relations=[(subject, "" if kind == "*" else kind, target)]
            )
        case _:
            raise InvalidInputError("name one entity, or a relation by subject, type and object")
    if session.json:
        session.write_json(gone)
    else:
        counts = f"{gone.entities_deleted} entities and {gone.relations_deleted} relations"
        session.err.print(f"{counts} are deleted", markup=False)


@with_session
def entity(session: Session, bank_id: BankId, name: Name) -> None:
    """Show an entity."""
    found = session.client.memory.graph.entity(bank_id, name)
    if session.json:
        session.write_json(found)
        return
    session.write(f"{found.name}{f' ({found.entity_type})' if found.entity_type else ''}\n")
    if found.description:
        session.write(f"{found.description}\n")
    for key, value in facts(found.properties).items():
        session.write(f"{key}: {value}\n")
    if found.document_ids:
        session.write(f"told of by {', '.join(found.document_ids)}\n")


@with_session
def entities(
    session: Session,
    bank_id: BankId,
    prefix: Annotated[str, typer.Option("--prefix", help="Only names that begin with this.", show_default=False)] = "",
    entity_type: Annotated[str, typer.Option("--type", help="Only entities of this type.", show_default=False)] = "",
    document: Annotated[
        str, typer.Option("--document", help="Only what this document tells of.", show_default=False)
    ] = "",
) -> None:
    """List entities."""
    found = list(
        session.client.memory.graph.entities(bank_id, prefix=prefix, entity_type=entity_type, document_id=document)
    )
    if session.json:
        session.write_list("entities", found)
        return
    rows = [[one.name, one.entity_type, one.description] for one in found]
    session.write_table(["entity", "type", "description"], rows, empty=f"{bank_id} holds no such entities")


@with_session
def relations(
    session: Session,
    *,
    bank_id: BankId,
    of: Annotated[str, typer.Option("--entity", help="Only relations of this entity.", show_default=False)] = "",
    direction: Direction = None,
    relation_type: Types = None,
    document: Annotated[
        str, typer.Option("--document", help="Only what this document tells of.", show_default=False)
    ] = "",
) -> None:
    """List relations."""
    found = list(
        session.client.memory.graph.relations(
            bank_id, entity=of, direction=direction, relation_types=relation_type or (), document_id=document
        )
    )
    if session.json:
        session.write_list("relations", found)
        return
    rows = [[one.subject, one.relation_type, one.object, f"{_weight(one):g}"] for one in found]
    columns = ["subject", "relation", "object", "weight"]
    session.write_table(columns, rows, empty=f"{bank_id} holds no such relations")


@with_session
def query(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    bank_id: BankId,
    text: Annotated[str, typer.Argument(help="What to look for.", show_default=False)] = "",
    entity: Annotated[
        list[str] | None, typer.Option("--entity", "-e", help="Start from this entity too; may be given again.")
    ] = None,
    chunks: Annotated[int, typer.Option("--chunks", "-k", min=1, max=1000, help="Most passages to show.")] = 5,
    most: Annotated[int, typer.Option("--entities", min=0, max=1000, help="Most entities to show.")] = 10,
    damping: Annotated[float | None, typer.Option("--damping", help="Chance to walk on. Default: 0.5.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Show passages whole.")] = False,
) -> None:
    """Search by text, by entities, or by both."""
    with session.waiting("searching"):
        found = session.client.memory.graph.query(
            bank_id, text or None, entities=entity or (), max_chunks=chunks, max_entities=most, damping=damping
        )
    if session.json:
        session.write_json(found)
        return
    memory_hits.write(session, found, whole=whole)
    if found.entities:
        rows = [[f"{one.score:.4f}", one.entity.name, one.entity.entity_type] for one in found.entities]
        session.write_table(["score", "entity", "type"], rows, empty="")
    for one in found.relations:
        session.write(f"{_arrow(one)}\n")


@with_session
def neighbors(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    bank_id: BankId,
    name: Name,
    depth: Annotated[int, typer.Option("--depth", "-d", min=1, max=8, help="Most relations between.")] = 1,
    direction: Direction = None,
    relation_type: Types = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Most entities to show.")] = 100,
) -> None:
    """Show the entities around one, nearest first."""
    found = session.client.memory.graph.neighbors(
        bank_id, name, max_depth=depth, direction=direction, relation_types=relation_type or (), limit=limit
    )
    if session.json:
        session.write_json(found)
        return
    rows = [[str(one.depth), one.entity.name, one.entity.entity_type] for one in found.neighbors]
    session.write_table(["distance", "entity", "type"], rows, empty=f"{name} has no neighbours")
    for one in found.relations:
        session.write(f"{_arrow(one)}\n")
    if found.truncated:
        session.err.print("there are more; --limit shows them", markup=False)


@with_session
def paths(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    bank_id: BankId,
    source: Annotated[str, typer.Argument(metavar="FROM", help="Entity to start from.", show_default=False)],
    destination: Annotated[str, typer.Argument(metavar="TO", help="Entity to reach.", show_default=False)],
    length: Annotated[int, typer.Option("--length", "-l", min=1, max=16, help="Most relations of a path.")] = 4,
    count: Annotated[int, typer.Option("--paths", "-n", min=1, max=100, help="Most paths.")] = 3,
    direction: Direction = None,
    relation_type: Types = None,
) -> None:
    """Show the shortest paths between two entities."""
    found = session.client.memory.graph.paths(
        bank_id,
        source,
        destination,
        max_length=length,
        max_paths=count,
        direction=direction,
        relation_types=relation_type or (),
    )
    if session.json:
        session.write_list("paths", list(found))
        return
    if not found:
        session.err.print(f"no path of {length} relations leads from {source} to {destination}", markup=False)
    for path in found:
        session.write(f"{_drawn(path)}\n")


for command in (insert, delete, entity, entities, relations, query, neighbors, paths):
    app.command(command.__name__)(command)


def _read(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{file} cannot be read as JSON: {error}", "--file") from error
    if not isinstance(told, dict) or not set(told) <= {"entities", "relations"}:
        raise InvalidInputError(f"{file} must hold an object with entities and relations, and nothing else", "--file")
    return told


def _weight(relation: graph_pb2.Relation) -> float:
    return relation.weight if relation.HasField("weight") else 1.0


def _arrow(relation: graph_pb2.Relation) -> str:
    return f"{relation.subject} --{relation.relation_type}--> {relation.object}"


def _drawn(path: graph_pb2.GraphPath) -> str:
    """Draws a path; a relation that is followed backwards points backwards."""
    drawn = path.entities[0]
    for step, name in zip(path.relations, path.entities[1:], strict=True):
        forwards = step.object == name
        drawn += f" --{step.relation_type}--> {name}" if forwards else f" <--{step.relation_type}-- {name}"
    return drawn
