"""Metadata as filters ask for them: one flat JSON object, made when a document or chunk is written.

    {"author.name": "Ann", "tags": ["a", "b"], "at": {"t": 1767225600000000}, "author": {}, "nothing": null, "document_id": "d"}

Names are paths, joined by dots; a name that holds a dot itself cannot be asked for, and is left out. Texts, numbers and booleans are
themselves, times are objects with their microseconds since the epoch, objects are empty objects (what they hold has paths of its own),
lists hold their scalars. `inserted_at` has a column of its own: it is known last. So values of two types are never equal to JSON's own
comparison either, and one index serves them all.
The rules are those of `services.memory.filters`.
"""

import json
import math
from typing import Any

from google.protobuf import struct_pb2

from services.memory.filters import scalar
from services.memory.providers.postgres.text import quoted

_INFINITY = 10**400
"""Stands for infinity, which JSON has not: beyond all doubles, and PostgreSQL's numbers reach that far."""


def facts(metadata: struct_pb2.Struct, document_id: str, mime_type: str) -> str:
    """Returns the JSON text of what filters see of a document or chunk, but for `inserted_at`.

    Args:
        metadata: The document's metadata, with the chunk's own over them.
        document_id: Identifier of the document.
        mime_type: Its media type. Empty: none.
    """
    flat: dict[str, Any] = {}
    _flatten(metadata, "", flat)
    flat["document_id"] = of_value(struct_pb2.Value(string_value=document_id))
    flat.pop("mime_type", None)
    if mime_type:
        flat["mime_type"] = of_value(struct_pb2.Value(string_value=mime_type))
    return written(flat)


def merged(document: struct_pb2.Struct, own: struct_pb2.Struct) -> struct_pb2.Struct:
    """Returns a document's metadata with a chunk's own over them."""
    both = struct_pb2.Struct()
    both.CopyFrom(document)
    for name, value in own.fields.items():
        both.fields[name].CopyFrom(value)
    return both


def of_value(value: struct_pb2.Value) -> Any:
    """Returns a value as the facts hold it; a list or object without what it holds."""
    found = scalar(value)
    if found is not None:
        kind, content = found
        if kind == "time":
            return {"t": content}
        if isinstance(content, float) and math.isinf(content):
            return _INFINITY if content > 0 else -_INFINITY
        return quoted(content) if isinstance(content, str) else content
    match value.WhichOneof("kind"):
        case "list_value":
            return [of_value(one) for one in value.list_value.values if scalar(one) is not None]
        case "struct_value":
            return {}
        case _:
            return None


def written(value: Any) -> str:
    """Returns JSON text for PostgreSQL."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _flatten(holder: struct_pb2.Struct, path: str, flat: dict[str, Any]) -> None:
    for name, value in holder.fields.items():
        if "." in name:
            continue
        full = f"{path}{quoted(name)}"
        flat[full] = of_value(value)
        if value.HasField("struct_value"):
            _flatten(value.struct_value, f"{full}.", flat)
