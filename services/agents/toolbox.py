"""The tools that a turn offers to the model: those of the agent's configuration, those of tool groups, and the client's."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from caravan.agents.v1 import config_pb2, tools_pb2
from caravan.types.v1 import types_pb2
from services.agents.tools.tool import Tool
from services.core.errors import InvalidArgumentError

MEMORY_GROUP = "builtin::rag"
"""The tool group of retrieval, which the model does not call."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One tool that the model may call."""

    definition: types_pb2.ToolDefinition
    """What the model sees."""
    tool: Tool | None = None
    """What runs it. None: the client does."""
    input_shields: Sequence[str] = ()
    """Shields that judge its arguments."""
    output_shields: Sequence[str] = ()
    """Shields that judge its result."""
    toolgroup_id: str = ""
    """Registered tool group that it belongs to; empty: none."""

    @property
    def timeout(self) -> float:
        """Longest time in seconds that one call may take."""
        return self.tool.timeout if self.tool else 0.0


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of a turn."""

    offered: dict[str, Offered] = field(default_factory=dict)
    """By name."""
    memory: tools_pb2.MemoryToolDefinition | None = None
    """How retrieval works; None: there is none."""

    @property
    def definitions(self) -> list[types_pb2.ToolDefinition]:
        """What the model sees, in order."""
        return [offered.definition for offered in self.offered.values()]

    @property
    def interprets_code(self) -> bool:
        """Whether files can be given to a code interpreter that runs here."""
        found = self.offered.get("code_interpreter")
        return found is not None and found.tool is not None


class ToolMaker(Protocol):
    """Makes the tools that run here."""

    def make(self, tool: tools_pb2.AgentTool, files: dict[str, bytes]) -> Tool | None:
        """Makes a tool of an agent's configuration; None: the client runs it.

        Args:
            tool: The tool.
            files: Files for the code interpreter, by name.
        """

    def definition(self, tool: tools_pb2.AgentTool) -> types_pb2.ToolDefinition:
        """What the model sees of it."""


Groups = Callable[[config_pb2.AgentConfig, dict[str, bytes]], Awaitable[Iterable[Offered]]]
"""Finds the tools of a configuration's tool groups."""


def memory_of(config: config_pb2.AgentConfig) -> tools_pb2.MemoryToolDefinition | None:
    """Returns how retrieval works; None: there is none.

    Args:
        config: What the turn runs with.
    """
    defined = next((tool.memory for tool in reversed(config.tools) if tool.HasField("memory")), None)
    if defined is None and any(group.name == MEMORY_GROUP for group in config.toolgroups):
        return tools_pb2.MemoryToolDefinition()
    return defined


async def toolbox_of(
    config: config_pb2.AgentConfig, maker: ToolMaker, groups: Groups, files: dict[str, bytes]
) -> Toolbox:
    """Puts together what a turn offers.

    Args:
        config: What the turn runs with.
        maker: Makes the tools that run here.
        groups: Finds the tools of tool groups.
        files: Files for the code interpreter, by name.

    Raises:
        NotFoundError: There is no such tool group.
        InvalidArgumentError: Two tools have one name.
    """
    found = [
        Offered(maker.definition(tool), maker.make(tool, files), tool.input_shields, tool.output_shields)
        for tool in config.tools
        if not tool.HasField("memory")
    ]
    found += await groups(config, files)
    found += [Offered(client_definition(tool)) for tool in config.client_tools]
    return Toolbox(_by_name(found), memory_of(config))


def client_definition(tool: tools_pb2.ToolDef) -> types_pb2.ToolDefinition:
    """Returns a client's tool as a model sees it.

    Args:
        tool: The tool.
    """
    definition = types_pb2.ToolDefinition(tool_name=tool.name, description=tool.description)
    for parameter in tool.parameters:
        known = definition.parameters[parameter.name]
        known.param_type, known.description = parameter.parameter_type, parameter.description
        if parameter.HasField("required"):
            known.required = parameter.required
        if parameter.HasField("default"):
            known.default.CopyFrom(parameter.default)
        if parameter.HasField("schema"):
            known.schema.CopyFrom(parameter.schema)
    return definition


def _by_name(found: Iterable[Offered]) -> dict[str, Offered]:
    named: dict[str, Offered] = {}
    for offered in found:
        name = offered.definition.tool_name
        if name in named:
            description = f"two tools are called {name!r}; leave one of them, or its tool group, out"
            raise InvalidArgumentError.of("agent_config.toolgroups", description)
        named[name] = offered
    return named
