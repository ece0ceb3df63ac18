"""The texts that the inference service's prompts repeat word by word. The tokenizer makes one token of each."""

from __future__ import annotations

from caravan.types.v1 import types_pb2 as types
from services.inference.prompts import tool_text

_DATES = "Cutting Knowledge Date: December 2023\nToday Date: "
_TYPES = ("string", "integer", "number", "boolean", "array", "object")

# Between the names and descriptions of definitions that are indented by four, as prompts for `json` and `python_list` show them.
_INDENTED = (
    '{\n    "type": "function",\n    "function": {\n        "name": "',
    '[\n    {\n        "name": "',
    ',\n    {\n        "name": "',
    '",\n        "description": "',
    '",\n        "parameters": {\n            "type": "object",\n            "properties": {\n                "',
    '",\n        "parameters": {\n            "type": "dict",\n            "required": [\n                "',
    '"\n            ],\n            "properties": {\n                "',
    *(f'": {{\n                    "type": "{name}",\n                    "description": "' for name in _TYPES),
    '"\n                },\n                "',
    '"\n                }\n            },\n            "required": [\n                "',
    '",\n                "',
    '"\n            ]\n        }\n    }\n}',
    '"\n                }\n            }\n        }\n    }',
)
# The same for `function_tag`.
_ON_ONE_LINE = (
    "Use the function '",
    "' to '",
    '\':\n{"name": "',
    '", "description": "',
    '", "parameters": {"',
    '": {"description": "',
    *(f'", "param_type": "{name}", "required": {required}' for name in _TYPES for required in ("true", "false")),
)
_CALLS = (
    '{"type": "function", "name": "',
    '; {"type": "function", "name": "',
    '"}</function>',
    '}</function>',
)  # fmt: skip


def _instructions() -> list[str]:
    """What stands before and after the definitions of tools, in each format."""
    tool = types.ToolDefinition(tool_name="x", description="x")
    texts: list[str] = []
    for tool_format in (
        types.TOOL_PROMPT_FORMAT_JSON,
        types.TOOL_PROMPT_FORMAT_FUNCTION_TAG,
        types.TOOL_PROMPT_FORMAT_PYTHON_LIST,
    ):
        definition = tool_text.definitions([tool], tool_format)
        texts += tool_text.instructions([tool], tool_format).split(
            definition[definition.index("[\n") if definition.startswith("Here") else 0 :]
        )
    return [text for text in texts if text]


FIXED_TEXTS = ("Environment: ipython\n\n", _DATES, *_instructions(), *_INDENTED, *_ON_ONE_LINE, *_CALLS)
