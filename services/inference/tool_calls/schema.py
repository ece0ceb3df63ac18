"""JSON Schema of tools: from a tool's definition, and values read by it."""

import re
from collections.abc import Callable

from caravan.types.v1 import types_pb2
from services.inference.tool_calls import builtin, json_values
from services.inference.tool_calls.json_values import JsonObject, JsonValue

NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_.-]{0,127}"
"""What the contract allows as a tool's and as a parameter's name."""

_TYPES = {
    **dict.fromkeys(("string", "str", "text"), "string"),
    **dict.fromkeys(("integer", "int", "long"), "integer"),
    **dict.fromkeys(("number", "float", "double", "decimal"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple", "set", "sequence"), "array"),
    **dict.fromkeys(("object", "dict", "map", "mapping"), "object"),
    **dict.fromkeys(("null", "none"), "null"),
}
_LIST_OF = re.compile(r"(?:array|list|set|sequence)[\[<](.+)[\]>]", re.IGNORECASE | re.DOTALL)
_DICT_OF = re.compile(r"(?:object|dict|map|mapping)[\[<][^,]+,(.+)[\]>]", re.IGNORECASE | re.DOTALL)


def parameters_schema(tool: types_pb2.ToolDefinition) -> JsonObject:
    """JSON Schema of a tool's arguments.

    Args:
        tool: The tool. A built-in one without parameters gets its own.

    Returns:
        A closed object schema; its properties are the required parameters by name, then the others by name.
    """
    parameters = builtin.with_parameters(tool).parameters
    names = parameter_names(tool)
    return {
        "type": "object",
        "properties": {name: _rebased(parameter_schema(parameters[name]), f"/properties/{name}") for name in names},
        "required": [name for name in names if is_required(parameters[name])],
        "additionalProperties": False,
    }


def parameter_names(tool: types_pb2.ToolDefinition) -> list[str]:
    """The parameters in the order in which prompts list them: required ones first, then by name."""
    parameters = builtin.with_parameters(tool).parameters
    return sorted(parameters, key=lambda name: (not is_required(parameters[name]), name))


def is_required(parameter: types_pb2.ToolParamDefinition) -> bool:
    """Whether a call must give the parameter; it must unless the definition says otherwise."""
    return parameter.required if parameter.HasField("required") else True


def parameter_schema(parameter: types_pb2.ToolParamDefinition) -> JsonObject:
    """JSON Schema of one parameter: its own `schema` if it has one, else what `param_type` says."""
    has_schema = parameter.HasField("schema")
    schema = json_values.from_struct(parameter.schema) if has_schema else type_schema(parameter.param_type)
    if parameter.description:
        schema.setdefault("description", parameter.description)
    if parameter.HasField("default"):
        schema.setdefault("default", json_values.from_value(parameter.default))
    return schema


def _rebased(schema: JsonObject, pointer: str) -> JsonObject:
    """The schema with its references to itself (`#/$defs/x`) as they read from where it is put."""

    def rebase(value: JsonValue) -> JsonValue:
        if isinstance(value, list):
            return [rebase(item) for item in value]
        if isinstance(value, dict):
            return {key: _moved(item, pointer) if key == "$ref" else rebase(item) for key, item in value.items()}
        return value

    return {key: _moved(item, pointer) if key == "$ref" else rebase(item) for key, item in schema.items()}


def _moved(reference: JsonValue, pointer: str) -> JsonValue:
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        return f"#{pointer}{reference[1:]}"
    return reference


def type_schema(name: str, depth: int = 0) -> JsonObject:
    """JSON Schema of a type in Python's or JSON Schema's words, `list[str]` and `dict[str, int]` included.

    Args:
        name: The type's name, upper or lower case.
        depth: How many types this one is nested in.

    Returns:
        The schema; the empty one, which takes any value, for a name that says nothing.
    """
    name = name.strip()
    known = _TYPES.get(name.lower())
    if known is not None:
        return {"type": known}
    if depth < json_values.MAX_DEPTH:
        if listed := _LIST_OF.fullmatch(name):
            return {"type": "array", "items": type_schema(listed[1], depth + 1)}
        if mapped := _DICT_OF.fullmatch(name):
            return {"type": "object", "additionalProperties": type_schema(mapped[1], depth + 1)}
    return {}


def coerce(value: JsonValue, schema: JsonValue) -> JsonValue:
    """Brings a value to the type that its schema asks for, where nothing is lost by it.

    Models write `"10"` where the schema says integer, and `5.0` or `"true"`. What does not fit stays as it is: the tool judges it.

    Args:
        value: What the model wrote.
        schema: JSON Schema of the value.
    """
    if not isinstance(schema, dict):
        return value
    kind = schema.get("type")
    if isinstance(value, str) and kind in ("array", "object"):
        value = _parsed(value, list if kind == "array" else dict)
    if isinstance(value, dict) and isinstance(properties := schema.get("properties"), dict):
        return {key: coerce(item, properties.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        return [coerce(item, items) for item in value]
    convert = _CONVERSIONS.get(kind) if isinstance(kind, str) else None
    return value if convert is None else convert(value)


def _parsed(text: str, kind: type) -> JsonValue:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        value = json_values.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, kind) and json_values.depth(value) < json_values.MAX_DEPTH else text


def _as_integer(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?(?:0|[1-9][0-9]{0,299})", value):
        return int(value)
    return value


def _as_number(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and re.fullmatch(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", value):
        try:
            return json_values.loads(value)
        except ValueError:
            return value
    return value


def _as_boolean(value: JsonValue) -> JsonValue:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _as_string(value: JsonValue) -> JsonValue:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_CONVERSIONS: dict[str, Callable[[JsonValue], JsonValue]] = {
    "integer": _as_integer,
    "number": _as_number,
    "boolean": _as_boolean,
    "string": _as_string,
}
