"""Which prompt format a model takes: Llama 3's own, or the chat template that came with it."""

from collections.abc import Container, Iterable, Sequence

from caravan.types.v1 import types_pb2
from services.inference.openai_messages import openai_message, openai_tools
from services.inference.prompts.llama3 import END_HEADER, END_OF_TURN, START_HEADER
from services.inference.tool_calls.calls import arguments_of
from services.inference.tool_calls.json_values import JsonObject


def is_llama3(vocabulary: Container[str]) -> bool:
    """Whether a model is of the Llama 3 family, by the control tokens in its vocabulary."""
    return all(token in vocabulary for token in (START_HEADER, END_HEADER, END_OF_TURN))


def to_template_messages(messages: Sequence[types_pb2.Message]) -> list[JsonObject]:
    """A conversation as Hugging Face chat templates take it, for `tokenizer.apply_chat_template`.

    OpenAI's form with three differences: the arguments of tool calls are objects, tool messages name their tool, and images are
    placeholders (`{"type": "image"}`). System messages are joined into one at the front, where templates look for it.

    Args:
        messages: The conversation, oldest message first.

    Raises:
        InvalidArgumentError: `arguments_json` of a tool call is not a JSON object.
    """
    system = [message for message in messages if message.HasField("system")]
    others = [_template_message(message) for message in messages if not message.HasField("system")]
    return [*([_joined(system)] if system else []), *others]


def to_template_tools(tools: Iterable[types_pb2.ToolDefinition]) -> list[JsonObject]:
    """Tools as Hugging Face chat templates take them: OpenAI's form."""
    return openai_tools(tools)


def _template_message(message: types_pb2.Message) -> JsonObject:
    written = openai_message(message)
    written["content"] = _with_placeholders(written["content"])
    if message.HasField("tool") and message.tool.tool_name:
        written["name"] = message.tool.tool_name
    for call, made in zip(written.get("tool_calls", ()), message.assistant.tool_calls, strict=True):
        call["function"]["arguments"] = arguments_of(made)
    return written


def _joined(system: Sequence[types_pb2.Message]) -> JsonObject:
    """One system message of several, with an empty line between."""
    joined = types_pb2.Message()
    for index, message in enumerate(system):
        if index:
            joined.system.content.items.add(text="\n\n")
        joined.system.content.items.extend(message.system.content.items)
    return _template_message(joined)


def _with_placeholders(content: str | list[JsonObject] | None) -> str | list[JsonObject]:
    if not isinstance(content, list):
        return content or ""
    return [part if part["type"] == "text" else {"type": "image"} for part in content]
