"""A gateway, an embeddings provider and memory providers, as servers in this process."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

import caravan
from caravan.memory.v1 import memory_pb2
from gateway.app import Worker
from gateway.settings import GatewaySettings
from gateway.sockets import bind
from services.core.server import ServiceServer
from services.inference.app import build as build_inference
from services.inference.settings import InferenceSettings
from services.memory.app import build as build_memory
from services.memory.settings import MemorySettings

MODEL = "all-MiniLM-L6-v2"


@dataclass
class Stack:
    """What runs."""

    address: str
    """Of the gateway."""
    client: caravan.AsyncClient
    memory: dict[str, ServiceServer] = field(default_factory=dict)

    @property
    def channel(self) -> grpc.aio.Channel:
        return self.client.channel


@asynccontextmanager
async def running(server: ServiceServer) -> AsyncIterator[ServiceServer]:
    await server.start()
    try:
        await server.wait_ready()
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def stack_with(redis_url: str, providers: dict[str, dict[str, Any]], **settings: Any) -> AsyncIterator[Stack]:
    """Runs a gateway with embeddings and memory providers by their id.

    Args:
        redis_url: Of an empty registry.
        providers: Store configuration of each memory provider.
        settings: More settings of the memory providers.
    """
    folder = Path(tempfile.mkdtemp())
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        inference = InferenceSettings(
            provider_id="embeddings",
            provider={"type": "inline::sentence-transformers", "threads": 1, "matryoshka_dimensions": [128]},
            drain_seconds=0.0,
            access_log=False,
        )
        embeddings = await stack.enter_async_context(running(build_inference(inference)))
        with bind("127.0.0.1:0") as placeholder:
            gateway = f"127.0.0.1:{placeholder.getsockname()[1]}"
            servers: dict[str, ServiceServer] = {}
            for name, provider in providers.items():
                memory = MemorySettings(
                    provider_id=name,
                    provider=provider,
                    gateway={"address": gateway},
                    drain_seconds=0.0,
                    access_log=False,
                    **settings,
                )
                servers[name] = await stack.enter_async_context(running(build_memory(memory)))
            addresses = [{"provider_id": "embeddings", "addresses": [embeddings.address]}]
            addresses += [{"provider_id": name, "addresses": [one.address]} for name, one in servers.items()]
            worker = Worker(
                GatewaySettings(
                    providers=addresses, redis_url=redis_url, access_log=False, poll_seconds=0.2, lease_seconds=1.0
                ),
                folder,
            )
            await worker.start(gateway)
        stack.push_async_callback(worker.stop)
        async with asyncio.timeout(150):
            await worker.wait_ready()
        client = await stack.enter_async_context(caravan.AsyncClient(gateway))
        await served(client, len(providers) + 1)
        yield Stack(gateway, client, servers)


async def served(client: caravan.AsyncClient, count: int) -> None:
    """Waits until the gateway knows what all providers serve."""
    async with asyncio.timeout(150):
        while True:
            providers = [provider async for provider in client.providers.list()]
            if sum(bool(provider.provider_type) for provider in providers) == count:
                return
            await asyncio.sleep(0.05)


def vector(**params: Any) -> dict[str, Any]:
    return {"memory_bank_type": "vector", "embedding_model": MODEL, **params}


def text(document_id: str, content: str, **fields: Any) -> dict[str, Any]:
    return {"document_id": document_id, "content": content, **fields}


def outcomes(results: Sequence[memory_pb2.DocumentResult]) -> list[str]:
    name = memory_pb2.DocumentOutcome.Name
    return [name(result.outcome).removeprefix("DOCUMENT_OUTCOME_").lower() for result in results]
