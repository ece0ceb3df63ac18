"""Writes a dialog as the text that the model reads: through the inference service's own renderer, so that training equals serving."""

from __future__ import annotations

import json

from caravan.types.v1 import types_pb2 as types
from models.recipe.dialog import Dialog, Parameter, Tool, Turn
from services.inference.prompts import llama3
from services.inference.tool_calls.encode import encode

OPEN_ASSISTANT = "<|start_header_id|>assistant<|end_header_id|>\n\n"
_FORMATS = {
    "json": types.TOOL_PROMPT_FORMAT_JSON,
    "function_tag": types.TOOL_PROMPT_FORMAT_FUNCTION_TAG,
    "python_list": types.TOOL_PROMPT_FORMAT_PYTHON_LIST,
}


def render(dialog: Dialog) -> str:
    """Returns the text of a whole dialog, from `<|begin_of_text|>` to the end of its last turn."""
    return prompt(dialog).removesuffix(OPEN_ASSISTANT)


def prompt(dialog: Dialog) -> str:
    """Returns the text of a dialog that waits for the assistant's next turn."""
    return llama3.render_chat(
        messages(dialog),
        tools=[tool_definition(tool) for tool in dialog.tools],
        tool_config=types.ToolConfig(tool_prompt_format=_FORMATS[dialog.tool_format]),
        today=dialog.today,
        default_format=_FORMATS["json" if dialog.dated else "python_list"],
    ).text


def written(dialog: Dialog, index: int) -> str:
    """Returns what the assistant writes in the turn at `index`, without the closing token."""
    turn = dialog.turns[index]
    return turn.text + encode(_calls(turn, start=index), _FORMATS[dialog.tool_format])


def messages(dialog: Dialog) -> list[types.Message]:
    """Returns the dialog's turns as the contract's messages."""
    result: list[types.Message] = []
    waiting: list[types.ToolCall] = []
    for turn in dialog.turns:
        if turn.calls:
            waiting = _calls(turn, start=len(result))
            result.append(_assistant(turn, waiting))
        elif turn.role == "assistant":
            result.append(_assistant(turn, []))
        elif turn.role == "tool":
            call = waiting.pop(0)
            response = types.ToolResponseMessage(
                call_id=call.call_id, tool_name=call.tool_name, content=_content(turn.text)
            )
            result.append(types.Message(tool=response))
        elif turn.role == "system":
            result.append(types.Message(system=types.SystemMessage(content=_content(turn.text))))
        else:
            result.append(
                types.Message(user=types.UserMessage(content=_content(turn.text), context=_content(turn.context)))
            )
    return result


def _content(text: str) -> types.InterleavedContent:
    return types.InterleavedContent(items=[types.InterleavedContentItem(text=text)] if text else [])


def _assistant(turn: Turn, calls: list[types.ToolCall]) -> types.Message:
    reason = types.STOP_REASON_END_OF_MESSAGE if calls else types.STOP_REASON_END_OF_TURN
    return types.Message(
        assistant=types.CompletionMessage(content=_content(turn.text), stop_reason=reason, tool_calls=calls)
    )


def _calls(turn: Turn, start: int) -> list[types.ToolCall]:
    return [
        types.ToolCall(
            call_id=f"call_{start}_{index}",
            tool_name=call.name,
            arguments_json=json.dumps(dict(call.arguments), ensure_ascii=False),
        )
        for index, call in enumerate(turn.calls)
    ]


def tool_definition(tool: Tool) -> types.ToolDefinition:
    """Returns a tool as the contract's message."""
    parameters = {parameter.name: _parameter(parameter) for parameter in tool.parameters}
    return types.ToolDefinition(tool_name=tool.name, description=tool.description, parameters=parameters)


def _parameter(parameter: Parameter) -> types.ToolParamDefinition:
    written = types.ToolParamDefinition(
        param_type=parameter.param_type, description=parameter.description, required=parameter.required
    )
    if parameter.schema is not None:
        written.schema.update(dict(parameter.schema))
    return written
