"""The datasets services in this process, over real sockets, Redis and files."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from caravan.datasets.v1 import datasetio_pb2, datasetio_pb2_grpc, datasets_pb2, datasets_pb2_grpc
from services.core.provider import Provider
from services.core.redis.connection import Connection, ConnectionSettings
from services.core.server import ServiceServer
from services.core.settings import ServiceSettings
from services.post_training.datasets.assembly import DATASET_IO, DATASETS, DatasetsPart
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.storage import Storage
from services.post_training.store import connect
from tests.support.valkey import ValkeyServer

DIALOG = datasets_pb2.DATASET_FORMAT_DIALOG


class Keeper(Provider):
    """Serves data sets alone."""

    def __init__(self, part: DatasetsPart, storage: Storage, connection: Connection) -> None:
        super().__init__(provider_id="datasets", provider_type="inline::test", services=[DATASETS, DATASET_IO])
        self._part, self._storage, self._connection = part, storage, connection

    async def start(self) -> None:
        self._storage.prepare()
        await self._part.start()

    async def stop(self) -> None:
        await self._part.stop()
        await self._connection.close()


@dataclass
class Served:
    """A server, and ways to call it."""

    address: str
    storage: Storage
    part: DatasetsPart
    channel: grpc.aio.Channel

    @property
    def sets(self) -> datasets_pb2_grpc.DatasetsServiceStub:
        return datasets_pb2_grpc.DatasetsServiceStub(self.channel)

    @property
    def io(self) -> datasetio_pb2_grpc.DatasetIOServiceStub:
        return datasetio_pb2_grpc.DatasetIOServiceStub(self.channel)

    async def create(self, rows: Sequence[Any] | None = None, **fields: Any) -> datasets_pb2.Dataset:
        """Creates a data set; rows are sent as JSON texts unless a source is given."""
        request = datasets_pb2.CreateDatasetRequest(**fields)
        if rows is not None:
            texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
            request.source.rows.rows_json.extend(texts)
        return (await self.sets.CreateDataset(request)).dataset

    async def upload(
        self, content: bytes, name: str = "", *, chunk: int = 1 << 20, **head: Any
    ) -> datasets_pb2.Dataset:
        requests = [datasets_pb2.UploadDatasetRequest(head={"file_name": name, **head})]
        pieces = [content[begin : begin + chunk] for begin in range(0, len(content), chunk)]
        requests += [datasets_pb2.UploadDatasetRequest(data=piece) for piece in pieces]
        return (await self.sets.UploadDataset(iter(requests))).dataset

    async def rows(self, dataset_id: str, **fields: Any) -> list[Any]:
        """All rows, by a stream."""
        request = datasetio_pb2.StreamRowsRequest(dataset_id=dataset_id, **fields)
        return [json.loads(text) async for response in self.io.StreamRows(request) for text in response.rows_json]

    async def page(self, dataset_id: str, **fields: Any) -> datasetio_pb2.GetRowsPaginatedResponse:
        return await self.io.GetRowsPaginated(
            datasetio_pb2.GetRowsPaginatedRequest(dataset_id=dataset_id, as_json=True, **fields)
        )

    async def append(self, dataset_id: str, rows: Iterable[Any], **fields: Any) -> datasets_pb2.DatasetRevision:
        texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        request = datasetio_pb2.AppendRowsRequest(dataset_id=dataset_id, rows_json=texts, **fields)
        return (await self.io.AppendRows(request)).current

    def files(self) -> list[Path]:
        """Everything on the disk but what marks the folder."""
        places = (self.storage.datasets, self.storage.spool)
        return sorted(
            path for place in places for path in place.rglob("*") if path.is_file() and path.name != "identity"
        )


@asynccontextmanager
async def served(valkey: ValkeyServer, folder: Path, *, retry: float = 2.0, **settings: Any) -> AsyncIterator[Served]:
    storage = Storage(folder)
    connection = connect(ConnectionSettings(redis_url=valkey.url, retry_seconds=retry))
    chosen = {"allow_private_addresses": True, "import_workers": 1, **settings}
    part = DatasetsPart(
        DatasetsSettings.model_validate(chosen), storage, connection, provider_id="datasets", max_send_bytes=32 << 20
    )
    server = ServiceServer(
        ServiceSettings(drain_seconds=0.0, access_log=False), part.bindings, Keeper(part, storage, connection)
    )
    await server.start()
    try:
        await server.wait_ready()
        async with grpc.aio.insecure_channel(
            server.address, options=[("grpc.max_receive_message_length", -1)]
        ) as channel:
            yield Served(server.address, storage, part, channel)
    finally:
        await server.stop()


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    raw = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    return status_pb2.Status.FromString(raw)


@dataclass
class Refused:
    """How a call was refused."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: dict[str, str]


async def refused(call: Any) -> Refused:
    """Waits for a call that must fail."""
    try:
        result = await call
    except grpc.aio.AioRpcError as error:
        status = status_of(error)
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
        fields = {violation.field: violation.description for violation in bad.field_violations}
        return Refused(error.code(), error.details(), info.reason, fields)
    raise AssertionError(f"was not refused: {result}")


def digest_of(rows: Iterable[Any]) -> str:
    """The digest as the contract's documentation says it, written down once more."""
    digest = bytes(32)
    for row in rows:
        kept = {name: value for name, value in row.items() if value is not None}
        text = json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(digest + text.encode()).digest()
    return digest.hex()


def dialog(question: str, answer: str) -> dict[str, Any]:
    return {"dialog": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
