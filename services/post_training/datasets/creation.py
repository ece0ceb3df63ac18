"""Makes data sets: rows are brought in, checked and written; only then does the store hear of them."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from caravan.datasets.v1 import datasets_pb2
from services.core.errors import AlreadyExistsError, CaravanError, DeadlineExceededError, InvalidArgumentError
from services.post_training.datasets import importing
from services.post_training.datasets.admission import Destination, Imports
from services.post_training.datasets.idempotency import Once, reused
from services.post_training.datasets.ports import DatasetStore, Receipt, Record, Revision
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.datasets.sources import Material, Sources, recorded
from services.post_training.datasets.spooling import SpoolFile, remove_in_thread
from services.post_training.storage import Storage, new_name

_METADATA_BYTES = 65_536
_FIRST = 1

CreateRequest: TypeAlias = datasets_pb2.CreateDatasetRequest
Description: TypeAlias = datasets_pb2.CreateDatasetRequest | datasets_pb2.UploadDatasetHead


class FileDamagedError(CaravanError):
    """What arrived is not what the caller sent."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A data set that is about to be made."""

    dataset: datasets_pb2.Dataset
    """What is known of it before its rows."""
    schema: importing.SchemaFacts | None
    """Types of its columns. None: its rows tell."""
    material: Material
    """Where its rows are."""
    prefix: str
    """What stands before `rows[n]` in the paths of errors."""


