"""One connection to an MCP server, over the official SDK.

The SDK's connection must be opened and closed by one task, so each has a task of its own, which outlives the call that needed it first.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeAlias

import structlog
from mcp import Client, types
from mcp.client._transport import ReadStream, TransportStreams
from mcp.shared.message import SessionMessage

from services.agents.tools.mcp_http import NOTICE, Notice

_MOST_PAGES = 20
_CLOSE_SECONDS = 10.0
_log = structlog.get_logger(__name__)

# The SDK logs what servers send and, of addresses, also the query: neither is ours to log.
logging.getLogger("mcp").setLevel(logging.CRITICAL)
logging.getLogger("httpx2").setLevel(logging.WARNING)

Transport: TypeAlias = AbstractAsyncContextManager[TransportStreams]


class McpConnection:
    """A connection. Calls may run on it at the same time."""

    def __init__(self, transport: Transport, notice: Notice, tools_changed: Callable[[], None]) -> None:
        """Begins to connect; use `open`."""
        self._transport, self._tools_changed = transport, tools_changed
        self._closing, self._ended = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[Client] = loop.create_future()
        # Also when nobody waits any more.
        self._opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())
        # What belongs to the call that opens it does not stay with the connection.
        context = contextvars.Context()
        context.run(NOTICE.set, notice)
        self._owner = loop.create_task(self._own(), name="mcp-connection", context=context)

    @classmethod
    async def open(
        cls, transport: Transport, notice: Notice, seconds: float, tools_changed: Callable[[], None]
    ) -> Self:
        """Connects and agrees with the server on a version of the protocol.

        Args:
            transport: Where to.
            notice: Is told what goes wrong on the way.
            seconds: Longest time.
            tools_changed: Called when the server says that its tools are others now.

        Raises:
            TimeoutError: It took too long.
            Exception: What the SDK raises.
        """
        made = cls(transport, notice, tools_changed)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(made._opened)
        except BaseException:
            made._owner.cancel()
            await asyncio.wait([made._owner], timeout=_CLOSE_SECONDS)
            raise
        return made

    @property
    def ended(self) -> bool:
        """Nothing can be called over it any more."""
        return self._ended.is_set()

    async def close(self) -> None:
        """Ends it, and the server's process when it was started for it."""
        self._closing.set()
        _, still = await asyncio.wait([self._owner], timeout=_CLOSE_SECONDS)
        for owner in still:
            owner.cancel()
        await asyncio.gather(*still, return_exceptions=True)

    async def tools(self, most: int, seconds: float) -> list[types.Tool]:
        """Returns the server's tools.

        Args:
            most: Most of them; further ones are left out.
            seconds: Longest time.
        """
        found: list[types.Tool] = []
        cursor: str | None = None
        async with asyncio.timeout(seconds):
            for _ in range(_MOST_PAGES):
                page = await self._client.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
                found += page.tools
                cursor = page.next_cursor
                if not cursor or len(found) >= most:
                    break
        return found[:most]

    async def call(self, name: str, arguments: dict[str, Any], seconds: float) -> types.CallToolResult:
        """Calls a tool.

        Args:
            name: Its name.
            arguments: Its arguments.
            seconds: Longest time.
        """
        # Not the SDK's own `call_tool`: that checks results against a schema of the server's making, in this loop.
        params = types.CallToolRequestParams(name=name, arguments=arguments)
        return await self._client.session.send_request(
            types.CallToolRequest(params=params), types.CallToolResult, request_read_timeout_seconds=seconds
        )

    @property
    def _client(self) -> Client:
        return self._opened.result()

    async def _own(self) -> None:
        try:
            transport = _noticing_end(self._transport, self._ended)
            async with Client(transport, cache=None, message_handler=self._hear) as client:
                self._opened.set_result(client)
                await self._closing.wait()
        except Exception as error:  # noqa: BLE001 - whatever the SDK makes of what a server does
            if not self._opened.done():
                self._opened.set_exception(error)
            else:
                _log.warning("mcp_connection_ended", error=type(error).__name__)
        finally:
            self._ended.set()

    async def _hear(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._tools_changed()


@asynccontextmanager
async def _noticing_end(transport: Transport, ended: asyncio.Event) -> AsyncIterator[TransportStreams]:
    async with transport as (read, write):
        yield _Read(read, ended), write


class _Read:
    """What a server sends, up to its end, which is noted: a call that comes later was surely not heard."""

    def __init__(self, inner: ReadStream[SessionMessage | Exception], ended: asyncio.Event) -> None:
        self._inner, self._ended = inner, ended

    @property
    def last_context(self) -> contextvars.Context | None:
        """Context in which the last message was sent."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """Returns the next message."""
        return await self._inner.receive()

    async def aclose(self) -> None:
        """Closes the stream."""
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await anext(self._inner)
        except BaseException:
            self._ended.set()
            raise

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)
