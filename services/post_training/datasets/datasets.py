"""Data sets, as other parts of the service and the gRPC edge see them."""

from collections.abc import AsyncIterator
from pathlib import Path

from caravan.datasets.v1 import datasetio_pb2, datasets_pb2
from services.core.errors import FailedPreconditionError
from services.core.paging import last_of, page_size, token_after
from services.post_training.datasets.appending import Appending, no_dataset, stale
from services.post_training.datasets.creation import Creation
from services.post_training.datasets.idempotency import Once, reused
from services.post_training.datasets.ports import DatasetStore, Record
from services.post_training.datasets.reading import Reading, RowsBatch, RowsFiles
from services.post_training.datasets.spooling import remove_in_thread
from services.post_training.storage import Storage

_BATCH = 100
_PAGE_BYTES = 3 << 20


class Datasets:
    """All data sets of this provider. Every method raises CaravanErrors only."""

    def __init__(
        self, storage: Storage, store: DatasetStore, creation: Creation, appending: Appending, reading: Reading
    ) -> None:
        """Puts the parts together.

        Args:
            storage: Where rows are.
            store: What is known of data sets.
            creation: Makes data sets.
            appending: Adds rows.
            reading: Reads rows.
        """
        self._storage = storage
        self._store = store
        self._creation = creation
        self._appending = appending
        self._reading = reading
        self._once = Once(store)

    async def create(self, request: datasets_pb2.CreateDatasetRequest) -> datasets_pb2.Dataset:
        """Makes a data set of a source; see Creation."""
        return await self._creation.create(request)

    async def create_from_file(
        self,
        path: Path,
        request: datasets_pb2.CreateDatasetRequest,
        file_format: int = datasets_pb2.DATASET_FILE_FORMAT_JSONL,
    ) -> datasets_pb2.Dataset:
        """Makes a data set of a file that this service has written itself; see Creation."""
        return await self._creation.create_from_file(path, request, file_format)

    async def upload(self, requests: AsyncIterator[datasets_pb2.UploadDatasetRequest]) -> datasets_pb2.Dataset:
        """Makes a data set of a file that comes in pieces; see Creation."""
        return await self._creation.upload(requests)

    async def get(self, dataset_id: str) -> datasets_pb2.Dataset:
        """Gets a data set.

        Args:
            dataset_id: Its identifier.

        Raises:
            NotFoundError: There is none.
            UnavailableError: The store does not answer.
        """
        return (await self._record(dataset_id)).message()

    async def list(self, request: datasets_pb2.ListDatasetsRequest) -> datasets_pb2.ListDatasetsResponse:
        """Lists data sets; errors as the RPC's.

        Args:
            request: Which, and which page.
        """
        listing = ("datasets", int(request.format))
        (after,) = last_of(request.page_token, listing, str) or [""]
        most = page_size(request)
        response, room = datasets_pb2.ListDatasetsResponse(), _PAGE_BYTES
        while True:
            records = await self._store.list(request.format, after, _BATCH)
            for record in records:
                shown = record.message()
                room -= shown.ByteSize()
                if response.data and (room < 0 or len(response.data) >= most):
                    response.next_page_token = token_after(listing, after)
                    return response
                response.data.append(shown)
                after = shown.dataset_id
            if len(records) < _BATCH:
                return response

    async def delete(self, request: datasets_pb2.DeleteDatasetRequest) -> None:
        """Deletes a data set with its rows; errors as the RPC's.

        Args:
            request: Which.
        """
        revision = request.revision if request.HasField("revision") else None
        async with self._once.call("DeleteDataset", request.request_id, request) as (receipt, answer):
            while answer is None:
                record = await self._record(request.dataset_id)
                deleted = await self._store.delete(record, revision, receipt)
                match deleted.outcome:
                    case "deleted":
                        await remove_in_thread(self._storage.dataset(record.folder))
                        return
                    case "repeated":
                        return
                    case "stale":
                        raise stale(request.dataset_id, int(deleted.detail))
                    case "used":
                        message = f"job {deleted.detail!r} uses data set {request.dataset_id!r}: wait for its end, or cancel it"
                        raise FailedPreconditionError(
                            message, reason="DATASET_IN_USE", metadata={"job_uuid": deleted.detail}
                        )
                    case "reused":
                        raise reused()
                    case "absent":
                        # Gone, or another of the same name by now.
                        continue

    async def revisions(
        self, request: datasets_pb2.ListDatasetRevisionsRequest
    ) -> datasets_pb2.ListDatasetRevisionsResponse:
        """Lists revisions, newest first; errors as the RPC's.

        Args:
            request: Of which data set, and which page.
        """
        record = await self._record(request.dataset_id)
        listing = ("revisions", record.folder)
        last = record.current.number
        if request.page_token:
            last = min(last, *last_of(request.page_token, listing, int))
        first = max(1, last - page_size(request) + 1)
        found = await self._store.revisions(record, first, last)
        if found is None:
            raise no_dataset(request.dataset_id)
        response = datasets_pb2.ListDatasetRevisionsResponse(data=[revision.message() for revision in reversed(found)])
        if first > 1:
            response.next_page_token = token_after(listing, first - 1)
        return response

    async def append(self, request: datasetio_pb2.AppendRowsRequest) -> datasets_pb2.DatasetRevision:
        """Adds rows; see Appending."""
        return await self._appending.append(request)

    async def page(self, request: datasetio_pb2.GetRowsPaginatedRequest) -> datasetio_pb2.GetRowsPaginatedResponse:
        """Reads a page of rows; see Reading."""
        return await self._reading.page(request)

    def rows(
        self, dataset_id: str, revision: int | None = None, from_row: int = 0, limit: int = 0
    ) -> AsyncIterator[RowsBatch]:
        """Yields rows; see Reading."""
        return self._reading.rows(dataset_id, revision, from_row, limit)

    async def rows_file(self, dataset_id: str, revision: int | None = None) -> RowsFiles:
        """Returns the files of a revision's rows, for a process that reads them without the service; see Reading."""
        return await self._reading.files(dataset_id, revision)

    async def _record(self, dataset_id: str) -> Record:
        record = await self._store.find(dataset_id)
        if record is None:
            raise no_dataset(dataset_id)
        return record
