"""Tool calls as messages: made from a name and arguments, and read back."""

from collections.abc import Callable
from typing import TypeAlias
from uuid import uuid4

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.tool_calls import json_values
from services.inference.tool_calls.json_values import JsonObject

NewCallId: TypeAlias = Callable[[], str]


def new_call_id() -> str:
    """A call id that no other call has."""
    return f"call_{uuid4().hex}"


def make_call(call_id: str, tool_name: str, arguments: JsonObject) -> types_pb2.ToolCall:
    """A tool call with both forms of its arguments filled in.

    Args:
        call_id: Identifier of the call.
        tool_name: Name of the tool.
        arguments: JSON values by name, at most `json_values.MAX_DEPTH` levels deep.
    """
    call = types_pb2.ToolCall(call_id=call_id, tool_name=tool_name, arguments_json=json_values.dumps(arguments))
    call.arguments.SetInParent()
    json_values.fill_struct(call.arguments, arguments)
    return call


def arguments_of(call: types_pb2.ToolCall) -> JsonObject:
    """The arguments of a call: of `arguments_json` when that is set, else of `arguments`.

    Raises:
        InvalidArgumentError: `arguments_json` is not the text of a JSON object, or is nested too deeply.
    """
    if not call.arguments_json.strip():
        return json_values.from_struct(call.arguments)
    try:
        arguments = json_values.loads(call.arguments_json)
    except ValueError as error:
        raise _wrong_arguments(call, f"must be JSON ({error})") from error
    if not isinstance(arguments, dict):
        raise _wrong_arguments(call, "must be a JSON object")
    if json_values.depth(arguments) > json_values.MAX_DEPTH:
        raise _wrong_arguments(call, f"must not be nested more than {json_values.MAX_DEPTH} levels deep")
    return arguments


def _wrong_arguments(call: types_pb2.ToolCall, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of(
        "arguments_json",
        f"{description}, in the call {call.call_id!r} of {call.tool_name!r}",
        reason="BAD_TOOL_ARGUMENTS",
    )
