"""The port of a tool that this service runs, and what comes of running one.

A tool's own failure is a result: the model reads it and may do better. Only a call that is cancelled raises.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import struct_pb2

from caravan.agents.v1 import turns_pb2
from caravan.types.v1 import types_pb2

DEFAULT_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call of a tool came to."""

    content: types_pb2.InterleavedContent
    """What the model reads."""
    attachments: tuple[turns_pb2.Attachment, ...] = ()
    """Images and files that the tool made."""
    error: str = ""
    """What went wrong in the tool; empty: nothing."""
    error_code: int | None = None
    """The tool's own code of the error, for instance an HTTP status."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the result for programs to read; JSON values."""


class ToolError(Exception):
    """The tool failed; the message is for the model and holds no credential."""

    def __init__(self, message: str, code: int | None = None) -> None:
        """Makes the error.

        Args:
            message: What went wrong, and what to do about it.
            code: The tool's own code.
        """
        super().__init__(message)
        self.message = message
        self.code = code


class Tool(ABC):
    """A tool.

    Attributes:
        definition: What the model sees.
        idempotent: A call may run twice without harm.
        timeout: Longest time in seconds that one call may take.
    """

    definition: types_pb2.ToolDefinition
    idempotent: bool = False
    timeout: float = DEFAULT_TIMEOUT

    @property
    def name(self) -> str:
        """Name that the model calls it by."""
        return self.definition.tool_name

    @abstractmethod
    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        """Runs the tool.

        Args:
            arguments: JSON values by name, as the model gave them.

        Raises:
            ToolError: The tool failed.
            CaravanError: What it calls on the way refuses.
        """

    async def close(self) -> None:  # noqa: B027 - a tool may hold nothing
        """Frees what it holds."""


def text_outcome(text: str, **facts: Any) -> Outcome:
    """An outcome that is one text.

    Args:
        text: What the model reads.
        facts: Facts for programs to read.
    """
    return Outcome(text_content(text), metadata=facts)


def text_content(text: str) -> types_pb2.InterleavedContent:
    """Content that is one text.

    Args:
        text: The text; JSON of third parties may have halves of surrogate pairs in it, which are replaced.
    """
    content = types_pb2.InterleavedContent()
    content.items.add().text = text.encode(errors="replace").decode()
    return content


def string_argument(arguments: Mapping[str, Any], name: str) -> str:
    """Returns an argument that must be a text.

    Args:
        arguments: The arguments.
        name: Its name.

    Raises:
        ToolError: It is missing, empty, or no text.
    """
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        message = f"the argument {name} must be a text that is not empty"
        raise ToolError(message)
    return value


def built_in(name: str, description: str, parameter: str, meaning: str) -> types_pb2.ToolDefinition:
    """The definition of a built-in tool, which takes one text.

    Args:
        name: Name of the tool.
        description: What it does.
        parameter: Name of the text.
        meaning: What the text means.
    """
    text = types_pb2.ToolParamDefinition(param_type="string", description=meaning)
    return types_pb2.ToolDefinition(tool_name=name, description=description, parameters={parameter: text})


def facts_struct(facts: Mapping[str, Any]) -> struct_pb2.Struct:
    """Facts as a message.

    Args:
        facts: JSON values by name.
    """
    message = struct_pb2.Struct()
    message.update(dict(facts))
    return message
