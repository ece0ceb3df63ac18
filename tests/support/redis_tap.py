"""A wire to Redis that can be cut at a given write: before the server sees it, or after it has done it and before its client hears."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class RedisTap:
    """Passes bytes on and counts the scripts that write turns.

    Attributes:
        writes: Scripts that have passed, by name, in order.
    """

    def __init__(self, host: str, port: int, digests: dict[bytes, str]) -> None:
        self._server, self._digests = (host, port), digests
        self.writes: list[str] = []
        self.port = 0
        self._at, self._after, self._cut = 0, False, lambda: None

    def cut_at(self, number: int, *, after: bool, cut: Callable[[], None]) -> None:
        """Calls `cut` at a write.

        Args:
            number: Which, from 1.
            after: When the server has answered, instead of before it is asked.
            cut: Ends the client.
        """
        self._at, self._after, self._cut = number, after, cut

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        server_reader, server_writer = await asyncio.open_connection(*self._server)
        held = asyncio.Event()

        async def requests() -> None:
            while data := await reader.read(1 << 16):
                for digest, name in self._digests.items():
                    for _ in range(data.count(digest)):
                        self.writes.append(name)
                        if len(self.writes) == self._at:
                            held.set()
                if held.is_set() and not self._after:
                    self._cut()
                    return
                server_writer.write(data)
                await server_writer.drain()

        async def replies() -> None:
            while data := await server_reader.read(1 << 16):
                if held.is_set():
                    self._cut()
                    return
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(requests()), asyncio.create_task(replies())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for one in (writer, server_writer):
                one.close()


@asynccontextmanager
async def redis_tap(port: int, digests: dict[bytes, str]) -> AsyncIterator[RedisTap]:
    """Runs one in front of a server on this machine."""
    tap = RedisTap("127.0.0.1", port, digests)
    server = await asyncio.start_server(tap.pass_on, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    async with server:
        yield tap
