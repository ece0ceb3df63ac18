"""Data sets and their rows."""

import json
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Unpack

from caravan import rows as built
from caravan._async.calls import AsyncCalls
from caravan.datasets.v1 import datasetio_pb2, datasets_pb2
from caravan.rows import DatasetParameters, SourceParameters


class AsyncDatasets:
    """`DatasetsService` and `DatasetIOService` of `caravan.datasets.v1`."""

    def __init__(self, calls: AsyncCalls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    async def create(
        self,
        dataset_id: str = "",
        rows: Iterable[Mapping[str, Any] | str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        **parameters: Unpack[SourceParameters],
    ) -> datasets_pb2.Dataset:
        """Makes a data set of rows, an address, a file of the service's or a Hugging Face data set; give one of them.

            client.datasets.create("greetings", [{"prompt": "Say hello."}], format="prompt")

        Args:
            dataset_id: Identifier. Default: the service makes one.
            rows: The rows, as mappings or JSON texts.
            timeout: Seconds until the call fails. Default: the client's.
            **parameters: `url`, `file`, `huggingface`, `schema`, `format`, `metadata`, ...; see SourceParameters.

        Raises:
            InvalidArgumentError: Rows do not fit; `violations` tells which, as in `source.rows[17].dialog`.
            AlreadyExistsError: There is a different data set of this name.
        """
        request = built.create_request(dataset_id, rows, parameters)
        return (await self._calls.unary(request, datasets_pb2.CreateDatasetResponse, timeout)).dataset

    async def upload(
        self,
        path: str | Path,
        dataset_id: str = "",
        *,
        sha256: str = "",
        sent: Callable[[int], object] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        **parameters: Unpack[DatasetParameters],
    ) -> datasets_pb2.Dataset:
        """Makes a data set of a file here, which is read as it is sent.

            client.datasets.upload("dialogs.jsonl", "dialogs", format="dialog")

        Args:
            path: The file.
            dataset_id: Identifier. Default: the service makes one.
            sha256: Of the file, in hexadecimal (`caravan.rows.file_sha256`): what arrives is compared with it. Default: it is not.
            sent: Called with the number of bytes that were sent so far, about.
            timeout: Seconds until the call fails. Default: never.
            **parameters: `file_format`, `schema`, `format`, `metadata`, `request_id`; see DatasetParameters.

        Raises:
            InvalidInputError: There is no such file.
            InvalidArgumentError: Rows do not fit; `violations` tells which, as in `rows[17].dialog`.
            AlreadyExistsError: There is a different data set of this name.
        """
        place = Path(path)
        responses = self._calls.exchange(
            built.upload_head(place, dataset_id, sha256, parameters),
            built.file_requests(place, sent),
            datasets_pb2.UploadDatasetResponse,
            timeout=float("inf") if timeout is None else timeout,
        )
        made = datasets_pb2.Dataset()
        async with aclosing(responses):
            async for response in responses:
                made = response.dataset
        return made

    async def get(self, dataset_id: str) -> datasets_pb2.Dataset:
        """Gets a data set.

        Args:
            dataset_id: Its identifier.

        Raises:
            NotFoundError: There is none.
        """
        request = datasets_pb2.GetDatasetRequest(dataset_id=dataset_id)
        return (await self._calls.unary(request, datasets_pb2.GetDatasetResponse)).dataset

    def list(self, *, format: str | None = None) -> AsyncGenerator[datasets_pb2.Dataset, None]:  # noqa: A002
        """Yields the data sets in the order of their identifiers.

        Args:
            format: Only those of this format.
        """
        wanted = built.dataset_format(format)
        return self._calls.entries(
            lambda token: datasets_pb2.ListDatasetsRequest(page_token=token, format=wanted),
            datasets_pb2.ListDatasetsResponse,
        )

    def revisions(self, dataset_id: str) -> AsyncGenerator[datasets_pb2.DatasetRevision, None]:
        """Yields the revisions of a data set, newest first.

        Args:
            dataset_id: The data set.
        """
        return self._calls.entries(
            lambda token: datasets_pb2.ListDatasetRevisionsRequest(dataset_id=dataset_id, page_token=token),
            datasets_pb2.ListDatasetRevisionsResponse,
        )

    async def delete(self, dataset_id: str, *, revision: int | None = None) -> None:
        """Deletes a data set with all its revisions.

        Args:
            dataset_id: The data set.
            revision: Refuse (AbortedError) unless it still has this revision.

        Raises:
            FailedPreconditionError: A job uses it.
        """
        request = datasets_pb2.DeleteDatasetRequest(
            dataset_id=dataset_id, revision=revision, request_id=uuid.uuid4().hex
        )
        await self._calls.unary(request, datasets_pb2.DeleteDatasetResponse)

    async def rows(
        self, dataset_id: str, *, revision: int | None = None, from_row: int = 0, limit: int = 0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yields rows, as fast as they are taken.

        Args:
            dataset_id: The data set.
            revision: Revision to read. Default: the newest.
            from_row: Number of the first row, from 0.
            limit: Most rows. 0: all.
        """
        request = datasetio_pb2.StreamRowsRequest(
            dataset_id=dataset_id, revision=revision, from_row=from_row, limit=limit
        )
        responses = self._calls.stream(request, datasetio_pb2.StreamRowsResponse, timeout=float("inf"))
        async with aclosing(responses):
            async for response in responses:
                for text in response.rows_json:
                    yield json.loads(text)

    async def page(
        self,
        dataset_id: str,
        *,
        rows_in_page: int = 0,
        page_token: str = "",
        filter: str = "",  # noqa: A002
        revision: int | None = None,
    ) -> datasetio_pb2.GetRowsPaginatedResponse:
        """Gets a page of rows; `rows_json` has them as JSON texts.

        Args:
            dataset_id: The data set.
            rows_in_page: Most rows. 0: 100; -1: as many as fit into one message.
            page_token: `next_page_token` of the page before.
            filter: Only rows that fit, for instance `label == "x" and length > 3`.
            revision: Revision to read. Default: the newest; the pages of one listing are of the same.
        """
        request = datasetio_pb2.GetRowsPaginatedRequest(
            dataset_id=dataset_id,
            rows_in_page=rows_in_page,
            page_token=page_token,
            filter_condition=filter,
            revision=revision,
            as_json=True,
        )
        return await self._calls.unary(request, datasetio_pb2.GetRowsPaginatedResponse)

    async def append(
        self,
        dataset_id: str,
        rows: Sequence[Mapping[str, Any] | str],
        *,
        revision: int | None = None,
        request_id: str | None = None,
    ) -> datasets_pb2.DatasetRevision:
        """Appends rows, all or none, which makes a new revision.

        Args:
            dataset_id: The data set.
            rows: The rows, at most 10,000.
            revision: Refuse (AbortedError) unless the data set still has this revision.
            request_id: Makes a repeated call return the first one's result. Default: a new one.
        """
        request = datasetio_pb2.AppendRowsRequest(
            dataset_id=dataset_id,
            rows_json=built.texts(rows),
            revision=revision,
            request_id=request_id or uuid.uuid4().hex,
        )
        return (await self._calls.unary(request, datasetio_pb2.AppendRowsResponse)).current
