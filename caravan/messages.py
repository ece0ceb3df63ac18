"""Conversations and content from strings, dicts (Llama Stack's shapes) and messages, and plain values out of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf.json_format import MessageToDict

from caravan import llama_stack
from caravan.errors import InvalidInputError
from caravan.types.v1 import types_pb2

ContentLike: TypeAlias = (
    str | types_pb2.InterleavedContent | types_pb2.InterleavedContentItem | Mapping[str, Any] | Sequence[Any]
)
"""A string, one item, or a list of items: `{"type": "text", "text": ...}`, `{"type": "image", "image": {"url": {"uri": ...}}}`."""

MessageLike: TypeAlias = (
    str
    | Mapping[str, Any]
    | types_pb2.Message
    | types_pb2.UserMessage
    | types_pb2.SystemMessage
    | types_pb2.ToolResponseMessage
    | types_pb2.CompletionMessage
)
"""A string (a user's message), `{"role": "user", "content": ...}`, or a message."""

_ROLES = {
    types_pb2.UserMessage: "user",
    types_pb2.SystemMessage: "system",
    types_pb2.ToolResponseMessage: "tool",
    types_pb2.CompletionMessage: "assistant",
}


def content(value: ContentLike, path: str = "content") -> types_pb2.InterleavedContent:
    """Builds content.

    Args:
        value: A string, an item, a list of items, or content.
        path: Where the value stands, for errors.

    Raises:
        InvalidInputError: The value is no content.
    """
    return llama_stack.build(types_pb2.InterleavedContent, value, path)


def conversation(
    messages: MessageLike | Iterable[MessageLike], system: ContentLike | None = None
) -> list[types_pb2.Message]:
    """Builds a conversation.

    Args:
        messages: One message or several, oldest first.
        system: Instructions to put before them.

    Raises:
        InvalidInputError: One of them is no message; names which.
    """
    several: Iterable[Any] = [messages] if _is_one(messages) else messages  # type: ignore[assignment]
    first = [types_pb2.Message(system=types_pb2.SystemMessage(content=content(system, "system")))] if system else []
    return first + [_message(item, f"messages[{index}]") for index, item in enumerate(several)]


def text_of(value: types_pb2.InterleavedContent | types_pb2.CompletionMessage) -> str:
    """The text in content, without the images.

    Args:
        value: Content, or a model's message.
    """
    held = value.content if isinstance(value, types_pb2.CompletionMessage) else value
    return "".join(item.text for item in held.items)


def tool_arguments(call: types_pb2.ToolCall) -> dict[str, Any]:
    """The arguments of a tool call, exact: key order and large integers are kept.

    Args:
        call: A tool call of a model.

    Raises:
        InvalidInputError: The arguments are no JSON object.
    """
    if not call.arguments_json:
        return MessageToDict(call.arguments)
    try:
        arguments = json.loads(call.arguments_json)
    except ValueError as error:
        raise InvalidInputError(f"not JSON: {error}", "arguments_json") from error
    if not isinstance(arguments, dict):
        raise InvalidInputError("not a JSON object", "arguments_json")
    return arguments


def _is_one(messages: object) -> bool:
    return isinstance(messages, (str, Mapping, types_pb2.Message, *_ROLES))


def _message(value: object, path: str) -> types_pb2.Message:
    if isinstance(value, str):
        return types_pb2.Message(user=types_pb2.UserMessage(content=content(value)))
    role = next((role for kind, role in _ROLES.items() if isinstance(value, kind)), None)
    if role:
        message = types_pb2.Message()
        getattr(message, role).CopyFrom(value)
        return message
    if isinstance(value, Mapping) and not {"role", *_ROLES.values()} & value.keys():
        raise InvalidInputError("role is missing: one of user, system, tool, assistant", path)
    return llama_stack.build(types_pb2.Message, value, path)
