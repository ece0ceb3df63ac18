"""Tool groups: sets of tools under one name, as agents refer to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from caravan.agents.v1 import config_pb2, tool_runtime_pb2, tools_pb2
from caravan.types.v1 import types_pb2
from services.agents.toolbox import MEMORY_GROUP, Offered, ToolMaker
from services.agents.tools.mcp import McpGroups
from services.agents.tools.tool import Outcome, Tool
from services.core.errors import NotFoundError

BUILT_IN: dict[str, tools_pb2.AgentTool] = {
    "builtin::websearch": tools_pb2.AgentTool(brave_search=tools_pb2.SearchToolDefinition()),
    "builtin::wolfram_alpha": tools_pb2.AgentTool(wolfram_alpha=tools_pb2.WolframAlphaToolDefinition()),
    "builtin::photogen": tools_pb2.AgentTool(photogen=tools_pb2.PhotogenToolDefinition()),
    "builtin::code_interpreter": tools_pb2.AgentTool(code_interpreter=tools_pb2.CodeInterpreterToolDefinition()),
}
"""The groups that the service has by itself, but for retrieval, each with the tool in it."""


@dataclass(frozen=True, slots=True)
class GroupTool:
    """A tool of a tool group, for the caller whose call runs now."""

    toolgroup_id: str
    """Its group."""
    definition: types_pb2.ToolDefinition
    """What a model sees."""
    tool: Tool | None
    """What runs it. None: the client does."""
    host: tool_runtime_pb2.ToolHost.ValueType
    """Who runs it."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.definition.tool_name


class ToolGroups:
    """Finds tools by their groups."""

    def __init__(self, maker: ToolMaker, mcp: McpGroups) -> None:
        """Knows these groups.

        Args:
            maker: Makes the tools of the built-in ones.
            mcp: Those that are MCP servers.
        """
        self._maker, self._mcp = maker, mcp

    @property
    def own(self) -> Sequence[str]:
        """Identifiers of the groups that nobody registered, in order."""
        return sorted([*BUILT_IN, MEMORY_GROUP, *self._mcp.own])

    @property
    def ids(self) -> Sequence[str]:
        """Identifiers of all groups, in order."""
        return sorted({*BUILT_IN, MEMORY_GROUP, *self._mcp.ids})

    async def find(self, config: config_pb2.AgentConfig, files: dict[str, bytes]) -> Iterable[Offered]:
        """Returns the tools of a configuration's tool groups.

        Args:
            config: The configuration.
            files: Files for the code interpreter, by name.

        Raises:
            NotFoundError: There is no such group, or no such tool in it.
            CaravanError: An MCP server does not answer, or refuses.
        """
        found: list[Offered] = []
        for group in config.toolgroups:
            if group.name == MEMORY_GROUP:
                continue
            args = json_format.MessageToDict(group.args)
            found += [
                Offered(*_with_arguments(tool.definition, tool.tool, args), toolgroup_id=tool.toolgroup_id)
                for tool in await self._named(group.name, files)
            ]
        return found

    async def tools(self, toolgroup_id: str, files: dict[str, bytes]) -> Sequence[GroupTool]:
        """Returns the tools of a group in the order of their names; retrieval has none that a model could call.

        Args:
            toolgroup_id: The group.
            files: Files for the code interpreter, by name.

        Raises:
            NotFoundError: There is no such group.
            CaravanError: Its MCP server does not answer, or refuses.
        """
        if toolgroup_id == MEMORY_GROUP:
            return []
        if toolgroup_id in BUILT_IN:
            tool = BUILT_IN[toolgroup_id]
            made = self._maker.make(tool, files)
            host = tool_runtime_pb2.TOOL_HOST_DISTRIBUTION if made else tool_runtime_pb2.TOOL_HOST_CLIENT
            return [GroupTool(toolgroup_id, self._maker.definition(tool), made, host)]
        if not await self._mcp.knows(toolgroup_id):
            message = f"there is no tool group {toolgroup_id!r}; register it, or take one of {', '.join(self.ids)}"
            raise NotFoundError(message, resource_type="tool_group", resource_name=toolgroup_id)
        host = tool_runtime_pb2.TOOL_HOST_MODEL_CONTEXT_PROTOCOL
        found: list[GroupTool] = []
        for tool_ in await self._mcp.tools(toolgroup_id):
            definition, ready = _with_arguments(tool_.definition, tool_, tool_.args)
            found.append(GroupTool(toolgroup_id, definition, ready, host))
        return found

    async def _named(self, name: str, files: dict[str, bytes]) -> Sequence[GroupTool]:
        """The tools of `group`, or the one of `group/tool`."""
        group, slash, tool_name = name.rpartition("/")
        if not slash or name in self.ids or not (group in self.ids or await self._mcp.knows(group)):
            return await self.tools(name, files)
        found = [tool for tool in await self.tools(group, files) if tool.name == tool_name]
        if not found:
            message = f"tool group {group!r} has no tool {tool_name!r}; ListTools names those that it has"
            raise NotFoundError(message, resource_type="tool", resource_name=name)
        return found


def _with_arguments(
    definition: types_pb2.ToolDefinition, tool: Tool | None, args: Mapping[str, Any]
) -> tuple[types_pb2.ToolDefinition, Tool | None]:
    """A tool whose every call gets these arguments, which no model sees or can change."""
    if not args or tool is None:
        return definition, tool
    shown = types_pb2.ToolDefinition()
    shown.CopyFrom(definition)
    for name in args:
        shown.parameters.pop(name, None)
    return shown, _WithArguments(shown, tool, args)


class _WithArguments(Tool):
    def __init__(self, definition: types_pb2.ToolDefinition, tool: Tool, args: Mapping[str, Any]) -> None:
        self.definition, self._tool, self._args = definition, tool, args
        self.idempotent, self.timeout = tool.idempotent, tool.timeout

    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        return await self._tool.run({**arguments, **self._args})
