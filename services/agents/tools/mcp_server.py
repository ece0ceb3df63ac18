"""One MCP server: connections to it, opened when needed and again after it died, and its tools, listed from time to time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from mcp import types

from services.agents.tools.mcp_connection import McpConnection, Transport
from services.agents.tools.mcp_content import McpToolInfo, tool_infos
from services.agents.tools.mcp_failures import failure
from services.agents.tools.mcp_http import NOTICE, Notice
from services.agents.tools.tool import ToolError
from services.core.errors import CaravanError, FailedPreconditionError, ResourceExhaustedError, UnavailableError

T = TypeVar("T")

MOST_TOOLS = 256
_MOST_LINES = 16
_FRESH_SECONDS = 300.0
_AGAIN_SECONDS = 5.0
_ATTEMPTS = 2
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Line:
    """One caller's way to the server: callers with other credentials have another one, and may see other tools."""

    headers: Mapping[str, str]
    connecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    listing: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: McpConnection | None = None
    tools: tuple[McpToolInfo, ...] = ()
    was_listed: bool = False
    list_again: float = 0.0
    users: int = 0

    def forget_tools(self) -> None:
        """Lists them anew with the next use."""
        self.list_again = 0.0


class McpServer:
    """A server."""

    def __init__(self, group: str, connect: Callable[[Mapping[str, str]], Transport], timeout: float) -> None:
        """Connects with the first use.

        Args:
            group: Tool group that its tools are, for errors.
            connect: Makes a way to it that sends these headers.
            timeout: Longest time in seconds for connecting and for listing the tools.
        """
        self._group, self._connect, self._timeout = group, connect, timeout
        self._lines: OrderedDict[tuple[tuple[str, str], ...], _Line] = OrderedDict()
        self._closed = False

    async def tools(self, headers: Mapping[str, str]) -> tuple[McpToolInfo, ...]:
        """Returns its tools: those that it had lately, or those known when it does not answer now.

        Args:
            headers: The caller's credentials.

        Raises:
            CaravanError: It does not answer, or refuses, and never told its tools.
        """
        async with self._line(headers) as line, line.listing:
            if time.monotonic() < line.list_again:
                return line.tools
            try:
                listed = await self._ask(line, lambda made: made.tools(MOST_TOOLS, self._timeout), again=True)
            except CaravanError as error:
                if not line.was_listed:
                    raise
                _log.warning("mcp_tools_not_listed", group=self._group, reason=error.reason)
                line.list_again = time.monotonic() + _AGAIN_SECONDS
            except ToolError as error:
                raise FailedPreconditionError(error.message, reason="MCP_SERVER") from error
            else:
                line.tools = await asyncio.to_thread(tool_infos, self._group, listed)
                line.was_listed, line.list_again = True, time.monotonic() + _FRESH_SECONDS
            return line.tools

    async def call(
        self, name: str, arguments: dict[str, Any], headers: Mapping[str, str], seconds: float, *, idempotent: bool
    ) -> types.CallToolResult:
        """Calls a tool. A call that the server has surely not heard is made again over a new connection, an idempotent one always.

        Args:
            name: The tool.
            arguments: Its arguments.
            headers: The caller's credentials.
            seconds: Longest time.
            idempotent: A call may run twice without harm.

        Raises:
            ToolError: The server refuses the call, or does not speak the protocol.
            CaravanError: It cannot be reached, or does not answer.
        """
        async with self._line(headers) as line:
            return await self._ask(line, lambda made: made.call(name, arguments, seconds), again=idempotent)

    async def close(self) -> None:
        """Ends the connections."""
        self._closed = True
        lines, self._lines = list(self._lines.values()), OrderedDict()
        await asyncio.gather(*(line.connection.close() for line in lines if line.connection is not None))

    @asynccontextmanager
    async def _line(self, headers: Mapping[str, str]) -> AsyncIterator[_Line]:
        key = tuple(sorted(headers.items()))
        line = self._lines.get(key)
        if line is None:
            await self._make_room()
            line = self._lines.setdefault(key, _Line(headers))
        self._lines.move_to_end(key)
        line.users += 1
        try:
            yield line
        finally:
            line.users -= 1

    async def _make_room(self) -> None:
        if len(self._lines) < _MOST_LINES:
            return
        idle = next((key for key, line in self._lines.items() if not line.users), None)
        if idle is None:
            message = f"{_MOST_LINES} callers with different credentials use tool group {self._group} now; try again"
            raise ResourceExhaustedError(message, retry_after=1.0, reason="TOO_MANY_MCP_CONNECTIONS")
        connection = self._lines.pop(idle).connection
        if connection is not None:
            await connection.close()

    async def _ask(self, line: _Line, question: Callable[[McpConnection], Awaitable[T]], *, again: bool) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            notice, connection = Notice(), None
            token = NOTICE.set(notice)
            try:
                connection = await self._connected(line, notice)
                return await question(connection)
            except Exception as error:
                # Whatever the SDK makes of a server's answers, and of its end.
                lost = connection is not None and (connection.ended or notice.session_gone)
                if lost:
                    await self._drop(line, connection)
                if attempt == _ATTEMPTS or not lost or not (again or notice.session_gone):
                    raise failure(self._group, error, notice, asked=connection is not None) from error
            finally:
                NOTICE.reset(token)
        raise AssertionError

    async def _connected(self, line: _Line, notice: Notice) -> McpConnection:
        async with line.connecting:
            if line.connection is not None and line.connection.ended:
                await self._drop(line, line.connection)
            if line.connection is None:
                self._require_open()
                transport = self._connect(line.headers)
                connection = await McpConnection.open(transport, notice, self._timeout, line.forget_tools)
                notice.clear()
                if self._closed:
                    await connection.close()
                    self._require_open()
                line.connection = connection
            return line.connection

    def _require_open(self) -> None:
        if self._closed:
            message = f"tool group {self._group} was unregistered, or this replica stops"
            raise UnavailableError(message, retry_after=1.0, reason="MCP_SERVER")

    async def _drop(self, line: _Line, connection: McpConnection | None) -> None:
        if connection is not None and line.connection is connection:
            line.connection = None
            await connection.close()
