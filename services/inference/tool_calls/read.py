"""The text of one call, once its end is known, as name and arguments."""

from typing import NamedTuple

from services.inference.tool_calls import json_values
from services.inference.tool_calls.json_values import JsonObject, JsonValue
from services.inference.tool_calls.python_literals import parse_arguments


class NamedArguments(NamedTuple):
    """What a call says."""

    name: str
    """Name of the tool."""
    arguments: JsonObject
    """Its arguments."""


def read_json_call(text: str) -> NamedArguments:
    """Reads `{"type": "function", "name": "f", "parameters": {...}}`.

    `arguments` may stand for `parameters`, either may be missing, and the call may stand within `function`, as in OpenAI's API.

    Args:
        text: A JSON object whose brackets match.

    Raises:
        ValueError: It is no call.
    """
    call = json_values.loads(text)
    if isinstance(call, dict) and isinstance(call.get("function"), dict):
        call = call["function"]
    if (
        not isinstance(call, dict)
        or call.get("type", "function") != "function"
        or not isinstance(call.get("name"), str)
    ):
        raise _no_call("a function and its name")
    given: JsonValue = next((call[key] for key in ("parameters", "arguments") if call.get(key) is not None), {})
    return NamedArguments(call["name"], _object(given))


def read_json_arguments(name: str, text: str) -> NamedArguments:
    """Reads the arguments of a tool as a JSON object; nothing at all is an empty one.

    Raises:
        ValueError: The text is no JSON object.
    """
    return NamedArguments(name, _object(json_values.loads(text) if text.strip() else {}))


def read_python_arguments(name: str, text: str) -> NamedArguments:
    """Reads `(a="x", n=1)`, with the parentheses.

    Raises:
        ValueError: The text is something else than names and literals.
    """
    return NamedArguments(name, parse_arguments(text[1:-1]))


def _object(value: JsonValue) -> JsonObject:
    if isinstance(value, str):
        # Some models write the arguments as JSON in a string, as OpenAI's API does.
        value = json_values.loads(value)
    if not isinstance(value, dict):
        raise _no_call("an object of arguments")
    return value


def _no_call(expected: str) -> ValueError:
    return ValueError(f"expected {expected}")
