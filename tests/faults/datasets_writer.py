"""A process that makes and grows data sets until it is killed, and says what was acknowledged."""

import asyncio
import sys
from pathlib import Path

from caravan.datasets.v1 import datasetio_pb2, datasets_pb2
from services.core.redis.connection import ConnectionSettings
from services.post_training.datasets.assembly import DatasetsPart
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.storage import Storage
from services.post_training.store import connect


def row(number: int) -> str:
    return f'{{"n":{number},"text":"{"x" * (number % 50)}"}}'


async def write(redis_url: str, folder: Path, name: str) -> None:
    storage = Storage(folder)
    storage.prepare()
    connection = connect(ConnectionSettings(redis_url=redis_url, retry_seconds=20.0))
    part = DatasetsPart(
        DatasetsSettings(import_workers=1), storage, connection, provider_id="writer", max_send_bytes=1 << 22
    )
    source = datasets_pb2.DatasetSource(rows=datasets_pb2.InlineRows(rows_json=[row(0)]))
    print(f"trying {name} 1", flush=True)
    await part.datasets.create(datasets_pb2.CreateDatasetRequest(dataset_id=name, source=source))
    revision = 1
    while True:
        print(f"done {name} {revision}", flush=True)
        revision += 1
        texts = [row(revision * 1000 + place) for place in range(revision % 7 + 1)]
        request = datasetio_pb2.AppendRowsRequest(dataset_id=name, rows_json=texts, request_id=f"{name}-{revision}")
        current = await part.datasets.append(request)
        assert current.revision == revision, current


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
