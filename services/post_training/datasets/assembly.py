"""Puts data sets together; the service's composition root calls it."""

from caravan.datasets.v1 import datasetio_pb2_grpc, datasets_pb2_grpc
from services.core.redis.connection import Connection
from services.core.server import Binding
from services.post_training.datasets.admission import Imports
from services.post_training.datasets.appending import Appending
from services.post_training.datasets.creation import Creation
from services.post_training.datasets.datasets import Datasets
from services.post_training.datasets.reading import Reading
from services.post_training.datasets.redis_store import RedisDatasetStore
from services.post_training.datasets.servicer import DatasetIOServicer, DatasetsServicer
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.datasets.sweeping import Sweeping
from services.post_training.datasets.workers import Workers
from services.post_training.storage import Storage

DATASETS = "caravan.datasets.v1.DatasetsService"
DATASET_IO = "caravan.datasets.v1.DatasetIOService"


class DatasetsPart:
    """Data sets, with everything that runs for them."""

    def __init__(
        self,
        settings: DatasetsSettings,
        storage: Storage,
        connection: Connection,
        *,
        provider_id: str,
        max_send_bytes: int,
    ) -> None:
        """Puts the parts together; `start` sets them going.

        Args:
            settings: What data sets may be.
            storage: Where rows go; it must be prepared before `start`.
            connection: To Redis.
            provider_id: Identifier of this provider.
            max_send_bytes: Largest message that the server sends.
        """
        store = RedisDatasetStore(connection)
        self._workers = Workers(settings.import_workers, settings.import_seconds, settings.import_memory_bytes)
        imports = Imports(settings, storage, self._workers)
        creation = Creation(settings, storage, store, imports, provider_id=provider_id)
        appending = Appending(settings, storage, store, imports)
        reading = Reading(storage, store, self._workers, max_send_bytes=max_send_bytes)
        self.datasets = Datasets(storage, store, creation, appending, reading)
        """The domain."""
        self.bindings = [
            Binding(DATASETS, datasets_pb2_grpc.add_DatasetsServiceServicer_to_server, DatasetsServicer(self.datasets)),
            Binding(
                DATASET_IO, datasetio_pb2_grpc.add_DatasetIOServiceServicer_to_server, DatasetIOServicer(self.datasets)
            ),
        ]
        """The services to serve."""
        self._sweeping = Sweeping(
            storage, store, seconds=settings.sweep_seconds, grace_seconds=settings.sweep_grace_seconds
        )

    async def start(self) -> None:
        """Begins to clear away what processes that died have left.

        Raises:
            UnavailableError: Redis does not answer.
        """
        await self._workers.start()
        await self._sweeping.start()

    async def stop(self) -> None:
        """Ends what runs. Call it when no call runs any more."""
        await self._sweeping.stop()
        await self._workers.close()
