"""The provider of the agents API."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import tool_groups_pb2
from services.agents.runner import TurnRunner
from services.agents.store.settings import StoreSettings
from services.agents.tools.code_interpreter.sandbox import Sandbox
from services.agents.tools.groups import ToolGroups
from services.agents.tools.maker import SettingsToolMaker
from services.agents.tools.mcp import McpGroups
from services.core.errors import CaravanError
from services.core.gateway import Gateway
from services.core.provider import Provider, ResourceKind

AGENTS = "caravan.agents.v1.AgentsService"
TOOL_RUNTIME = "caravan.agents.v1.ToolRuntimeService"
_PING_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class AgentsProvider(Provider):
    """Runs turns; ready while the store answers. Tool groups with an MCP server can be loaded."""

    loadable_kinds = (options_pb2.RESOURCE_KIND_TOOL_GROUP,)

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of the service
        self,
        provider_id: str,
        config: StoreSettings,
        runner: TurnRunner,
        gateway: Gateway,
        maker: SettingsToolMaker,
        sandbox: Sandbox,
        groups: ToolGroups,
        mcp: McpGroups,
    ) -> None:
        """Makes the provider.

        Args:
            provider_id: Identifier of this provider.
            config: Where the state is.
            runner: Runs turns.
            gateway: The way to other services.
            maker: Makes tools.
            sandbox: Where code runs.
            groups: The tool groups.
            mcp: Those that are MCP servers.
        """
        services = [AGENTS, TOOL_RUNTIME]
        super().__init__(provider_id=provider_id, provider_type="inline::agents", services=services, config=config)
        self._runner, self._gateway, self._maker, self._sandbox = runner, gateway, maker, sandbox
        self._groups, self._mcp = groups, mcp
        self._pinging: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects to the store and takes up what other processes left behind."""
        try:
            await self._sandbox.check()
        except CaravanError as error:
            # Everything else works without it, and a call of the tool says so.
            _log.warning("no_code_interpreter", why=error.message)
        await self._runner.store.start()
        self._runner.start_scanning()
        self._pinging = asyncio.create_task(self._ping())

    async def drain(self) -> None:
        """Takes up nothing more of what others leave behind."""
        self._runner.drain()

    async def stop(self) -> None:
        """Gives up the turns that run here and disconnects."""
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.gather(self._pinging, return_exceptions=True)
        await self._runner.stop()
        with contextlib.suppress(CaravanError):
            await self._runner.store.close()
        await self._mcp.close()
        await self._sandbox.close()
        await self._maker.close()
        await self._gateway.close()

    def resources(self) -> Sequence[providers_pb2.Resource]:
        """The tool groups that come with the service and its settings."""
        return [
            providers_pb2.Resource(
                tool_group=tool_groups_pb2.ToolGroup(
                    toolgroup_id=group, provider_id=self.provider_id, provider_toolgroup_id=group
                )
            )
            for group in self._groups.own
        ]

    async def load(self, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Connects to the MCP server of a registered tool group.

        Raises:
            FailedPreconditionError: It has none, or the server refuses.
            InvalidArgumentError: The address is malformed or must not be connected to.
            UnavailableError: The server does not answer.
        """
        await self._mcp.add(resource.tool_group)
        return resource

    async def unload(self, kind: ResourceKind, resource_id: str) -> None:
        """Disconnects from a tool group's MCP server."""
        del kind
        await self._mcp.remove(resource_id)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_PING_SECONDS)
            try:
                await self._runner.store.ping()
            except CaravanError as error:
                self.readiness.set_not_ready(f"the store does not answer: {error.message}")
            else:
                self.readiness.set_ready()
