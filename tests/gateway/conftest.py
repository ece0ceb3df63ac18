import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.app import Worker
from gateway.discovery import resolve_by_system
from gateway.settings import GatewaySettings
from gateway.sockets import bind
from tests.gateway.replica import Replica
from tests.support.valkey import ValkeyServer, valkey_server


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture
def redis_url(valkey: ValkeyServer) -> Iterator[str]:
    """An empty database."""
    valkey.flush()
    yield valkey.url
    valkey.flush()


@pytest.fixture
async def make_replica() -> AsyncIterator[Callable[..., Awaitable[Replica]]]:
    made: list[Replica] = []

    async def make(
        *arguments: Any,
        listen: str = "127.0.0.1:0",
        credentials: grpc.ServerCredentials | None = None,
        **settings: Any,
    ) -> Replica:
        replica = Replica(*arguments, **settings)
        made.append(replica)
        return await replica.start(listen, credentials)

    yield make
    await asyncio.gather(*(replica.stop() for replica in made))


@pytest.fixture
async def replica(make_replica: Callable[..., Awaitable[Replica]]) -> Replica:
    return await make_replica()


class Gateway:
    """A gateway process's worker, in this process."""

    def __init__(self, worker: Worker, address: str) -> None:
        self.worker = worker
        self.address = address
        self._channels: list[grpc.aio.Channel] = []

    def channel(self, **options: Any) -> grpc.aio.Channel:
        defaults = {"grpc.max_receive_message_length": 64 << 20, "grpc.use_local_subchannel_pool": 1}
        channel = grpc.aio.insecure_channel(self.address, options=list({**defaults, **options}.items()))
        self._channels.append(channel)
        return channel

    async def stop(self) -> None:
        for channel in self._channels:
            await channel.close()
        await self.worker.stop()


@pytest.fixture
async def make_gateway(redis_url: str) -> AsyncIterator[Callable[..., Awaitable[Gateway]]]:
    """Starts gateways; a provider is given as replicas or addresses by its id."""
    made: list[Gateway] = []
    folders: list[Path] = []

    async def make(
        providers: dict[str, Any] | None = None, *, wait: bool = True, resolve: Any = resolve_by_system, **settings: Any
    ) -> Gateway:
        configured = [
            {"provider_id": name, "addresses": [getattr(one, "address", one) for one in replicas]}
            for name, replicas in (providers or {}).items()
        ]
        values = {"redis_url": redis_url, "access_log": False, "poll_seconds": 0.2, "lease_seconds": 1.0, **settings}
        # A socket's path has at most 107 bytes, and pytest's own folders have long names.
        folder = Path(tempfile.mkdtemp())
        folders.append(folder)
        worker = Worker(GatewaySettings(providers=configured, **values), folder, resolve=resolve)
        with bind("127.0.0.1:0") as placeholder:
            address = f"127.0.0.1:{placeholder.getsockname()[1]}"
            await worker.start(address)
        gateway = Gateway(worker, address)
        made.append(gateway)
        if wait:
            async with asyncio.timeout(10):
                await worker.wait_ready()
        return gateway

    yield make
    await asyncio.gather(*(gateway.stop() for gateway in made))
    for folder in folders:
        shutil.rmtree(folder)


async def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Waits until a condition holds and returns what it returned."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)