class Creation:
    """Makes data sets."""

    def __init__(
        self,
        settings: DatasetsSettings,
        storage: Storage,
        store: DatasetStore,
        imports: Imports,
        *,
        provider_id: str,
    ) -> None:
        """Makes nothing yet.

        Args:
            settings: What data sets may be.
            storage: Where rows go.
            store: What is known of data sets.
            imports: Runs imports.
            provider_id: Identifier of this provider.
        """
        self._settings = settings
        self._storage = storage
        self._store = store
        self._imports = imports
        self._provider_id = provider_id
        self._once = Once(store)
        self._sources = Sources(settings, storage)

    async def create(self, request: CreateRequest) -> datasets_pb2.Dataset:
        """Makes a data set of a source; errors as the RPC's.

        Args:
            request: What to make. With `validate_only` nothing is made.
        """
        self._check(request)
        source = request.source
        if request.HasField("url"):
            source = datasets_pb2.DatasetSource(uri=request.url)
        if request.validate_only:
            return await self._from_source(request, source, None)
        async with self._once.call("CreateDataset", request.request_id, request) as (receipt, answer):
            if answer is not None:
                return datasets_pb2.Dataset.FromString(answer)
            return await self._from_source(request, source, receipt)

    async def create_from_file(self, path: Path, request: CreateRequest, file_format: int) -> datasets_pb2.Dataset:
        """Makes a data set of a file that this service has written itself; errors as the RPC's.

        Args:
            path: The file; it stays.
            request: What to make; its source does not count.
            file_format: Form of the file, a value of DatasetFileFormat.
        """
        self._check(request)
        async with self._once.call("CreateDataset", request.request_id, request) as (receipt, answer):
            if answer is not None:
                return datasets_pb2.Dataset.FromString(answer)
            material = Material("file", path, "source", file_name=path.name, file_format=file_format)
            return await self._made(self._draft(request, material, None), receipt)

    async def upload(self, requests: AsyncIterator[datasets_pb2.UploadDatasetRequest]) -> datasets_pb2.Dataset:
        """Makes a data set of a file that comes in pieces; errors as the RPC's.

        Args:
            requests: The head and the pieces.
        """
        first = await self._next(requests)
        if first is None or not first.HasField("head"):
            raise InvalidArgumentError.of("head", "must come in the first request")
        head = first.head
        self._check(head)
        path = self._storage.new_spool()
        with self._imports.admitted():
            try:
                sha256 = await self._received(requests, path)
                if head.sha256 not in ("", sha256):
                    message = f"what arrived has the SHA-256 {sha256}, not {head.sha256}: send the file again"
                    raise FileDamagedError(message, reason="FILE_DAMAGED")
                async with self._once.call("UploadDataset", head.request_id, head, sha256) as (receipt, answer):
                    if answer is not None:
                        return datasets_pb2.Dataset.FromString(answer)
                    material = Material("file", path, "data", file_name=head.file_name, file_format=head.file_format)
                    return await self._made(self._draft(head, material, None), receipt)
            finally:
                await remove_in_thread(path)

    def _check(self, request: Description) -> None:
        provider_id = request.provider_id if isinstance(request, CreateRequest) else ""
        if provider_id not in ("", self._provider_id):
            raise InvalidArgumentError.of("provider_id", f"must be {self._provider_id!r}, or empty")
        if request.metadata.ByteSize() > _METADATA_BYTES:
            raise InvalidArgumentError.of("metadata", f"must have at most {_METADATA_BYTES} bytes")
        if len(request.dataset_schema) > self._settings.max_columns:
            raise InvalidArgumentError.of("dataset_schema", f"must have at most {self._settings.max_columns} columns")
        if request.dataset_schema:
            importing.check_schema(dict(request.dataset_schema), request.format)

    async def _next(
        self, requests: AsyncIterator[datasets_pb2.UploadDatasetRequest]
    ) -> datasets_pb2.UploadDatasetRequest | None:
        seconds = self._settings.upload_idle_seconds
        try:
            async with asyncio.timeout(seconds):
                return await anext(requests, None)
        except TimeoutError as error:
            message = f"the upload stood still for {seconds:g} s (datasets.upload_idle_seconds); send the file again"
            raise DeadlineExceededError(message, reason="UPLOAD_IDLE") from error

    async def _received(self, requests: AsyncIterator[datasets_pb2.UploadDatasetRequest], path: Path) -> str:
        """Writes the pieces to a file; returns its SHA-256."""
        async with SpoolFile(path, self._settings.max_bytes) as spool:
            while (request := await self._next(requests)) is not None:
                if request.HasField("head"):
                    raise InvalidArgumentError.of("head", "must come once, in the first request")
                await spool.write(request.data)
            await spool.flush()
            return spool.sha256

    async def _from_source(
        self, request: CreateRequest, source: datasets_pb2.DatasetSource, receipt: Receipt | None
    ) -> datasets_pb2.Dataset:
        with self._imports.admitted():
            async with self._sources.brought(source) as material:
                return await self._made(self._draft(request, material, source), receipt)

    def _draft(self, request: Description, material: Material, source: datasets_pb2.DatasetSource | None) -> _Draft:
        dataset_id = request.dataset_id or new_name()
        provider_dataset_id = request.provider_dataset_id if isinstance(request, CreateRequest) else ""
        dataset = datasets_pb2.Dataset(
            dataset_id=dataset_id,
            provider_id=self._provider_id,
            provider_dataset_id=provider_dataset_id or dataset_id,
            format=request.format,
            metadata=request.metadata if request.HasField("metadata") else None,
            source=source,
        )
        schema = importing.facts_of(dict(request.dataset_schema)) if request.dataset_schema else None
        return _Draft(dataset, schema, material, "source." if source is not None else "")

    async def _made(self, draft: _Draft, receipt: Receipt | None) -> datasets_pb2.Dataset:
        """Writes the rows and tells the store; without a receipt, only sees whether that would go."""
        folder, segment = new_name(), new_name()
        place = self._storage.dataset(folder)
        try:
            to = Destination(place, segment, draft.dataset.format, draft.schema, draft.prefix)
            imported = await self._imports.run(draft.material, to)
            record = self._record(draft, imported, folder, segment)
            if receipt is None:
                return await self._checked(record)
        except BaseException:
            await remove_in_thread(place)
            raise
        # From here on nobody may know whether the store has heard of the files: when it has not, they are swept.
        answer = record.message()
        kept = answer.SerializeToString()
        created = await self._store.create(record, receipt, kept)
        # The very answer again: the store had taken it already, and what it said was lost on the way.
        if created.outcome == "created" or created.answer == kept:
            return answer
        await remove_in_thread(place)
        match created.outcome:
            case "repeated":
                return datasets_pb2.Dataset.FromString(created.answer)
            case "same":
                assert created.record is not None
                return created.record.message()
            case "taken":
                raise _taken(record.dataset.dataset_id)
            case _:
                raise reused()

    def _record(self, draft: _Draft, imported: importing.Imported, folder: str, segment: str) -> Record:
        now = time.time_ns() // 1000
        dataset = datasets_pb2.Dataset()
        dataset.CopyFrom(draft.dataset)
        for name, column in importing.schema_of(imported.schema).items():
            dataset.dataset_schema[name].CopyFrom(column)
        if draft.dataset.HasField("source"):
            dataset.source.CopyFrom(recorded(draft.dataset.source, imported.commit))
            if dataset.source.HasField("uri"):
                dataset.url.CopyFrom(dataset.source.uri)
        about = dataset.SerializeToString(deterministic=True) + bytes.fromhex(imported.sha256)
        dataset.created_at.FromMicroseconds(now)
        revision = Revision(_FIRST, now, segment, imported.rows, imported.bytes, imported.sha256)
        return Record(dataset, folder, hashlib.sha256(about).hexdigest(), revision)

    async def _checked(self, record: Record) -> datasets_pb2.Dataset:
        """Returns what would be made, and removes what was written to find out."""
        there = await self._store.find(record.dataset.dataset_id)
        if there is not None and there.fingerprint != record.fingerprint:
            raise _taken(record.dataset.dataset_id)
        await remove_in_thread(self._storage.dataset(record.folder))
        shown = record.message()
        shown.ClearField("created_at")
        shown.current.ClearField("created_at")
        return shown


def _taken(dataset_id: str) -> AlreadyExistsError:
    message = f"there is a different data set {dataset_id!r}: choose another identifier, or delete that one first"
    return AlreadyExistsError(message, resource_type="dataset", resource_name=dataset_id)
