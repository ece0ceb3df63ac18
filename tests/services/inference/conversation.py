"""Short ways to write conversations and tools in tests."""

from collections.abc import Sequence
from typing import Any

from caravan.types.v1 import types_pb2
from services.inference.tool_calls import json_values
from services.inference.tool_calls.calls import make_call

JSON = types_pb2.TOOL_PROMPT_FORMAT_JSON
FUNCTION_TAG = types_pb2.TOOL_PROMPT_FORMAT_FUNCTION_TAG
PYTHON_LIST = types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST
FORMATS = (JSON, FUNCTION_TAG, PYTHON_LIST)

Part = str | types_pb2.Image


def content(*parts: Part) -> types_pb2.InterleavedContent:
    """Content of texts and images."""
    return types_pb2.InterleavedContent(
        items=[
            types_pb2.InterleavedContentItem(text=part)
            if isinstance(part, str)
            else types_pb2.InterleavedContentItem(image=part)
            for part in parts
        ]
    )


def user(*parts: Part, context: Sequence[Part] = ()) -> types_pb2.Message:
    """A user's message."""
    message = types_pb2.UserMessage(content=content(*parts))
    if context:
        message.context.CopyFrom(content(*context))
    return types_pb2.Message(user=message)


def system(*parts: Part) -> types_pb2.Message:
    """A system message."""
    return types_pb2.Message(system=types_pb2.SystemMessage(content=content(*parts)))


def assistant(
    *parts: Part,
    calls: Sequence[types_pb2.ToolCall] = (),
    stop_reason: types_pb2.StopReason.ValueType = types_pb2.STOP_REASON_END_OF_TURN,
) -> types_pb2.Message:
    """An answer."""
    return types_pb2.Message(
        assistant=types_pb2.CompletionMessage(content=content(*parts), tool_calls=calls, stop_reason=stop_reason)
    )


def tool_response(text: str, *, name: str = "f", call_id: str = "c1") -> types_pb2.Message:
    """The result of a tool call."""
    return types_pb2.Message(tool=types_pb2.ToolResponseMessage(call_id=call_id, tool_name=name, content=content(text)))


def call(name: str, arguments: dict[str, Any] | None = None, call_id: str = "c1") -> types_pb2.ToolCall:
    """A tool call."""
    return make_call(call_id, name, arguments or {})


def parameter(
    kind: str = "string",
    description: str = "",
    *,
    required: bool | None = None,
    default: json_values.JsonValue = None,
    schema: dict[str, Any] | None = None,
) -> types_pb2.ToolParamDefinition:
    """A tool's parameter."""
    result = types_pb2.ToolParamDefinition(param_type=kind, description=description)
    if required is not None:
        result.required = required
    if default is not None:
        result.default.CopyFrom(json_values.to_value(default))
    if schema is not None:
        json_values.fill_struct(result.schema, schema)
    return result


def tool(name: str, description: str = "", **parameters: types_pb2.ToolParamDefinition) -> types_pb2.ToolDefinition:
    """A tool."""
    return types_pb2.ToolDefinition(tool_name=name, description=description, parameters=parameters)
