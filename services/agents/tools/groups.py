"""Tool groups: sets of tools under one name, as agents refer to them."""

from collections.abc import Iterable

from caravan.agents.v1 import config_pb2, tools_pb2
from services.agents.toolbox import MEMORY_GROUP, Offered, ToolMaker
from services.core.errors import NotFoundError

BUILT_IN: dict[str, tools_pb2.AgentTool] = {
    "builtin::websearch": tools_pb2.AgentTool(brave_search=tools_pb2.SearchToolDefinition()),
    "builtin::wolfram_alpha": tools_pb2.AgentTool(wolfram_alpha=tools_pb2.WolframAlphaToolDefinition()),
    "builtin::photogen": tools_pb2.AgentTool(photogen=tools_pb2.PhotogenToolDefinition()),
    "builtin::code_interpreter": tools_pb2.AgentTool(code_interpreter=tools_pb2.CodeInterpreterToolDefinition()),
}
"""The groups that the service has by itself, but for retrieval, each with the tool in it."""


class ToolGroups:
    """Finds the tools of an agent's tool groups."""

    def __init__(self, maker: ToolMaker) -> None:
        """Knows the built-in groups.

        Args:
            maker: Makes their tools.
        """
        self._maker = maker

    async def find(self, config: config_pb2.AgentConfig, files: dict[str, bytes]) -> Iterable[Offered]:
        """Returns the tools of a configuration's tool groups.

        Args:
            config: The configuration.
            files: Files for the code interpreter, by name.

        Raises:
            NotFoundError: There is no such group, or no such tool in it.
        """
        return [self._offered(group, files) for group in config.toolgroups if group.name != MEMORY_GROUP]

    def _offered(self, group: tools_pb2.AgentToolGroup, files: dict[str, bytes]) -> Offered:
        tool = BUILT_IN.get(group.name)
        if tool is None:
            known = ", ".join([*BUILT_IN, MEMORY_GROUP])
            message = f"there is no tool group {group.name!r}; register it, or take one of {known}"
            raise NotFoundError(message, resource_type="tool_group", resource_name=group.name)
        return Offered(self._maker.definition(tool), self._maker.make(tool, files), toolgroup_id=group.name)
