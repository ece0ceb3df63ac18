"""The provider of the post-training APIs."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel

from services.core.errors import CaravanError
from services.core.gateway import Gateway
from services.core.provider import Provider
from services.core.redis.connection import Connection
from services.post_training.datasets.assembly import DatasetsPart
from services.post_training.jobs.job_store import JobStore
from services.post_training.jobs.retention import Retention
from services.post_training.jobs.scheduler import Scheduler
from services.post_training.storage import Storage

_PING_SECONDS = 1.0


class Closing(Protocol):
    """Something that is closed at the end."""

    async def close(self) -> None:
        """Closes it."""


class PostTrainingProvider(Provider):
    """Runs jobs; ready while the store answers and the storage can be written to."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of the service
        self,
        provider_id: str,
        services: Sequence[str],
        config: BaseModel,
        connection: Connection,
        storage: Storage,
        datasets: DatasetsPart,
        store: JobStore,
        scheduler: Scheduler,
        retention: Retention,
        gateway: Gateway,
        closing: Sequence[Closing] = (),
    ) -> None:
        """Makes the provider.

        Args:
            provider_id: Identifier of this provider.
            services: Full names of the services.
            config: What operators are shown.
            connection: The way to Redis.
            storage: The service's folder.
            datasets: The data sets.
            store: The jobs.
            scheduler: Runs jobs.
            retention: Sweeps.
            gateway: The way to other services.
            closing: What else is closed at the end, in this order.
        """
        super().__init__(
            provider_id=provider_id, provider_type="inline::post-training", services=services, config=config
        )
        self._connection, self._storage, self._datasets, self._store = connection, storage, datasets, store
        self._scheduler, self._retention, self._gateway, self._closing = scheduler, retention, gateway, closing
        self._pinging: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects to the store and takes up what other processes left behind."""
        await asyncio.to_thread(self._storage.prepare)
        await self._connection.check_eviction()
        await self._store.start()
        await self._datasets.start()
        self._scheduler.start()
        self._retention.start()
        self._pinging = asyncio.create_task(self._ping(), name="ping")

    async def drain(self) -> None:
        """Begins to stop: trainings write their checkpoints, and watches end, while calls that run still may."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="drain-jobs")

    async def stop(self) -> None:
        """Hands on the jobs that run here, and disconnects."""
        await self.drain()
        tasks = [task for task in (self._pinging, self._draining) if task is not None]
        if self._pinging is not None:
            self._pinging.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._datasets.stop()
        for part in self._closing:
            await part.close()
        await self._connection.close()
        await self._gateway.close()

    async def _drain(self) -> None:
        await self._retention.stop()
        await self._scheduler.stop()
        await self._store.close()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_PING_SECONDS)
            try:
                await self._connection.ping()
                await asyncio.to_thread(self._storage.prepare)
            except CaravanError as error:
                self.readiness.set_not_ready(error.message)
            except OSError as error:
                self.readiness.set_not_ready(f"storage_dir {self._storage.root} cannot be written to: {error.strerror}")
            else:
                self.readiness.set_ready()
