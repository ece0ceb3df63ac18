"""An HTTP server on loopback that answers as a test tells it to, in the place of a third party's OpenAI-compatible one."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

Json = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """A request that the server got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Json


@dataclass(frozen=True)
class Reply:
    """What the server answers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[bytes | float] = ()
    """Bytes to send, each at once, and seconds to wait in between."""
    end: Literal["close", "abort", "hang"] = "close"
    """Ends the answer in order, breaks the connection, or sends nothing more for ever."""
    before_headers: bool = False
    """Hangs or breaks off before anything was sent."""


def answer(body: Any, status: int = 200, **headers: str) -> Reply:
    """A whole JSON answer."""
    return Reply(status, {"Content-Type": "application/json", **_header_names(headers)}, [json.dumps(body).encode()])


def plain(text: str, status: int = 200, content_type: str = "text/plain", **headers: str) -> Reply:
    """A whole answer that is no JSON."""
    return Reply(status, {"Content-Type": content_type, **_header_names(headers)}, [text.encode()])


def stream(*chunks: Json | bytes | float, done: bool = True, end: Literal["close", "abort", "hang"] = "close") -> Reply:
    """A streamed answer: JSON chunks, raw bytes, and pauses in seconds."""
    pieces = [event(chunk) if isinstance(chunk, dict) else chunk for chunk in chunks]
    pieces += [b"data: [DONE]\n\n"] if done else []
    return Reply(200, {"Content-Type": "text/event-stream"}, pieces, end)


def event(chunk: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


class OpenAIServer:
    """The server. Answers to POST come from `replies` in their order; the last one is repeated."""

    def __init__(self) -> None:
        self.url = ""
        self.models: list[Json] = [{"id": "m", "object": "model"}, {"id": "text-embed", "object": "model"}]
        self.models_reply: Reply | None = None
        """Answer to GET /v1/models in place of `models`."""
        self.replies: deque[Reply] = deque()
        self.received: list[Received] = []
        self.listings = 0
        """Number of times that the models were asked for."""
        self.open = 0
        """Number of POST requests in progress."""
        self.gone = asyncio.Event()
        """Set when a client leaves before its answer is complete."""

    @property
    def last(self) -> Received:
        """The last POST request."""
        return self.received[-1]

    def will(self, *replies: Reply) -> None:
        """Sets the next answers."""
        self.replies = deque(replies)
        self.received.clear()
        self.gone.clear()

    async def handle_models(self, request: web.Request) -> web.StreamResponse:
        self.listings += 1
        reply = self.models_reply or answer({"object": "list", "data": self.models})
        return await self._send(request, reply)

    async def handle_post(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.received.append(Received(request.method, request.path, request.headers.copy(), body))
        reply = self.replies.popleft() if len(self.replies) > 1 else self.replies[0]
        self.open += 1
        try:
            return await self._send(request, reply)
        except (asyncio.CancelledError, ConnectionResetError):
            self.gone.set()
            raise
        finally:
            self.open -= 1

    async def _send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
        if reply.before_headers:
            return await self._end(request, response, reply)
        await response.prepare(request)
        for piece in reply.pieces:
            if isinstance(piece, bytes):
                await response.write(piece)
            else:
                await asyncio.sleep(piece)
        return await self._end(request, response, reply)

    async def _end(self, request: web.Request, response: web.StreamResponse, reply: Reply) -> web.StreamResponse:
        if reply.end == "hang":
            await asyncio.Event().wait()
        if reply.end == "abort" and request.transport is not None:
            request.transport.abort()
        return response


@asynccontextmanager
async def openai_server(port: int = 0) -> AsyncIterator[OpenAIServer]:
    """Runs a server on a port of the loopback interface, by default a free one."""
    server = OpenAIServer()
    application = web.Application(client_max_size=64 << 20)
    application.router.add_get("/v1/models", server.handle_models)
    application.router.add_post("/v1/{path:.*}", server.handle_post)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


def _header_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
