"""The prompt format of Llama 3.1, 3.2 and 3.3.

Source: https://github.com/meta-llama/llama-models, `models/llama3_1/prompt_format.md`, `models/llama3_2/text_prompt_format.md`,
`models/llama3_2/vision_prompt_format.md` and `models/llama3_3/prompt_format.md`.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import TypeAlias

from caravan.types.v1 import types_pb2
from services.inference.prompts import tool_text
from services.inference.prompts.prompt import Prompt, PromptBuilder
from services.inference.tool_calls import builtin
from services.inference.tool_calls.encode import encode_groups

BEGIN_OF_TEXT = "<|begin_of_text|>"
START_HEADER = "<|start_header_id|>"
END_HEADER = "<|end_header_id|>"
END_OF_TURN = "<|eot_id|>"
END_OF_MESSAGE = "<|eom_id|>"
IMAGE = "<|image|>"

Items: TypeAlias = Sequence[types_pb2.InterleavedContentItem]

_PLACEHOLDER = re.compile(r"\{\{\s*function_(?:definitions|description)\s*\}\}")


def render_chat(
    messages: Sequence[types_pb2.Message],
    *,
    tools: Sequence[types_pb2.ToolDefinition] = (),
    tool_config: types_pb2.ToolConfig | None = None,
    today: date | None = None,
    default_format: types_pb2.ToolPromptFormat.ValueType = types_pb2.TOOL_PROMPT_FORMAT_JSON,
) -> Prompt:
    """The prompt for the next answer in a conversation. It ends with an open assistant header.

    Args:
        messages: The conversation, oldest message first. System messages are joined, with an empty line between, and come first.
        tools: Tools that the model may call. A tool choice of "none" hides them.
        tool_config: How tools are offered.
        today: Date that the model is told. Default: today's in UTC.
        default_format: Form of tool calls where `tool_config` names none: JSON for Llama 3.1 and 3.2-Vision, PYTHON_LIST for the 3.2 and
            3.3 text models. It also picks the system message's style: with PYTHON_LIST, dates are told only beside built-in tools.

    Returns:
        The prompt; its `tool_prompt_format` is the form that was used.

    Raises:
        InvalidArgumentError: `arguments_json` of a tool call in `messages` is not a JSON object.
    """
    config = tool_config or types_pb2.ToolConfig()
    shown = () if config.tool_choice == types_pb2.TOOL_CHOICE_NONE else tuple(tools)
    custom = builtin.split(shown)[1]
    tool_format = config.tool_prompt_format or default_format or types_pb2.TOOL_PROMPT_FORMAT_JSON
    system: list[Items] = [message.system.content.items for message in messages if message.HasField("system")]

    prompt = PromptBuilder(IMAGE)
    prompt.control(BEGIN_OF_TEXT)
    if system and config.system_message_behavior == types_pb2.SYSTEM_MESSAGE_BEHAVIOR_REPLACE:
        _render_message(prompt, "system", _filled(system, tool_text.definitions(custom, tool_format)))
    else:
        text_style = default_format == types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST
        head = _head(shown, today or datetime.now(UTC).date(), text_style=text_style)
        in_system = bool(custom) and tool_format == types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST
        offer = tool_text.instructions(custom, tool_format) if custom else ""
        demand = tool_text.demand(config) if shown else ""
        _render_system(prompt, head, [_text(offer if in_system else ""), *system, _text(demand)])
        if offer and not in_system:
            _render_message(prompt, "user", [_text(offer)])
    for message in messages:
        _render(prompt, message, tool_format)
    _open(prompt, "assistant")
    return prompt.build(tool_format)


def render_completion(content: types_pb2.InterleavedContent) -> Prompt:
    """The prompt that makes a model continue a text.

    Args:
        content: The text, and images where the model takes them.
    """
    prompt = PromptBuilder(IMAGE)
    prompt.control(BEGIN_OF_TEXT)
    prompt.items(content.items)
    return prompt.build(types_pb2.TOOL_PROMPT_FORMAT_UNSPECIFIED)


def _head(tools: Sequence[types_pb2.ToolDefinition], today: date, *, text_style: bool) -> str:
    """The lines that open the system message."""
    if not text_style:
        return tool_text.environment(tools) + tool_text.dates(today)
    built_in = builtin.split(tools)[0]
    return tool_text.environment(built_in) + tool_text.dates(today) if built_in else ""


def _render_system(prompt: PromptBuilder, head: str, parts: Sequence[Items]) -> None:
    parts = [part for part in parts if part]
    if head or parts:
        # The head ends its last line itself; one more line end sets the parts off.
        _render_message(prompt, "system", [_text(head + "\n" if head and parts else head), *_separated(parts)])


def _filled(system: Sequence[Items], definitions: str) -> list[Items]:
    """The caller's template with the definitions in place. What is put in is not read as a template again."""
    return [
        [
            item if item.HasField("image") else _item(_PLACEHOLDER.sub(lambda _: definitions, item.text))
            for item in items
        ]
        for items in _separated(system)
    ]


def _render(
    prompt: PromptBuilder, message: types_pb2.Message, tool_format: types_pb2.ToolPromptFormat.ValueType
) -> None:
    match message.WhichOneof("role"):
        case "user":
            user = message.user
            _render_message(prompt, "user", _separated([user.content.items, user.context.items]))
        case "tool":
            _render_message(prompt, "ipython", [message.tool.content.items])
        case "assistant":
            _render_assistant(prompt, message.assistant, tool_format)
        case _:
            pass  # System messages have come first.


def _render_assistant(
    prompt: PromptBuilder, message: types_pb2.CompletionMessage, tool_format: types_pb2.ToolPromptFormat.ValueType
) -> None:
    _open(prompt, "assistant")
    prompt.items(message.content.items)
    for tagged, text in encode_groups(message.tool_calls, tool_format):
        if tagged:
            prompt.control(builtin.PYTHON_TAG)
        prompt.text(text)
    ends_message = message.stop_reason == types_pb2.STOP_REASON_END_OF_MESSAGE
    prompt.control(END_OF_MESSAGE if ends_message else END_OF_TURN)


def _render_message(prompt: PromptBuilder, role: str, parts: Iterable[Items]) -> None:
    _open(prompt, role)
    for part in parts:
        prompt.items(part)
    prompt.control(END_OF_TURN)


def _open(prompt: PromptBuilder, role: str) -> None:
    prompt.control(START_HEADER)
    prompt.text(role)
    prompt.control(END_HEADER)
    prompt.text("\n\n")


def _separated(parts: Sequence[Items]) -> list[Items]:
    """The parts that are not empty, with an empty line between."""
    parts = [part for part in parts if part]
    return [piece for part in parts for piece in (_text("\n\n"), part)][1:]


def _text(text: str) -> Items:
    return [_item(text)] if text else []


def _item(text: str) -> types_pb2.InterleavedContentItem:
    return types_pb2.InterleavedContentItem(text=text)
