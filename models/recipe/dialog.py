"""The neutral form of a training dialog: what is said, which tools are offered, what is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool."""

    name: str
    param_type: str
    """A JSON schema type: string, integer, number, boolean, object, array."""
    description: str
    required: bool = True
    schema: Mapping[str, Json] | None = None
    """JSON Schema, where the type alone does not say what the value holds."""


@dataclass(frozen=True)
class Tool:
    """A tool as the prompt shows it."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Call:
    """A tool call of the assistant."""

    name: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True)
class Turn:
    """One message. A `tool` turn answers the call at the same place in the assistant turn before it."""

    role: str
    """system, user, assistant or tool."""
    text: str = ""
    calls: tuple[Call, ...] = ()
    context: str = ""
    """Retrieved text that travels with a user turn."""
    key: str = ""
    """What a right answer has to hold, where that is less than the whole text."""


@dataclass(frozen=True)
class Dialog:
    """A whole conversation; the loss counts on its assistant turns."""

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    tool_format: str = "json"
    """json, function_tag or python_list."""
    today: date = date(2025, 1, 1)
    """The date that the prompt tells."""
    dated: bool = True
    """Llama 3.1 style, which opens with dates, rather than 3.2's text style, which does not."""
    tags: tuple[str, ...] = field(default=())
    """What the dialog trains or tests, for the evaluation table."""
