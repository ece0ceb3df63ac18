"""`POST /v1/completions` with `stream`: a hand-made HTTP/1.1 client over httptools, as cheap as one in Python gets."""

import asyncio
import json
import time
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from benchmarks.workload import Answer


class HttpClient:
    """Streams completions, each over a connection of its own that is kept for the next."""

    def __init__(self, target: str, model: str) -> None:
        """Connects with the first call.

        Args:
            target: Address of the API, `http://host:port/v1`.
            model: Name of the model.
        """
        parts = urlsplit(target)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._head = (
            f"POST {parts.path}/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        )
        self._model = model
        self._idle: list[_Connection] = []

    async def ask(self, prompt: str, max_tokens: int) -> Answer:
        """Streams one answer."""
        body = json.dumps(
            {
                "model": self._model,
                "prompt": prompt,
                "max_tokens": max_tokens,
                "temperature": 0.0,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()
        request = f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        answer = Answer(time.monotonic())
        connection = await self._connection()
        await connection.exchange(request, answer)
        self._idle.append(connection)
        return answer

    async def close(self) -> None:
        """Closes the connections."""
        for connection in self._idle:
            connection.close()

    async def _connection(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        _, made = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return made


class _Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self) -> None:
        self.usable = True
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._answer = Answer(0.0)
        self._rest = b""
        self._done: asyncio.Future[None] | None = None

    async def exchange(self, request: bytes, answer: Answer) -> None:
        """Sends a request and reads the events of its answer.

        Raises:
            ConnectionError: The connection ended before the answer.
        """
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._answer, self._rest = answer, b""
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._done

    def close(self) -> None:
        """Closes the connection."""
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail(exc or ConnectionError("the server closed the connection"))

    # What the parser calls.

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            self._fail(ConnectionError(f"the server answered {status}"))

    def on_body(self, body: bytes) -> None:
        *events, self._rest = (self._rest + body).split(b"\n\n")
        for event in events:
            if event == b"data: [DONE]":
                continue
            message = json.loads(event[6:])
            if message["choices"]:
                self._answer.arrivals.append(time.monotonic())
            elif message.get("usage"):
                self._answer.tokens = message["usage"]["completion_tokens"]

    def on_message_complete(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
