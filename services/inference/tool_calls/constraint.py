"""What the engine must be held to so that its answer is a tool call: structural tags made from the tools' schemas.

A structural tag is JSON that says which strings stand around which JSON Schemas; vLLM takes one as
`StructuredOutputsParams.structural_tag`. Format: https://xgrammar.mlc.ai/docs/tutorials/structural_tag.html.
Every text that one of these tags accepts is a call that `decode` reads.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.tool_calls import builtin
from services.inference.tool_calls.json_values import JsonObject
from services.inference.tool_calls.schema import is_required, parameter_names, parameter_schema, parameters_schema

MOST_LISTED_CALLS = 16
"""Most calls in a python list that is required."""

_MOST_FREE_PARAMETERS = 6
_LONGEST_SPACE = 2

_Format: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Constraint:
    """A constraint on an answer."""

    kind: Literal["structural_tag"]
    """Name of the field of vLLM's `StructuredOutputsParams` that takes it."""
    value: str
    """The field's value."""


def tool_call_constraint(
    tools: Sequence[types_pb2.ToolDefinition],
    tool_format: types_pb2.ToolPromptFormat.ValueType,
    tool_config: types_pb2.ToolConfig,
) -> Constraint | None:
    """The constraint that makes the model call a tool, when the tool choice demands it.

    A choice by name allows exactly one call of that tool; "required" allows one call, in the python list form up to
    `MOST_LISTED_CALLS`. Arguments come in the schema's order, and only those that the schema knows.

    Args:
        tools: The tools of the request.
        tool_format: Form of the calls, `Prompt.tool_prompt_format`.
        tool_config: The tool choice.

    Returns:
        The constraint, or None where the choice leaves the model free.

    Raises:
        InvalidArgumentError: The named tool is none of `tools`, or a call is required and there is no tool.
    """
    if tool_config.tool_name:
        named = [tool for tool in tools if tool.tool_name == tool_config.tool_name]
        if not named:
            known = ", ".join(tool.tool_name for tool in tools) or "none"
            raise InvalidArgumentError.of(
                "tool_config.tool_name", f"must be one of the request's tools ({known})", reason="UNKNOWN_TOOL"
            )
        return _constraint(_one_of([_call(tool, tool_format) for tool in named[:1]]))
    if tool_config.tool_choice != types_pb2.TOOL_CHOICE_REQUIRED:
        return None
    if not tools:
        raise InvalidArgumentError.of("tools", "must not be empty when tool_choice is required", reason="NO_TOOLS")
    return _constraint(_any_call(tools, tool_format))


def free_choice_constraint(
    tools: Sequence[types_pb2.ToolDefinition], tool_format: types_pb2.ToolPromptFormat.ValueType
) -> Constraint | None:
    """The constraint that leaves the model free to call a tool, and holds it to the tool's schema once it begins a call.

    Args:
        tools: The tools of the request.
        tool_format: Form of the calls, `Prompt.tool_prompt_format`.

    Returns:
        The constraint; None where no tool can be recognized by how its call begins.
    """
    custom = builtin.split(tools)[1]
    if not custom:
        return None
    tags = [_call(tool, tool_format) for tool in custom]
    triggers = {
        types_pb2.TOOL_PROMPT_FORMAT_FUNCTION_TAG: ["<function="],
        types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST: [tag["begin"] for tag in tags],
    }.get(tool_format, ['{"type": "function", "name": "'])
    return _constraint({"type": "triggered_tags", "triggers": triggers, "tags": tags})


def _constraint(tag: _Format) -> Constraint:
    return Constraint("structural_tag", json.dumps({"type": "structural_tag", "format": tag}, ensure_ascii=False))


def _any_call(tools: Sequence[types_pb2.ToolDefinition], tool_format: types_pb2.ToolPromptFormat.ValueType) -> _Format:
    if tool_format != types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST:
        return _one_of([_call(tool, tool_format) for tool in tools])
    listed = [tool for tool in tools if not _has_own_syntax(tool)]
    others = [_call(tool, tool_format) for tool in tools if _has_own_syntax(tool)]
    return _one_of([*others, _python_list(listed)] if listed else others)


