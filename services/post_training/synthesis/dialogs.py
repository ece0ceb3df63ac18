"""Dialogs as messages, and as rows of data sets."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import json_format

from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError

Messages = Sequence[types_pb2.Message]

_TOOL_ROLES = ("tool", "ipython")


def dialog_of_row(text: str, place: int, dataset_id: str) -> list[types_pb2.Message]:
    """Reads the dialog that a row asks to be answered; the answers that a dialog has at its end already are left out.

    Args:
        text: The row's JSON text: `prompt` is a text or a list of messages, `dialog` a list of messages.
        place: Number of the row, for errors.
        dataset_id: Its data set, for errors.

    Raises:
        FailedPreconditionError: There is nothing to answer in it.
    """
    try:
        row = json.loads(text)
        said = row.get("prompt", row.get("dialog"))
        messages = [message_of({"role": "user", "content": said})] if isinstance(said, str) else _messages(said)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"row {place} of data set {dataset_id!r} cannot be read as a dialog: {error!r}"
        raise FailedPreconditionError(message, reason="NOT_A_DIALOG") from error
    while messages and messages[-1].HasField("assistant"):
        messages.pop()
    if fault := fault_of(messages):
        message = f"row {place} of data set {dataset_id!r} cannot be answered: it {fault}"
        raise FailedPreconditionError(message, reason="NOTHING_TO_ANSWER")
    return messages


def message_of(value: dict[str, Any]) -> types_pb2.Message:
    """Returns a message of its form in rows: `{role, content}`."""
    message = types_pb2.Message()
    role = "tool" if value["role"] in _TOOL_ROLES else value["role"]
    spoken = getattr(message, role)
    spoken.SetInParent()
    content = value.get("content")
    for piece in content if isinstance(content, list) else [content]:
        if piece is not None:
            _add(spoken.content, piece)
    if role == "tool":
        spoken.call_id = str(value.get("tool_call_id", value.get("call_id", "")))
        spoken.tool_name = str(value.get("name", value.get("tool_name", "")))
    for call in value.get("tool_calls") or () if role == "assistant" else ():
        function = call.get("function", call)
        given = function.get("arguments", {})
        spoken.tool_calls.add(
            call_id=str(call.get("id", "")),
            tool_name=str(function.get("name", "")),
            arguments_json=given if isinstance(given, str) else json.dumps(given),
        )
    return message


def row_of(messages: Messages, answer: types_pb2.CompletionMessage, score: float | None) -> dict[str, Any]:
    """Returns a dialog with its answer as a row of a data set of format `dialog`.

    Args:
        messages: The dialog.
        answer: The answer.
        score: Its score. None: nothing scored it.
    """
    said = [*messages, types_pb2.Message(assistant=answer)]
    row: dict[str, Any] = {"dialog": [_row_message(message) for message in said]}
    return row if score is None else {**row, "score": score}


def fault_of(messages: Messages) -> str:
    """Returns why a dialog has nothing to answer; empty when it has."""
    if not messages:
        return "is empty"
    if messages[-1].WhichOneof("role") not in ("user", "tool"):
        return "does not end with what a user or a tool says"
    return ""


def require_storable(messages: Messages, path: str) -> None:
    """Makes sure that a dialog can be stored as a row.

    Args:
        messages: The dialog.
        path: Its path in the request.

    Raises:
        InvalidArgumentError: It cannot.
    """
    first = next((message for message in messages if not message.HasField("system")), None)
    if first is None or not first.HasField("user"):
        raise InvalidArgumentError.of(path, "must begin with the user's message, after system messages, to be stored")
    for place, message in enumerate(messages):
        for index, call in enumerate(message.assistant.tool_calls):
            try:
                _arguments(call)
            except ValueError as error:
                field = f"{path}[{place}].assistant.tool_calls[{index}].arguments_json"
                raise InvalidArgumentError.of(field, f"must be the JSON text of an object ({error})") from error
        for item in getattr(message, message.WhichOneof("role") or "").content.items:
            if item.HasField("image"):
                raise InvalidArgumentError.of(
                    f"{path}[{place}]",
                    "has an image, and data sets of dialogs are of text: leave output_dataset_id out",
                )


def _messages(said: Iterable[dict[str, Any]]) -> list[types_pb2.Message]:
    return [message_of(one) for one in said]


def _add(content: types_pb2.InterleavedContent, piece: Any) -> None:
    if isinstance(piece, str):
        content.items.add(text=piece)
    elif piece.get("type") == "text":
        content.items.add(text=piece["text"])
    else:
        where = piece.get("image_url", piece.get("url", piece.get("image")))
        uri = where.get("url", where.get("uri")) if isinstance(where, dict) else where
        if isinstance(uri, str):
            content.items.add().image.url.uri = uri


def _row_message(message: types_pb2.Message) -> dict[str, Any]:
    role = message.WhichOneof("role") or ""
    spoken = getattr(message, role)
    parts = [item.text for item in spoken.content.items]
    if role == "user" and spoken.context.items:
        # As the model read it.
        parts += ["\n\n", *(item.text for item in spoken.context.items)]
    written: dict[str, Any] = {"role": role, "content": "".join(parts)}
    if role == "tool":
        written |= {"tool_call_id": spoken.call_id, "name": spoken.tool_name}
    if role == "assistant" and spoken.tool_calls:
        written["tool_calls"] = [_row_call(call) for call in spoken.tool_calls]
    return written


def _row_call(call: types_pb2.ToolCall) -> dict[str, Any]:
    return {"id": call.call_id, "type": "function", "function": {"name": call.tool_name, "arguments": _arguments(call)}}


def _arguments(call: types_pb2.ToolCall) -> Any:
    return json.loads(call.arguments_json) if call.arguments_json else json_format.MessageToDict(call.arguments)
