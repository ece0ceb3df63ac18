"""Connections to one Redis server, and which server holds which slot."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError, ResponseError

from services.agents.store.settings import StoreSettings
from services.core.redis.scripts import Command

_log = structlog.get_logger(__name__)

_REFRESH_SECONDS = 0.1


class Node:
    """One server. Commands that are sent together travel together: one round trip."""

    def __init__(self, arguments: dict[str, Any], connections: int, seconds: float) -> None:
        """Makes a node; connects with the first command.

        Args:
            arguments: Of its connections.
            connections: Most connections for commands.
            seconds: Longest time that commands may take.
        """
        self._seconds = seconds
        self._arguments = {key: value for key, value in arguments.items() if key != "connection_class"}
        self._class: type[AbstractConnection] = arguments.get("connection_class", Connection)
        self._room = asyncio.Semaphore(connections)
        self._idle: list[AbstractConnection] = []
        self._closed = False
        self.address: tuple[str, int] = (arguments.get("host", "localhost"), int(arguments.get("port", 6379)))

    @property
    def name(self) -> str:
        """Its address, for logs."""
        return f"{self.address[0]}:{self.address[1]}"

    def connection(self) -> AbstractConnection:
        """Returns a new connection, which is not open yet."""
        return self._class(**self._arguments)

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands and returns their replies; a command that was refused has the error in its place.

        Raises:
            RedisError: The server does not answer.
            OSError: It cannot be reached, or not in time.
        """
        # redis-py's own packing, in Python, costs more than everything else that a write does here.
        packed = b"".join(pack_command(command) for command in commands)
        async with self._room:
            connection = self._idle.pop() if self._idle else self.connection()
            try:
                # Not the connection's own time-out: redis-py's makes a task of every write, and on Python 3.11 that may swallow a
                # cancellation.
                async with asyncio.timeout(self._seconds):
                    await connection.connect()  # type: ignore[no-untyped-call]
                    await connection.send_packed_command(packed, check_health=False)
                    replies = [await _reply(connection) for _ in commands]
            except BaseException:
                # Replies may still be on their way: nobody else can use it. The others are probably broken as well.
                await self._drop([connection, *self._idle])
                raise
            self._idle.append(connection)
            if self._closed:
                await self.drop_idle()
            return replies

    async def close(self) -> None:
        """Closes the connections, those in use when their replies have come."""
        self._closed = True
        await self.drop_idle()

    async def drop_idle(self) -> None:
        """Closes the connections that nobody uses now."""
        await self._drop(self._idle)

    async def _drop(self, connections: Iterable[AbstractConnection]) -> None:
        gone, self._idle = list(connections), []
        for connection in gone:
            await connection.disconnect(nowait=True)


class Topology:
    """The nodes, and which of them holds which slot."""

    def __init__(self, settings: StoreSettings) -> None:
        """Makes the topology.

        Args:
            settings: Where Redis is.
        """
        self._settings = settings
        waits = settings.durability_timeout_seconds if settings.durability != "none" else 0
        self._arguments: dict[str, Any] = {
            "socket_connect_timeout": settings.timeout_seconds,
            "socket_keepalive": True,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            **parse_url(settings.redis_url.get_secret_value()),
            "socket_timeout": None,
        }
        self._seconds = settings.timeout_seconds + waits
        seed = Node(self._arguments, settings.connections, self._seconds)
        self._seeds = (seed,)
        self._nodes: dict[tuple[str, int], Node] = {seed.address: seed}
        self._slots: list[Node] = [seed] * REDIS_CLUSTER_HASH_SLOTS
        self._refreshing = asyncio.Lock()
        self._refreshed = 0.0

    @property
    def nodes(self) -> Sequence[Node]:
        """The nodes that hold slots."""
        return list({id(node): node for node in self._slots}.values())

    def node(self, key: str) -> Node:
        """Returns the node that holds a key."""
        return self._slots[key_slot(key.encode())] if self._settings.cluster else self._slots[0]

    def at(self, host: str, port: int) -> Node:
        """Returns the node at an address that another one named."""
        address = (host or self._seeds[0].address[0], int(port))
        node = self._nodes.get(address)
        if node is None:
            arguments = {**self._arguments, "host": address[0], "port": address[1]}
            node = self._nodes[address] = Node(arguments, self._settings.connections, self._seconds)
        return node

    def moved(self, slot: int, host: str, port: int) -> None:
        """Notes that another node holds a slot now."""
        self._slots[slot] = self.at(host, port)

    async def refresh(self) -> None:
        """Asks the nodes which of them holds which slot; keeps what is known when none answers."""
        if not self._settings.cluster:
            return
        async with self._refreshing:
            if time.monotonic() - self._refreshed < _REFRESH_SECONDS:
                return
            for node in [*self._nodes.values(), *self._seeds]:
                try:
                    (reply,) = await node.send([("CLUSTER", "SLOTS")])
                except (RedisError, OSError):
                    continue
                if isinstance(reply, list) and reply:
                    await self._adopt(node, reply)
                    break
            self._refreshed = time.monotonic()

    async def close(self) -> None:
        """Closes all connections."""
        for node in [*self._nodes.values(), *self._seeds]:
            await node.close()

    async def _adopt(self, asked: Node, ranges: Sequence[Any]) -> None:
        for first, last, primary, *_ in ranges:
            host = primary[0].decode() if primary[0] else asked.address[0]
            self._slots[first : last + 1] = [self.at(host, primary[1])] * (last - first + 1)
        used = {id(node) for node in self._slots}
        for address, node in list(self._nodes.items()):
            if id(node) not in used:
                del self._nodes[address]
                await node.close()
        _log.info("topology", nodes=len(self._nodes))


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
