"""The worker's connections to the replicas: one each, kept up, with the replica's own word on its health."""

import asyncio
import ssl
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from gateway.balancing import ReplicaState
from gateway.http2.client import ClientConnection
from gateway.http2.connection import Stream
from gateway.http2.frames import ErrorCode
from gateway.http2.hpack import Headers
from gateway.sockets import keep_alive
from services.core.channels import ClientTlsSettings
from services.core.errors import FailedPreconditionError
from services.core.settings import split_address

_log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 2.0
_HEALTH_SECONDS = 2.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0
_EMPTY_MESSAGE = bytes(5)
_UNIMPLEMENTED = b"12"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS towards replicas."""

    context: ssl.SSLContext
    """Authorities, and our own certificate."""

    server_name: str | None = None
    """Name in the replicas' certificates, when it is not the address's."""

    @classmethod
    def of(cls, settings: ClientTlsSettings) -> "Tls":
        """Reads the files of the settings.

        Raises:
            FailedPreconditionError: They are wrong.
        """
        try:
            context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
            if settings.cert is not None:
                context.load_cert_chain(settings.cert, settings.key)
        except (OSError, ssl.SSLError) as error:
            message = f"upstream_tls: the files are wrong: {error}"
            raise FailedPreconditionError(message, reason="TLS_FILES") from error
        context.set_alpn_protocols(["h2"])
        return cls(context, settings.server_name)


class Replica(ReplicaState):
    """One replica: its connections, and whether it can be given calls."""

    __slots__ = ("_changed", "_connections", "_growth", "_loop", "_task", "_tls", "settled")

    def __init__(self, address: str, tls: "Tls | None", changed: Callable[["Replica"], None]) -> None:
        """Makes a replica that begins to connect at once.

        Args:
            address: `host:port` or `unix:path`.
            tls: TLS towards replicas. None: plain text.
            changed: Told when the replica becomes usable, unusable, or a first attempt to reach it has failed.
        """
        super().__init__(address)
        self._tls = tls
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._connections: list[ClientConnection] = []
        self._growth: asyncio.Task[None] | None = None
        self.settled = False
        """It has been tried at least once: when it is not usable, waiting for it makes no sense."""
        self._task = self._loop.create_task(self._keep_up())

    def connection(self) -> ClientConnection | None:
        """Returns a connection that has room for one more stream; None while another is made because all are full."""
        for connection in self._connections:
            if connection.has_room():
                return connection
        if self.usable and not self.growing:
            self._growth = self._loop.create_task(self._grow())
        return None

    @property
    def growing(self) -> bool:
        """Another connection is being made."""
        return self._growth is not None and not self._growth.done()

    async def close(self) -> None:
        """Lets running calls end and connects no more."""
        self.usable = False
        self._task.cancel()
        for connection in self._connections:
            connection.close_when_done()

    async def _keep_up(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                connection = await self._connect()
            except (OSError, TimeoutError) as error:
                self._report(usable=False, why=str(error) or type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            if await self._follow_health(connection):
                pause = _FIRST_PAUSE
            connection.close_when_done()
            self._report(usable=False, why="the connection or its health stream ended")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _grow(self) -> None:
        try:
            await self._connect()
        except (OSError, TimeoutError) as error:
            _log.warning("replica_connection_failed", address=self.address, why=str(error))
        self._loop.call_soon(self._changed, self)

    async def _connect(self) -> ClientConnection:
        def make() -> ClientConnection:
            return ClientConnection(self._loop, self._unusable)

        async with asyncio.timeout(_CONNECT_SECONDS):
            if self.address.startswith("unix:"):
                _, connection = await self._loop.create_unix_connection(make, self.address.removeprefix("unix:"))
            else:
                host, port = split_address(self.address)
                context = self._tls.context if self._tls else None
                name = self._tls.server_name or host if self._tls else None
                transport, connection = await self._loop.create_connection(
                    make, host, port, ssl=context, server_hostname=name
                )
                keep_alive(transport.get_extra_info("socket"))
            try:
                told = await connection.ready
            except asyncio.CancelledError:
                connection.close_when_done()
                raise
            if not told:
                raise ConnectionResetError("the connection ended before the replica had told its limits")
        self._connections.append(connection)
        return connection

    async def _follow_health(self, connection: ClientConnection) -> bool:
        """Follows the replica's health until the stream ends; returns whether it ever could serve."""
        served = False
        watch = _HealthWatch(connection)
        try:
            timeout: float | None = _HEALTH_SECONDS
            while True:
                async with asyncio.timeout(timeout):
                    status = await watch.next()
                if status is None:
                    return served
                timeout = None
                serving = status == health_pb2.HealthCheckResponse.SERVING
                served = served or serving
                self._report(usable=serving, why="" if serving else "it says that it cannot serve")
        except TimeoutError:
            return served
        finally:
            watch.stop()

    def _report(self, *, usable: bool, why: str) -> None:
        changed = usable != self.usable
        if changed:
            _log.info("replica_changed", address=self.address, usable=usable, why=why)
        if usable and changed:
            self.recovered()
        self.usable = usable
        if changed or not self.settled:
            self.settled = True
            self._changed(self)

    def _unusable(self, connection: ClientConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        if not self._connections and self.usable:
            self._report(usable=False, why="the connection ended")


class _HealthWatch:
    """`grpc.health.v1.Health/Watch` over a connection that calls run on too: it ends when they do."""

    def __init__(self, connection: ClientConnection) -> None:
        self._states: asyncio.Queue[int | None] = asyncio.Queue()
        self._buffer = b""
        headers: Headers = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/grpc.health.v1.Health/Watch"),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
        self._stream: Stream = connection.open(headers, end=False)
        self._stream.on_headers = self._headers
        self._stream.on_data = self._data
        self._stream.on_reset = self._reset
        self._stream.send_data(_EMPTY_MESSAGE, True)

    async def next(self) -> int | None:
        """Returns the next status; None when there will be no more."""
        return await self._states.get()

    def stop(self) -> None:
        self._stream.reset(ErrorCode.CANCEL)

    def _headers(self, headers: Headers, end: bool) -> None:
        if not end:
            return
        if dict(headers).get(b"grpc-status") == _UNIMPLEMENTED:
            # It has no health service: then a connection is all there is to know.
            self._states.put_nowait(health_pb2.HealthCheckResponse.SERVING)
            return
        self._states.put_nowait(None)

    def _data(self, data: bytes, end: bool) -> None:
        self._stream.open_window(len(data))
        self._buffer += data
        while len(self._buffer) >= 5:
            (size,) = struct.unpack_from(">L", self._buffer, 1)
            if size > 1024:
                self._states.put_nowait(None)
                return
            if len(self._buffer) < 5 + size:
                break
            message, self._buffer = self._buffer[5 : 5 + size], self._buffer[5 + size :]
            try:
                self._states.put_nowait(health_pb2.HealthCheckResponse.FromString(message).status)
            except DecodeError:
                self._states.put_nowait(None)
        if end:
            self._states.put_nowait(None)

    def _reset(self, code: int) -> None:
        del code
        self._states.put_nowait(None)


class Fleet:
    """The replicas that the current snapshot names."""

    def __init__(self, tls: Tls | None = None) -> None:
        """Makes an empty fleet.

        Args:
            tls: TLS towards replicas. None: plain text.
        """
        self._tls = tls
        self._replicas: dict[str, Replica] = {}
        self._groups: dict[tuple[str, ...], tuple[Replica, ...]] = {}
        self._listeners: list[Callable[[], None]] = []
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """The replicas by address."""
        return self._replicas

    def set_addresses(self, addresses: Iterable[str]) -> None:
        """Connects to new addresses and leaves those that are gone; calls that run there end as they would."""
        wanted = set(addresses)
        for address in wanted - self._replicas.keys():
            self._replicas[address] = Replica(address, self._tls, self._changed)
        for address in self._replicas.keys() - wanted:
            task = asyncio.get_running_loop().create_task(self._replicas.pop(address).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._groups.clear()

    def group(self, addresses: tuple[str, ...]) -> tuple[Replica, ...]:
        """Returns the replicas at some addresses."""
        group = self._groups.get(addresses)
        if group is None:
            group = tuple(self._replicas[address] for address in addresses if address in self._replicas)
            self._groups[addresses] = group
        return group

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener` whenever a replica becomes usable or unusable, or has been tried for the first time."""
        self._listeners.append(listener)

    async def settle(self, seconds: float) -> None:
        """Waits until every replica has been tried once, or the time is over."""
        deadline = asyncio.get_running_loop().time() + seconds
        while any(not replica.settled for replica in self._replicas.values()):
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Leaves all replicas."""
        self.set_addresses(())
        await asyncio.gather(*self._closing)

    def _changed(self, replica: Replica) -> None:
        del replica
        for listener in self._listeners:
            listener()
