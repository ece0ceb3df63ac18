"""MCP servers as tool groups: local programs from the settings (stdio), and registered endpoints (streamable HTTP)."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from mcp import StdioServerParameters, stdio_client
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from caravan.registry.v1 import tool_groups_pb2
from caravan.types.v1 import types_pb2
from services.agents.tools.mcp_connection import Transport
from services.agents.tools.mcp_content import McpToolInfo, outcome_of
from services.agents.tools.mcp_http import http_transport
from services.agents.tools.mcp_server import McpServer
from services.agents.tools.tool import Outcome, Tool
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.core.fetch import FetchLimits, parsed_url
from services.core.provider_data import PROVIDER_DATA_KEY, current_provider_data

GROUP_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}$"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,8192}")
_MOST_HEADERS = 32
# The protocol's own, and the connection's.
_FORBIDDEN_HEADERS = {
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept",
    "accept-encoding",
}
_FIELD = "tool_group.mcp_endpoint"

Registered = Callable[[str], Awaitable[tool_groups_pb2.ToolGroup | None]]
"""Finds a registered group; None: there is none."""


class StdioServerSettings(BaseModel):
    """An MCP server that is a program on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    toolgroup_id: str = Field(pattern=GROUP_PATTERN, description="Tool group that its tools are.")
    command: str = Field(min_length=1, description="Program to run.")
    args: tuple[str, ...] = Field(default=(), description="Its arguments.")
    env: dict[str, SecretStr] = Field(
        default_factory=dict, description="Environment variables, beside PATH, HOME and the like."
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """A tool group that is an MCP server."""

    server: McpServer
    endpoint: str
    args: Mapping[str, Any]


class McpGroups:
    """The tool groups that are MCP servers."""

    def __init__(
        self,
        servers: Sequence[StdioServerSettings],
        headers: Mapping[str, Mapping[str, SecretStr]],
        limits: FetchLimits,
        registered: Registered,
    ) -> None:
        """Connects to nothing yet.

        Args:
            servers: Programs of the settings.
            headers: Headers of the settings by endpoint.
            limits: How far connections to endpoints may go.
            registered: The registry, for groups that were registered but not loaded here yet.
        """
        self._limits, self._registered = limits, registered
        self._looking = asyncio.Lock()
        self._headers = {
            endpoint: {name: value.get_secret_value() for name, value in given.items()}
            for endpoint, given in headers.items()
        }
        self.own = tuple(server.toolgroup_id for server in servers)
        self._groups = {server.toolgroup_id: self._of_program(server) for server in servers}

    @property
    def ids(self) -> list[str]:
        """Identifiers of the groups."""
        return list(self._groups)

    async def add(self, group: tool_groups_pb2.ToolGroup) -> None:
        """Takes up a registered group when its server lists its tools.

        Raises:
            FailedPreconditionError: It is no MCP server, or refuses.
            InvalidArgumentError: Its address is malformed or must not be connected to.
            UnavailableError: It does not answer.
        """
        group_id, uri = group.toolgroup_id, group.mcp_endpoint.uri
        if not uri:
            message = f"tool group {group_id} needs an mcp_endpoint: groups without one come with the service"
            raise FailedPreconditionError(message, reason="MCP_ENDPOINT_MISSING")
        made = _Group(self._at(group_id, uri, _FIELD), uri, json_format.MessageToDict(group.args))
        known = self._groups.get(group_id)
        if known is not None and (known.endpoint, known.args) == (made.endpoint, made.args):
            return
        try:
            await made.server.tools(self._headers_for(uri))
        except BaseException:
            await made.server.close()
            raise
        self._groups[group_id] = made
        if known is not None:
            await known.server.close()

    async def knows(self, group_id: str) -> bool:
        """Whether there is such a group. A process that has just started, and has a turn of another one to go on with, asks the registry.

        Args:
            group_id: The group.

        Raises:
            CaravanError: The registry, or the group's server, does not answer.
        """
        if group_id in self._groups:
            return True
        if re.fullmatch(GROUP_PATTERN, group_id) is None:
            return False
        async with self._looking:
            if group_id not in self._groups:
                group = await self._registered(group_id)
                if group is None:
                    return False
                await self.add(group)
        return True

    async def remove(self, group_id: str) -> None:
        """Drops a registered group."""
        group = self._groups.pop(group_id, None)
        if group is not None:
            await group.server.close()

    async def close(self) -> None:
        """Ends all connections, and the programs."""
        await asyncio.gather(*(group.server.close() for group in self._groups.values()))

    async def tools(self, group_id: str) -> list["McpTool"]:
        """Returns the tools of a group, ready to run for the caller.

        Raises:
            CaravanError: The server does not answer, or refuses.
        """
        group = self._groups[group_id]
        headers = self._headers_for(group.endpoint)
        return [
            McpTool(group.server, info, headers, group.args, self._limits.timeout)
            for info in await group.server.tools(headers)
        ]

    async def tools_at(self, uri: str, field: str) -> Sequence[types_pb2.ToolDefinition]:
        """Returns the tools of a server that need not be registered.

        Args:
            uri: Its endpoint.
            field: Path of the request's field that holds it, for errors.

        Raises:
            CaravanError: The server does not answer, or refuses.
        """
        server = self._at(parsed_url(uri, field).host, uri, field)
        try:
            return [info.definition for info in await server.tools(self._headers_for(uri))]
        finally:
            await server.close()

    def _at(self, group_id: str, uri: str, field: str) -> McpServer:
        parsed_url(uri, field)
        limits = self._limits
        return McpServer(group_id, lambda headers: http_transport(uri, headers, limits, field), limits.timeout)

    def _of_program(self, server: StdioServerSettings) -> _Group:
        env = {name: value.get_secret_value() for name, value in server.env.items()}
        program = StdioServerParameters(command=server.command, args=list(server.args), env=env)

        def connect(_: Mapping[str, str]) -> Transport:
            return stdio_client(program, errlog=sys.stderr)

        return _Group(McpServer(server.toolgroup_id, connect, self._limits.timeout), "", {})

    def _headers_for(self, endpoint: str) -> Mapping[str, str]:
        """The settings' headers for an endpoint, and the caller's over them."""
        if not endpoint:
            return {}
        field = f"{PROVIDER_DATA_KEY}.mcp_headers"
        brought = current_provider_data().get("mcp_headers", {})
        own = brought.get(endpoint, {}) if isinstance(brought, dict) else None
        if not isinstance(own, dict) or len(own) > _MOST_HEADERS:
            raise InvalidArgumentError.of(field, f"must be an object of at most {_MOST_HEADERS} headers by endpoint")
        for name, value in own.items():
            if not _HEADER_NAME.fullmatch(name) or not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
                raise InvalidArgumentError.of(field, "has a name or a value that no header can have")
            if name.lower() in _FORBIDDEN_HEADERS or name.lower().startswith("mcp-"):
                raise InvalidArgumentError.of(field, f"must not set {name}: that is the connection's own")
        return {**self._headers.get(endpoint, {}), **own}


class McpTool(Tool):
    """A tool of an MCP server."""

    def __init__(
        self, server: McpServer, info: McpToolInfo, headers: Mapping[str, str], args: Mapping[str, Any], timeout: float
    ) -> None:
        """Makes the tool.

        Args:
            server: Runs it.
            info: What it is.
            headers: The caller's credentials.
            args: Arguments of the registered group, for every call.
            timeout: Longest time in seconds for a call.
        """
        self.definition, self.idempotent, self.timeout = info.definition, info.idempotent, timeout
        self.args = args
        self._server, self._headers = server, headers

    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        """Calls the tool."""
        result = await self._server.call(
            self.name, dict(arguments), self._headers, self.timeout, idempotent=self.idempotent
        )
        # Decodes images and files.
        return await asyncio.to_thread(outcome_of, self.name, result)
