"""Tool calls as text, in the forms in which Llama models write them.

Sources: https://github.com/meta-llama/llama-models, `models/llama3_1/prompt_format.md` (json, function tags, built-in tools) and
`models/llama3_2/text_prompt_format.md` (python lists).
"""

import re
from collections.abc import Sequence
from itertools import groupby

from caravan.types.v1 import types_pb2
from services.inference.tool_calls import builtin, json_values
from services.inference.tool_calls.calls import arguments_of
from services.inference.tool_calls.json_values import JsonValue
from services.inference.tool_calls.schema import NAME_PATTERN

_NAME = re.compile(NAME_PATTERN)


def encode(calls: Sequence[types_pb2.ToolCall], tool_format: types_pb2.ToolPromptFormat.ValueType) -> str:
    """The text of calls, as `decode` reads it.

    Args:
        calls: The calls, in their order.
        tool_format: Form of the calls of custom tools.

    Raises:
        InvalidArgumentError: The arguments of a call are not a JSON object.
    """
    return "".join((builtin.PYTHON_TAG if tagged else "") + text for tagged, text in encode_groups(calls, tool_format))


def encode_groups(
    calls: Sequence[types_pb2.ToolCall], tool_format: types_pb2.ToolPromptFormat.ValueType
) -> list[tuple[bool, str]]:
    """The text of calls in groups, each with whether the token `<|python_tag|>` stands in front of it.

    Each built-in call is a group of its own, calls of custom tools that follow one another are one. Custom calls after a built-in one
    carry the token too: it ends the code before them.

    Args:
        calls: The calls, in their order.
        tool_format: Form of the calls of custom tools.

    Raises:
        InvalidArgumentError: The arguments of a call are not a JSON object.
    """
    groups: list[tuple[bool, str]] = []
    for bare, group in groupby(calls, key=_has_own_syntax):
        if bare:
            groups += [(True, _encode_builtin(call)) for call in group]
        else:
            groups.append((bool(groups), _encode_custom(list(group), tool_format)))
    return groups


def python_literal(value: JsonValue) -> str:
    """A JSON value as a Python literal. Strings keep JSON's escapes, which mean the same in Python."""
    match value:
        case None | bool():
            return str(value)
        case list():
            return f"[{', '.join(map(python_literal, value))}]"
        case dict():
            return f"{{{', '.join(f'{json_values.dumps(k)}: {python_literal(v)}' for k, v in value.items())}}}"
        case _:
            return json_values.dumps(value)


def _has_own_syntax(call: types_pb2.ToolCall) -> bool:
    """Whether a call is one of a built-in tool with exactly the argument that its own syntax can say."""
    if not builtin.is_builtin(call.tool_name):
        return False
    arguments = arguments_of(call)
    value = arguments.get(builtin.sole_parameter(call.tool_name))
    says_something = isinstance(value, str) and (call.tool_name != builtin.CODE_INTERPRETER or bool(value.strip()))
    return len(arguments) == 1 and says_something


def _encode_builtin(call: types_pb2.ToolCall) -> str:
    argument = next(iter(arguments_of(call).values()))
    if call.tool_name == builtin.CODE_INTERPRETER:
        return str(argument)
    return f"{call.tool_name}.call(query={json_values.dumps(argument)})"


def _encode_custom(calls: Sequence[types_pb2.ToolCall], tool_format: types_pb2.ToolPromptFormat.ValueType) -> str:
    if tool_format == types_pb2.TOOL_PROMPT_FORMAT_FUNCTION_TAG:
        return "".join(f"<function={c.tool_name}>{json_values.dumps(arguments_of(c))}</function>" for c in calls)
    if tool_format == types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST:
        return f"[{', '.join(map(_python_call, calls))}]"
    return "; ".join(map(_json_call, calls))


def _json_call(call: types_pb2.ToolCall) -> str:
    return json_values.dumps({"type": "function", "name": call.tool_name, "parameters": arguments_of(call)})


def _python_call(call: types_pb2.ToolCall) -> str:
    return f"{call.tool_name}({', '.join(_python_argument(*item) for item in arguments_of(call).items())})"


def _python_argument(name: str, value: JsonValue) -> str:
    """`name=value`; what can be no parameter's name goes into a dict."""
    literal = python_literal(value)
    return f"{name}={literal}" if _NAME.fullmatch(name) else f"**{{{json_values.dumps(name)}: {literal}}}"