def _python_list(tools: Sequence[types_pb2.ToolDefinition]) -> _Format:
    call = _one_of([_tag(f"{tool.tool_name}(", _python_arguments(tool), ")") for tool in tools])
    more = {"type": "repeat", "min": 0, "max": MOST_LISTED_CALLS - 1, "content": _sequence(_text(", "), call)}
    return _sequence(_text("["), call, more, _text("]"))


def _call(tool: types_pb2.ToolDefinition, tool_format: types_pb2.ToolPromptFormat.ValueType) -> _Format:
    """One call of one tool."""
    if _has_own_syntax(tool):
        query = parameters_schema(tool)["properties"]["query"]
        return _tag(f"{tool.tool_name}.call(query=", _json({**query, "type": "string"}), ")")
    if tool_format == types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST:
        return _tag(f"[{tool.tool_name}(", _python_arguments(tool), ")]")
    arguments = _json(parameters_schema(tool))
    if tool_format == types_pb2.TOOL_PROMPT_FORMAT_FUNCTION_TAG:
        return _tag(f"<function={tool.tool_name}>", arguments, "</function>")
    return _tag(f'{{"type": "function", "name": "{tool.tool_name}", "parameters": ', arguments, "}")


def _has_own_syntax(tool: types_pb2.ToolDefinition) -> bool:
    """Whether a tool is called as `name.call(query="...")`.

    The code interpreter is not: bare code cannot be told from text without `<|python_tag|>`, which a constraint on text cannot demand.
    Where it must be called, it is called like a custom tool.
    """
    return tool.tool_name in builtin.QUERY_TOOLS and set(tool.parameters) <= {"query"}


def _python_arguments(tool: types_pb2.ToolDefinition) -> _Format:
    """`a="x", n=1`: the required arguments, then any of the others."""
    parameters = builtin.with_parameters(tool).parameters
    names = parameter_names(tool)
    values = {name: _sequence(_text(f"{name}="), _python_value(parameter_schema(parameters[name]))) for name in names}
    required = [values[name] for name in names if is_required(parameters[name])]
    optional = [values[name] for name in names if not is_required(parameters[name])]
    if required:
        first, *rest = required
        return _sequence(first, *(_sequence(_text(", "), value) for value in rest), *map(_after_comma, optional))
    if len(optional) > _MOST_FREE_PARAMETERS:
        # A comma behind each argument needs no case for each one that may come first.
        return _sequence(*(_optional(_sequence(value, _text(", "))) for value in optional))
    starts = [_sequence(value, *map(_after_comma, optional[index:])) for index, value in enumerate(optional, 1)]
    return _optional(_one_of(starts)) if starts else _text("")


def _python_value(schema: JsonObject) -> _Format:
    """A value as JSON, which `decode` reads as Python too; constants as Python writes them."""
    if schema.get("type") == "boolean" and not {"enum", "const"} & set(schema):
        return _one_of([_text("True"), _text("False")])
    return _json(schema)


def _after_comma(value: _Format) -> _Format:
    return _optional(_sequence(_text(", "), value))


def _tag(begin: str, content: _Format, end: str) -> _Format:
    return {"type": "tag", "begin": begin, "content": content, "end": end}


def _json(schema: JsonObject) -> _Format:
    return {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": _LONGEST_SPACE}


def _text(value: str) -> _Format:
    return {"type": "const_string", "value": value}


def _sequence(*elements: _Format) -> _Format:
    return elements[0] if len(elements) == 1 else {"type": "sequence", "elements": list(elements)}


def _one_of(elements: Sequence[_Format]) -> _Format:
    return elements[0] if len(elements) == 1 else {"type": "or", "elements": list(elements)}


def _optional(content: _Format) -> _Format:
    return {"type": "optional", "content": content}
