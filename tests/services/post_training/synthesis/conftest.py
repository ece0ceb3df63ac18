"""Making data on real models, with real data sets and a real store."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from services.core.gateway import Gateway, GatewaySettings
from services.core.redis.connection import Connection, ConnectionSettings
from services.post_training.datasets.assembly import DatasetsPart
from services.post_training.datasets.datasets import Datasets
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.scoring.rewards_over_grpc import GrpcRewardModels
from services.post_training.serving.models_over_grpc import GrpcChat, GrpcModels
from services.post_training.storage import Storage
from services.post_training.store import connect
from services.post_training.synthesis.calls_in_redis import CallsInRedis
from services.post_training.synthesis.settings import SynthesisSettings
from services.post_training.synthesis.synthesis import Synthesis
from tests.support.models_stack import ModelsStack
from tests.support.valkey import ValkeyServer, valkey_server


class WatchedChat:
    """The real models, with what is asked of them counted, and failures before them on demand."""

    def __init__(self, chat: GrpcChat) -> None:
        self._chat = chat
        self.answered: Counter[str] = Counter()
        self.failures: list[Exception] = []
        self.hang_after: int | None = None
        """Answers after which none comes any more. None: they come."""
        self.hanging = asyncio.Event()

    async def until_it_hangs(self, running: "asyncio.Task[Any]") -> None:
        """Waits until no answer comes any more; what runs and has ended before says why."""
        hanging = asyncio.create_task(self.hanging.wait())
        await asyncio.wait((hanging, running), timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if not hanging.done():
            hanging.cancel()
            raise AssertionError(await running if running.done() else "no answer is asked for")

    async def answer(
        self, request: inference_pb2.ChatCompletionRequest, seconds: float
    ) -> inference_pb2.ChatCompletionResponse:
        if self.failures:
            raise self.failures.pop()
        if self.hang_after is not None and self.answered.total() >= self.hang_after:
            self.hanging.set()
            await asyncio.Event().wait()
        response = await self._chat.answer(request, seconds)
        self.answered[request.messages[-1].user.content.items[0].text] += 1
        return response


@dataclass
class World:
    """What the tests need."""

    gateway: Gateway
    datasets: Datasets
    storage: Storage
    connection: Connection
    chat: WatchedChat = field(init=False)

    def __post_init__(self) -> None:
        self.chat = WatchedChat(GrpcChat(self.gateway))

    def synthesis(self, **settings: object) -> Synthesis:
        """Makes data, as another process that begins now would."""
        return Synthesis(
            GrpcModels(self.gateway),
            self.chat,
            GrpcRewardModels(self.gateway, 60),
            self.datasets,
            CallsInRedis(self.connection, self.storage),
            SynthesisSettings.model_validate({"concurrency": 4, "patience_seconds": 5, **settings}),
        )


@pytest.fixture(scope="session")
def store() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture
async def world(models: ModelsStack, store: ValkeyServer, tmp_path: Path) -> AsyncIterator[World]:
    store.flush()
    storage = Storage(tmp_path / "storage")
    storage.prepare()
    connection = connect(ConnectionSettings.model_validate({"redis_url": store.url}))
    part = DatasetsPart(DatasetsSettings(), storage, connection, provider_id="data", max_send_bytes=1 << 20)
    await part.start()
    gateway = Gateway(GatewaySettings(address=models.target))
    yield World(gateway, part.datasets, storage, connection)
    await gateway.close()
    await part.stop()
    await connection.close()
