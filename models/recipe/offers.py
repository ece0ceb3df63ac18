"""A tool as a dialog offers it: its definition, and a way to draw requests that call for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from models.recipe.dialog import Call, Json, Parameter, Tool
from models.recipe.source import Source


@dataclass(frozen=True)
class Request:
    """What the user asks, the call that answers it, and what the tool returns."""

    said: str
    call: Call
    result: str
    """The tool's output as it stands in the tool turn."""
    answer: str


@dataclass(frozen=True)
class OfferedTool:
    """A tool together with the way to ask for it."""

    tool: Tool
    subject: str
    """The noun that sets it apart from other tools."""
    ask: Callable[[Source], Request]
    is_builtin: bool = False


def as_shown(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """Puts parameters in the order in which prompts list them: required ones first, then by name."""
    return tuple(sorted(parameters, key=lambda parameter: (not parameter.required, parameter.name)))


def in_order(tool: Tool, arguments: dict[str, Json]) -> dict[str, Json]:
    """Puts arguments in the order of the declaration."""
    return {par.name: arguments[par.name] for par in tool.parameters if par.name in arguments}


def with_fresh_name(parameter: Parameter, others: list[Parameter]) -> Parameter:
    """Renames a parameter whose name is taken."""
    taken = {other.name for other in others}
    name = parameter.name
    while name in taken:
        name += "_2" if not name.endswith("_2") else "b"
    return replace(parameter, name=name)
