"""The tools that Llama models know by name and call in their own syntax.

Source: https://github.com/meta-llama/llama-models/blob/main/models/llama3_1/prompt_format.md
"""

from collections.abc import Iterable

from caravan.types.v1 import types_pb2

CODE_INTERPRETER = "code_interpreter"
"""The tool whose call is bare code."""

QUERY_TOOLS = ("brave_search", "wolfram_alpha", "photogen")
"""The tools that are called as `name.call(query="...")`."""

BUILTIN_TOOLS = frozenset({*QUERY_TOOLS, CODE_INTERPRETER})
"""All of them."""

PYTHON_TAG = "<|python_tag|>"
"""Token in front of a built-in tool's call."""

DESCRIPTIONS = {
    "brave_search": "Searches the web.",
    "wolfram_alpha": "Answers questions of mathematics, science and facts by computing.",
    "photogen": "Makes an image from a description.",
    CODE_INTERPRETER: "Runs Python code and returns what it prints.",
}
"""What the tools do, for models that do not know them by name."""

_SOLE_PARAMETER = {
    CODE_INTERPRETER: types_pb2.ToolParamDefinition(param_type="string", description="Python code to run"),
    **dict.fromkeys(QUERY_TOOLS, types_pb2.ToolParamDefinition(param_type="string", description="What to ask for")),
}


def is_builtin(tool_name: str) -> bool:
    """Whether a name is a built-in tool's."""
    return tool_name in BUILTIN_TOOLS


def sole_parameter(tool_name: str) -> str:
    """Name of the one parameter of a built-in tool."""
    return "code" if tool_name == CODE_INTERPRETER else "query"


def with_parameters(tool: types_pb2.ToolDefinition) -> types_pb2.ToolDefinition:
    """The definition, its parameter filled in where a built-in tool comes without."""
    if not is_builtin(tool.tool_name) or tool.parameters:
        return tool
    whole = types_pb2.ToolDefinition()
    whole.CopyFrom(tool)
    whole.parameters[sole_parameter(tool.tool_name)].CopyFrom(_SOLE_PARAMETER[tool.tool_name])
    return whole


def split(
    tools: Iterable[types_pb2.ToolDefinition],
) -> tuple[list[types_pb2.ToolDefinition], list[types_pb2.ToolDefinition]]:
    """The built-in tools and the others, each in their order."""
    builtin: list[types_pb2.ToolDefinition] = []
    custom: list[types_pb2.ToolDefinition] = []
    for tool in tools:
        (builtin if is_builtin(tool.tool_name) else custom).append(tool)
    return builtin, custom
