"""Rows of data sets, read and brought into one form: a dialog, or a dialog with a chosen and a rejected end."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from services.post_training.spec import Kind, RowsSource
from services.post_training.trainer.problems import RowError

INSTRUCT = "DATASET_FORMAT_INSTRUCT"
DIALOG = "DATASET_FORMAT_DIALOG"
PREFERENCE = "DATASET_FORMAT_PREFERENCE"
UNSPECIFIED = "DATASET_FORMAT_UNSPECIFIED"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    INSTRUCT: ("chat_completion_input", "expected_answer"),
    DIALOG: ("dialog",),
    PREFERENCE: ("prompt", "chosen", "rejected"),
}
"""Columns that the rows of a format have."""

FORMATS: Mapping[Kind, tuple[str, ...]] = {
    "supervised_fine_tune": (INSTRUCT, DIALOG),
    "preference_optimize": (PREFERENCE,),
    "train_reward_model": (PREFERENCE,),
}
"""Formats that a training takes."""

_ROLES = ("system", "developer", "user", "assistant", "tool", "ipython")
_ROLE_NAMES = {"human": "user", "gpt": "assistant", "model": "assistant"}


@dataclass(frozen=True)
class Dialog:
    """A dialog that is learnt."""

    messages: list[dict[str, Any]]
    """The messages."""
    last_only: bool
    """Only the last answer is learnt, not the assistant's earlier ones."""
    tools: Any = None
    """Tools that the assistant may call."""


@dataclass(frozen=True)
class Pair:
    """Two ends of a dialog, one of them better."""

    prompt: list[dict[str, Any]]
    """The messages before."""
    chosen: list[dict[str, Any]]
    """The better end."""
    rejected: list[dict[str, Any]]
    """The other end."""
    tools: Any = None
    """Tools that the assistant may call."""


def read_rows(source: RowsSource) -> Iterator[dict[str, Any]]:
    """Yields the rows of a revision in their order.

    Args:
        source: The revision's files.

    Raises:
        RowError: A file is missing, or a line is no JSON object.
    """
    count = 0
    for row in islice(_lines(source), source.row_count):
        count += 1
        yield row
    if count < source.row_count:
        raise RowError(f"the data set's files have {count} rows, not {source.row_count}")


def _lines(source: RowsSource) -> Iterator[dict[str, Any]]:
    number = 0
    for path in source.paths:
        try:
            with Path(path).open(encoding="utf-8") as file:
                for line in file:
                    number += 1
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise RowError(f"row {number - 1} is no JSON object")
                    yield row
        except OSError as error:
            raise RowError(f"a file of the data set cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise RowError(f"row {number - 1} is no JSON: {error}") from error


def format_of(source: RowsSource, asked: str, kind: Kind, first: Mapping[str, Any] | None = None) -> str:
    """Returns the format that rows are read in: the one asked for, the data set's, or told from the first row's columns.

    Args:
        source: The rows.
        asked: Format that the request names.
        kind: What is trained for.
        first: First row. None: not looked at.

    Raises:
        RowError: It is none that the training takes.
    """
    found = asked if asked != UNSPECIFIED else source.format
    if found == UNSPECIFIED and first is not None:
        found = next((name for name, columns in COLUMNS.items() if all(column in first for column in columns)), found)
    allowed = FORMATS[kind]
    if found not in allowed:
        wanted = " or ".join(f"{name} ({', '.join(COLUMNS[name])})" for name in allowed)
        said = "no format that is known" if found == UNSPECIFIED else found
        raise RowError(f"the data set has {said}; this training takes {wanted}")
    return found


def dialog_of(row: Mapping[str, Any], rows_format: str) -> Dialog:
    """Returns a row of the instruct or dialog format as a dialog.

    Args:
        row: The row.
        rows_format: Its format.

    Raises:
        RowError: It does not fit.
    """
    if rows_format == INSTRUCT:
        messages = _messages(_column(row, "chat_completion_input"), "chat_completion_input")
        answer = _column(row, "expected_answer")
        if not isinstance(answer, str) or not answer.strip():
            raise RowError("expected_answer must be a text that is not empty")
        if not messages:
            raise RowError("chat_completion_input must have a message")
        return Dialog([*messages, {"role": "assistant", "content": answer}], last_only=True, tools=_tools(row))
    messages = _messages(_column(row, "dialog"), "dialog")
    if len(messages) < 2:
        raise RowError("dialog must have at least two messages")
    if not any(message["role"] == "assistant" for message in messages):
        raise RowError("dialog must have an assistant's message")
    first = next(message for message in messages if message["role"] not in ("system", "developer"))
    if first["role"] != "user":
        raise RowError("dialog must begin with the user's message")
    return Dialog(messages, last_only=False, tools=_tools(row))


def pair_of(row: Mapping[str, Any]) -> Pair:
    """Returns a row of the preference format.

    Args:
        row: The row.

    Raises:
        RowError: It does not fit.
    """
    prompt = _end(_column(row, "prompt"), "prompt", "user")
    ends = {}
    for name in ("chosen", "rejected"):
        end = _end(_column(row, name), name, "assistant")
        # Some sets repeat the prompt in both ends.
        if len(end) > len(prompt) and end[: len(prompt)] == prompt:
            end = end[len(prompt) :]
        if not end or end[-1]["role"] != "assistant":
            raise RowError(f"{name} must end with the assistant's message")
        ends[name] = end
    if ends["chosen"] == ends["rejected"]:
        raise RowError("chosen and rejected must differ")
    return Pair(prompt, ends["chosen"], ends["rejected"], tools=_tools(row))


def _column(row: Mapping[str, Any], name: str) -> Any:
    value = row.get(name)
    if value is None:
        raise RowError(f"the row has no {name}")
    return value


def _end(value: Any, name: str, role: str) -> list[dict[str, Any]]:
    if isinstance(value, str) and not value.lstrip().startswith("[{"):
        if not value.strip():
            raise RowError(f"{name} must not be empty")
        return [{"role": role, "content": value}]
    messages = _messages(value, name)
    if not messages:
        raise RowError(f"{name} must not be empty")
    return messages


def _messages(value: Any, name: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RowError(f"{name} must be a list of messages, or its JSON text") from error
    if not isinstance(value, list):
        raise RowError(f"{name} must be a list of messages")
    return [_message(message, f"{name}[{number}]") for number, message in enumerate(value)]


def _message(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError(f"{name} must be an object with role and content")
    role = value.get("role")
    role = _ROLE_NAMES.get(role, role) if isinstance(role, str) else None
    if role not in _ROLES:
        raise RowError(f"{name}.role must be one of {', '.join(_ROLES)}")
    content = _text(value.get("content"), name)
    if not content.strip() and not value.get("tool_calls"):
        raise RowError(f"{name}.content must not be empty")
    return {**value, "role": role, "content": content}


def _text(content: Any, name: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    items = content if isinstance(content, list) else [content]
    texts = []
    for item in items:
        text = item if isinstance(item, str) else item.get("text") if isinstance(item, dict) else None
        if not isinstance(text, str):
            raise RowError(f"{name}.content must be text; images are not trained on")
        texts.append(text)
    return "\n".join(texts)


def _tools(row: Mapping[str, Any]) -> Any:
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise RowError("tools must be a list, or its JSON text") from error
    if tools is not None and not isinstance(tools, list):
        raise RowError("tools must be a list")
    return tools or None
