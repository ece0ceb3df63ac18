"""Adds rows to data sets: checked against the schema, written as a segment of their own, and then a new revision."""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

from caravan.datasets.v1 import datasetio_pb2, datasets_pb2
from services.core.errors import AbortedError, NotFoundError, ResourceExhaustedError
from services.core.keyed_locks import KeyedLocks
from services.post_training.datasets import importing, segments
from services.post_training.datasets.admission import Destination, Imports
from services.post_training.datasets.idempotency import Once, reused
from services.post_training.datasets.ports import DatasetStore, Receipt, Record, Revision
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.datasets.sources import Material
from services.post_training.datasets.spooling import in_thread
from services.post_training.storage import Storage, new_name

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Written:
    """Rows that are written and wait for their revision."""

    segment: str
    """The segment."""
    imported: importing.Imported
    """What is in it."""
    base: str
    """Digest that theirs goes on from."""


class Appending:
    """Adds rows to data sets."""

    def __init__(self, settings: DatasetsSettings, storage: Storage, store: DatasetStore, imports: Imports) -> None:
        """Adds nothing yet.

        Args:
            settings: What data sets may be.
            storage: Where rows go.
            store: What is known of data sets.
            imports: Runs imports.
        """
        self._settings = settings
        self._storage = storage
        self._store = store
        self._imports = imports
        self._once = Once(store)
        self._locks = KeyedLocks()

    async def append(self, request: datasetio_pb2.AppendRowsRequest) -> datasets_pb2.DatasetRevision:
        """Adds rows, all or none; errors as the RPC's.

        Args:
            request: The rows and the data set.
        """
        async with self._once.call("AppendRows", request.request_id, request) as (receipt, answer):
            if answer is not None:
                return datasets_pb2.DatasetRevision.FromString(answer)
            record = await self._found(request)
            written = await self._write(request, record)
            async with self._locks.held(request.dataset_id):
                return await self._commit(request, record.folder, written, receipt)

    async def _found(self, request: datasetio_pb2.AppendRowsRequest, folder: str = "") -> Record:
        record = await self._store.find(request.dataset_id)
        if record is None or folder not in ("", record.folder):
            raise no_dataset(request.dataset_id)
        if request.HasField("revision") and request.revision != record.current.number:
            raise stale(request.dataset_id, record.current.number)
        return record

    async def _write(self, request: datasetio_pb2.AppendRowsRequest, record: Record) -> _Written:
        current, segment = record.current, new_name()
        folder = self._storage.dataset(record.folder)
        to = Destination(
            folder,
            segment,
            record.dataset.format,
            importing.facts_of(dict(record.dataset.dataset_schema)),
            row_count=current.row_count,
            size_bytes=current.size_bytes,
            sha256=current.sha256,
        )
        try:
            content = await in_thread(request.SerializeToString)
            imported = await self._imports.run(Material("append_request", Path(), "rows", content), to)
        except BaseException:
            await in_thread(segments.discard, folder, segment)
            raise
        return _Written(segment, imported, current.sha256)

    async def _commit(
        self, request: datasetio_pb2.AppendRowsRequest, folder: str, written: _Written, receipt: Receipt
    ) -> datasets_pb2.DatasetRevision:
        place = self._storage.dataset(folder)
        for attempt in range(_ATTEMPTS):
            try:
                record = await self._found(request, folder)
                revision = await self._revision(record, written)
            except BaseException:
                await in_thread(segments.discard, place, written.segment)
                raise
            answer = revision.message()
            kept = answer.SerializeToString()
            # When this fails, nobody knows whether the store has heard of the segment: if not, it is swept.
            appended = await self._store.append(record, revision, receipt, kept)
            # The very answer again: the store had taken the segment already, and what it said was lost on the way.
            if appended.outcome == "appended" or appended.answer == kept:
                return answer
            if appended.outcome == "stale" and not request.HasField("revision"):
                # Another replica was faster.
                await asyncio.sleep(_PAUSE_SECONDS * random.uniform(0, attempt + 1))  # noqa: S311 - spreads retries
                continue
            await in_thread(segments.discard, place, written.segment)
            match appended.outcome:
                case "repeated":
                    return datasets_pb2.DatasetRevision.FromString(appended.answer)
                case "stale":
                    raise stale(request.dataset_id, appended.current)
                case "absent":
                    raise no_dataset(request.dataset_id)
                case _:
                    raise reused()
        await in_thread(segments.discard, place, written.segment)
        message = f"too many others append to {request.dataset_id!r} at the same time; try again"
        raise AbortedError(message, reason="TOO_MANY_APPENDS")

    async def _revision(self, record: Record, written: _Written) -> Revision:
        """Returns the revision that follows the data set's newest one."""
        settings, current, imported = self._settings, record.current, written.imported
        rows, size = current.row_count + imported.rows, current.size_bytes + imported.bytes
        if rows > settings.max_rows or size > settings.max_bytes or current.number >= settings.max_revisions:
            message = (
                f"the data set would have {rows} rows, {size} bytes and {current.number + 1} revisions; at most "
                f"{settings.max_rows}, {settings.max_bytes} and {settings.max_revisions} are allowed: make another one"
            )
            raise ResourceExhaustedError(message, subject="datasets.max_rows", reason="DATASET_TOO_LARGE")
        sha256 = imported.sha256
        if current.sha256 != written.base:
            place = self._storage.dataset(record.folder)
            sha256 = await in_thread(importing.refolded, place, written.segment, current.sha256)
        return Revision(current.number + 1, time.time_ns() // 1000, written.segment, rows, size, sha256)


def no_dataset(dataset_id: str) -> NotFoundError:
    """Returns the error for a data set that does not exist."""
    message = f"there is no data set {dataset_id!r}; ListDatasets names those that there are"
    return NotFoundError(message, resource_type="dataset", resource_name=dataset_id)


def stale(dataset_id: str, current: int) -> AbortedError:
    """Returns the error for a data set that has another revision."""
    message = f"data set {dataset_id!r} has revision {current} now: read again and decide again"
    return AbortedError(message, reason="STALE_REVISION", metadata={"revision": str(current)})
