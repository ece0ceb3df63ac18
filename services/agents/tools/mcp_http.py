"""HTTP to MCP servers: to checked addresses only, bounded in time and size, and never an exception inside the SDK.

An exception in a request would end the SDK's whole connection, with the calls of others on it. So what goes wrong becomes an answer with a
status, which fails the one request, and a notice tells the caller what it was.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from services.core.errors import InvalidArgumentError
from services.core.fetch import DEFAULT_PORTS, FetchLimits, checked_address

_CONNECT_SECONDS = 10.0
_SESSION = "mcp-session-id"


@dataclass(slots=True)
class Notice:
    """What the transport noticed of the requests of one call."""

    session_gone: bool = False
    """The server does not know the session any more, and has not heard the request: it may be sent again in a new one."""
    too_large: bool = False
    """The answer was larger than it may be."""
    failure: str = ""
    """Kind of the failure of the connection; empty: none."""
    status: int = 0
    """HTTP status of a refusal; 0: none."""
    refusal: InvalidArgumentError | None = None
    """Why the address is not connected to."""

    def clear(self) -> None:
        """Forgets what was noticed."""
        self.session_gone, self.too_large = False, False
        self.failure, self.status, self.refusal = "", 0, None


NOTICE: ContextVar[Notice | None] = ContextVar("caravan_mcp_notice", default=None)
"""The notice of the call that runs now; the SDK sends a request in its caller's context."""


@asynccontextmanager
async def http_transport(
    uri: str, headers: Mapping[str, str], limits: FetchLimits, field: str
) -> AsyncIterator[TransportStreams]:
    """A connection to a server's endpoint (streamable HTTP).

    Args:
        uri: The endpoint.
        headers: Sent with every request.
        limits: How far to go.
        field: Path of the request's field that names the endpoint, for errors.
    """
    timeout = httpx2.Timeout(limits.timeout, connect=min(_CONNECT_SECONDS, limits.timeout))
    plain = {**headers, "Accept-Encoding": "identity"}
    transport = _GuardedTransport(limits, field)
    client = httpx2.AsyncClient(transport=transport, headers=plain, timeout=timeout, trust_env=False)
    streams: AbstractAsyncContextManager[TransportStreams] = streamable_http_client(
        uri, http_client=client, max_sse_event_size=limits.max_bytes
    )
    async with client, streams as opened:
        yield opened


class _GuardedTransport(httpx2.AsyncBaseTransport):
    """Connects to checked addresses, bounds answers, and turns failures into answers."""

    def __init__(self, limits: FetchLimits, field: str) -> None:
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False)
        self._limits, self._field = limits, field

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends a request."""
        notice = NOTICE.get() or Notice()
        notice.clear()
        try:
            response = await self._inner.handle_async_request(await self._addressed(request))
        except InvalidArgumentError as error:
            notice.refusal = error
            return httpx2.Response(403, request=request)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            notice.failure = type(error).__name__
            return httpx2.Response(502, request=request)
        if response.status_code >= httpx2.codes.BAD_REQUEST:
            notice.status = response.status_code
            # It was started anew.
            notice.session_gone = response.status_code == httpx2.codes.NOT_FOUND and _SESSION in request.headers
        return self._bounded(request, response, notice)

    async def aclose(self) -> None:
        """Ends the connections."""
        await self._inner.aclose()

    async def _addressed(self, request: httpx2.Request) -> httpx2.Request:
        host = request.url.host
        port = request.url.port or DEFAULT_PORTS[request.url.scheme]
        address = await checked_address(host, port, self._limits, self._field)
        return httpx2.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )

    def _bounded(self, request: httpx2.Request, response: httpx2.Response, notice: Notice) -> httpx2.Response:
        # Nothing was to be compressed. What is nevertheless stays so, and is no JSON: it cannot grow in memory.
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"content-encoding"]
        most = self._limits.max_bytes if request.method == "POST" else None
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        stream = _Bounded(response.stream, most, notice)
        return httpx2.Response(response.status_code, headers=headers, stream=stream, extensions=response.extensions)


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error of the kind that the SDK expects when it is too large or breaks off.

    The stream on which a server speaks unasked has no end: there each event is bounded instead.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, most: int | None, notice: Notice) -> None:
        self._inner, self._most, self._notice = inner, most, notice

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if self._most is not None and size > self._most:
                    self._notice.too_large = True
                    message = f"the answer is larger than {self._most} bytes"
                    raise httpx2.StreamError(message)
                yield chunk
        except (httpx2.HTTPError, OSError) as error:
            message = f"the answer broke off ({type(error).__name__})"
            raise httpx2.StreamError(message) from error

    async def aclose(self) -> None:
        """Ends the connection, or gives it back."""
        await self._inner.aclose()
