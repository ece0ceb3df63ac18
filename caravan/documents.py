"""Documents, and searches of them, in plain Python values, and the request messages that they become."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from caravan import llama_stack, messages
from caravan.errors import InvalidInputError
from caravan.memory.v1 import graph_pb2, keyvalue_pb2, memory_pb2, query_pb2

DocumentLike: TypeAlias = memory_pb2.Document | Mapping[str, Any]
"""A message, or its Llama Stack shape: `{"document_id": ..., "content": text or {"uri": ...}, "mime_type": ..., "metadata": {...}}`."""
EntityLike: TypeAlias = str | graph_pb2.Entity | Mapping[str, Any]
"""A name, a message, or its fields."""
RelationLike: TypeAlias = tuple[str, str, str] | graph_pb2.Relation | Mapping[str, Any]
"""Subject, type and object, a message, or its fields."""
M = TypeVar("M", bound=Message)

PART_BYTES = 1 << 20
"""Size of the parts in which files are sent."""

MIME_TYPES = {
    ".csv": "text/csv",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".ndjson": "application/jsonl",
    ".pdf": "application/pdf",
    ".rst": "text/plain",
    ".text": "text/plain",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
}
"""Media types of files by the endings of their names."""


class QueryParameters(TypedDict, total=False):
    """How to search."""

    max_chunks: int
    """Most chunks to return. Default: 10."""
    score_threshold: float
    """Least final score of a chunk to be returned."""
    mode: str
    """`vector`, `keyword`, `hybrid` or `graph`. Default: what the bank's kind is made for."""
    filter: Mapping[str, Any] | Message
    """Only what fits: `{"type": "eq", "key": "year", "value": 2024}`, `{"type": "and", "filters": [...]}`, ... or a message."""
    ranker: Mapping[str, Any] | Message
    """How a hybrid search is merged: `{"type": "rrf"}` or `{"type": "weighted", "alpha": 0.5}`."""
    rerank: Mapping[str, Any] | Message
    """Second judgement: `{"model": ..., "candidates": ...}`."""
    exact: bool
    """Search all vectors instead of the approximate index."""
    search_width: int
    """Width of the approximate search."""
    entities: Iterable[str]
    """Names of entities that a search of a graph bank starts from."""
    include_embeddings: bool
    """Return the chunks' vectors too."""


def document(value: DocumentLike, path: str = "document") -> memory_pb2.Document:
    """Builds a document.

    Args:
        value: A message or a mapping.
        path: Where the value stands, for errors.

    Raises:
        InvalidInputError: The value is no document.
    """
    return _built(memory_pb2.Document, value, path)


def several(documents: DocumentLike | Iterable[DocumentLike]) -> list[memory_pb2.Document]:
    """Builds documents.

    Args:
        documents: One document, or several.

    Raises:
        InvalidInputError: One of them is none; names which.
    """
    many = [documents] if isinstance(documents, Mapping | memory_pb2.Document) else documents
    return [document(item, f"documents[{place}]") for place, item in enumerate(many)]


def update(value: memory_pb2.DocumentUpdate | Mapping[str, Any], path: str) -> memory_pb2.DocumentUpdate:
    """Builds a change of a document.

    Args:
        value: A message or a mapping.
        path: Where the value stands, for errors.

    Raises:
        InvalidInputError: The value is no change.
    """
    return _built(memory_pb2.DocumentUpdate, value, path)


def query_params(parameters: QueryParameters) -> query_pb2.QueryParams:
    """Builds the parameters of a search.

    Args:
        parameters: How to search.

    Raises:
        InvalidInputError: A value does not fit.
    """
    unknown = sorted(set(parameters) - set(QueryParameters.__annotations__))
    if unknown:
        known = ", ".join(sorted(QueryParameters.__annotations__))
        raise InvalidInputError(f"unknown parameter {unknown[0]!r}; there are {known}")
    given = {name: value for name, value in parameters.items() if value is not None}
    mode = given.pop("mode", None)
    params = llama_stack.build(query_pb2.QueryParams, given, "params")
    if mode is not None:
        name = f"QUERY_MODE_{str(mode).upper()}"
        if name not in query_pb2.QueryMode.keys():  # noqa: SIM118 - an enum wrapper, not a mapping
            raise InvalidInputError(f"{mode!r} is none of vector, keyword, hybrid, graph", "mode")
        params.mode = query_pb2.QueryMode.Value(name)
    return params


def chunk(value: query_pb2.Chunk | Mapping[str, Any], path: str) -> query_pb2.Chunk:
    """Builds a chunk.

    Args:
        value: A message or a mapping.
        path: Where the value stands, for errors.

    Raises:
        InvalidInputError: The value is no chunk.
    """
    return _built(query_pb2.Chunk, value, path)


