"""Channels: one connection to each node for all that this process listens to, whatever their number."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TypeAlias

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from services.agents.store.nodes import Node, Topology

_log = structlog.get_logger(__name__)

Hear: TypeAlias = Callable[[str, bytes | None], None]
"""Takes what comes on a channel. None: the channel is listened to from now on; what came before was not heard."""

_SILENCE_SECONDS = 10.0
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 1.0


class Subscriptions:
    """The channels that this process listens to. News may be lost, when a connection breaks or a slot moves: look now and then as well."""

    def __init__(self, topology: Topology, hear: Hear) -> None:
        """Makes it.

        Args:
            topology: Which node holds which channel.
            hear: Called for everything that comes; must be quick.
        """
        self._topology = topology
        self._hear = hear
        self._places: dict[str, tuple[bool, Node]] = {}
        self._listeners: dict[Node, _Listener] = {}

    async def add(self, channel: str, *, sharded: bool = True) -> None:
        """Listens to a channel.

        Args:
            channel: Its name.
            sharded: News go to it by SPUBLISH, not by PUBLISH.
        """
        node = self._topology.node(channel)
        self._places[channel] = (sharded, node)
        await self._listener(node).add(channel, sharded)

    async def remove(self, channel: str) -> None:
        """Listens to a channel no longer; does nothing if it never did."""
        place = self._places.pop(channel, None)
        listener = self._listeners.get(place[1]) if place else None
        if listener is None:
            return
        await listener.remove(channel)
        if not listener.channels:
            del self._listeners[listener.node]
            await listener.close()

    async def follow_slots(self) -> None:
        """Moves what is listened to at a node that no longer holds it."""
        for channel, (sharded, node) in list(self._places.items()):
            if self._topology.node(channel) is not node:
                await self.remove(channel)
                await self.add(channel, sharded=sharded)

    async def close(self) -> None:
        """Closes the connections."""
        listeners = list(self._listeners.values())
        self._places.clear()
        self._listeners.clear()
        for listener in listeners:
            await listener.close()

    def _listener(self, node: Node) -> "_Listener":
        listener = self._listeners.get(node)
        if listener is None:
            listener = self._listeners[node] = _Listener(node, self._topology, self._hear)
        return listener


class _Listener:
    """What this process listens to at one node. A connection that breaks is made again, with all its channels."""

    def __init__(self, node: Node, topology: Topology, hear: Hear) -> None:
        self.node = node
        self.channels: dict[str, bool] = {}
        self._topology = topology
        self._hear = hear
        self._live: AbstractConnection | None = None
        self._task = asyncio.create_task(self._listen(), name=f"listen-{node.name}")

    async def add(self, channel: str, sharded: bool) -> None:
        self.channels[channel] = sharded
        await self._say("SSUBSCRIBE" if sharded else "SUBSCRIBE", channel)

    async def remove(self, channel: str) -> None:
        sharded = self.channels.pop(channel, None)
        if sharded is not None:
            await self._say("SUNSUBSCRIBE" if sharded else "UNSUBSCRIBE", channel)

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _say(self, *command: str) -> None:
        # A connection that is broken would be opened again by this; the reader, who sees the same, begins again with all channels.
        if self._live is not None and self._live.is_connected:
            with suppress(RedisError, OSError):
                await self._live.send_packed_command(self._live.pack_command(*command), check_health=False)

    async def _listen(self) -> None:
        delay = _FIRST_DELAY
        while True:
            connection = self.node.connection()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                self._live = connection
                for channel, sharded in list(self.channels.items()):
                    await self._say("SSUBSCRIBE" if sharded else "SUBSCRIBE", channel)
                async for message in _messages(connection):
                    delay = _FIRST_DELAY
                    self._take(message)
            except (RedisError, OSError) as error:
                _log.warning("listening_again", node=self.node.name, error=type(error).__name__)
            finally:
                self._live = None
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)
            await self._topology.refresh()

    def _take(self, message: list[bytes | int]) -> None:
        kind, channel, payload = message[0], message[1], message[-1]
        assert isinstance(channel, bytes)
        if kind in (b"smessage", b"message"):
            assert isinstance(payload, bytes)
            self._hear(channel.decode(), payload)
        elif kind in (b"ssubscribe", b"subscribe"):
            self._hear(channel.decode(), None)


async def _messages(connection: AbstractConnection) -> AsyncIterator[list[bytes | int]]:
    """Yields what comes; a connection that says nothing is asked whether it lives."""
    asked = False
    while True:
        message = await connection.read_response(timeout=_SILENCE_SECONDS, disconnect_on_error=False)
        if message is None:
            if asked:
                text = "the server does not answer a ping"
                raise TimeoutError(text)
            asked = True
            await connection.send_packed_command(connection.pack_command("PING"), check_health=False)
            continue
        asked = False
        if message[0] != b"pong":
            yield message