def graph_facts(entities: Iterable[EntityLike], relations: Iterable[RelationLike]) -> graph_pb2.GraphFacts:
    """Builds entities and relations.

    Args:
        entities: The entities.
        relations: The relations.

    Raises:
        InvalidInputError: One of them is none; names which.
    """
    facts = graph_pb2.GraphFacts()
    for place, entity in enumerate(entities):
        value = {"name": entity} if isinstance(entity, str) else entity
        facts.entities.append(_built(graph_pb2.Entity, value, f"entities[{place}]"))
    for place, relation in enumerate(relations):
        path = f"relations[{place}]"
        told = relation if isinstance(relation, Mapping | graph_pb2.Relation) else _triple(relation, path)
        facts.relations.append(_built(graph_pb2.Relation, told, path))
    return facts


def relation_key(value: tuple[str, str, str], path: str) -> graph_pb2.RelationKey:
    """Builds the name of a relation.

    Args:
        value: Subject, type and object.
        path: Where the value stands, for errors.

    Raises:
        InvalidInputError: The value names no relation.
    """
    return graph_pb2.RelationKey(**_triple(value, path))


def relation_direction(direction: str | None) -> graph_pb2.RelationDirection.ValueType:
    """Returns which way relations are followed.

    Args:
        direction: `out`, `in` or `both`. None: the service's default.

    Raises:
        InvalidInputError: It is another word.
    """
    ways: dict[str | None, graph_pb2.RelationDirection.ValueType] = {
        None: graph_pb2.RELATION_DIRECTION_UNSPECIFIED,
        "out": graph_pb2.RELATION_DIRECTION_OUT,
        "in": graph_pb2.RELATION_DIRECTION_IN,
        "both": graph_pb2.RELATION_DIRECTION_BOTH,
    }
    if direction not in ways:
        raise InvalidInputError(f"{direction!r} is none of out, in, both", "direction")
    return ways[direction]


def _triple(value: object, path: str) -> dict[str, str]:
    if not isinstance(value, tuple | list) or len(value) != 3 or not all(isinstance(part, str) for part in value):
        raise InvalidInputError("must be subject, type and object", path)
    return dict(zip(("subject", "relation_type", "object"), value, strict=True))


def text_query(content: messages.ContentLike) -> Any:
    """Builds what to look for.

    Args:
        content: Text or content.

    Raises:
        InvalidInputError: The value is no content.
    """
    return messages.content(content, "query")


def file_requests(
    path: Path, document_id: str, *, mime_type: str = "", metadata: Mapping[str, Any] | None = None
) -> Iterator[memory_pb2.BulkInsertDocumentsRequest]:
    """Yields a file as requests of a bulk insertion, read while they are sent.

    Args:
        path: The file.
        document_id: Identifier of the document.
        mime_type: Media type. Default: by the ending of the file's name, else told from the content.
        metadata: Facts about the document.
    """
    head = memory_pb2.DocumentHead(
        document_id=document_id, mime_type=mime_type or MIME_TYPES.get(path.suffix.lower(), "")
    )
    head.metadata.update(dict(metadata or {}))
    part = memory_pb2.DocumentPart(head=head)
    with path.open("rb") as file:
        while data := file.read(PART_BYTES):
            if part.data:
                yield memory_pb2.BulkInsertDocumentsRequest(part=part)
                part = memory_pb2.DocumentPart()
            part.data = data
    part.last = True
    yield memory_pb2.BulkInsertDocumentsRequest(part=part)


def _built(message_type: type[M], value: object, path: str) -> M:
    return value if isinstance(value, message_type) else llama_stack.build(message_type, value, path)


def typed_value(value: object) -> keyvalue_pb2.TypedValue:
    """Builds the value of a key.

    Args:
        value: Text, bytes, an integer, a number, True or False, a datetime with a time zone, a list or dict (JSON), or a TypedValue.

    Raises:
        InvalidInputError: The value is none of these.
    """
    typed = keyvalue_pb2.TypedValue()
    match value:
        case keyvalue_pb2.TypedValue():
            return value
        case bool():
            typed.boolean = value
        case int():
            if not -(2**63) <= value < 2**63:
                raise InvalidInputError("must fit into 64 bits", "value")
            typed.integer = value
        case float():
            typed.number = value
        case str():
            typed.text = value
        case bytes():
            typed.data = value
        case datetime():
            if value.tzinfo is None:
                raise InvalidInputError("must have a time zone", "value")
            typed.timestamp.FromDatetime(value.astimezone(UTC))
        case Mapping() | list() | tuple() | None:
            try:
                json_format.ParseDict(_listed(value), typed.json)
            except json_format.ParseError as error:
                raise InvalidInputError(f"is no JSON: {error}", "value") from error
        case _:
            raise InvalidInputError(f"{type(value).__name__} is no kind of value", "value")
    return typed


def plain_value(value: keyvalue_pb2.TypedValue) -> Any:
    """The Python value of a key's value.

    Args:
        value: The value.
    """
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "json":
            return json_format.MessageToDict(value.json)
        case "timestamp":
            return value.timestamp.ToDatetime(UTC)
        case _:
            return getattr(value, kind)


def _listed(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value
