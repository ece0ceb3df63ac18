"""The gRPC edge of data sets."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from caravan.datasets.v1 import datasetio_pb2, datasetio_pb2_grpc, datasets_pb2, datasets_pb2_grpc
from services.core.status import DETAILS_KEY, status_of
from services.post_training.datasets.creation import FileDamagedError
from services.post_training.datasets.datasets import Datasets

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class DatasetsServicer(datasets_pb2_grpc.DatasetsServiceServicer):
    """Data sets."""

    def __init__(self, datasets: Datasets) -> None:
        """Serves the domain; see the class."""
        self._datasets = datasets

    async def CreateDataset(
        self, request: datasets_pb2.CreateDatasetRequest, context: Context
    ) -> datasets_pb2.CreateDatasetResponse:
        """Makes a data set of a source."""
        return datasets_pb2.CreateDatasetResponse(dataset=await self._datasets.create(request))

    async def UploadDataset(
        self, request_iterator: AsyncIterator[datasets_pb2.UploadDatasetRequest], context: Context
    ) -> datasets_pb2.UploadDatasetResponse:
        """Makes a data set of a file that comes in pieces."""
        try:
            dataset = await self._datasets.upload(aiter(request_iterator))
        except FileDamagedError as error:
            await _abort_with_data_loss(context, error)
            raise
        return datasets_pb2.UploadDatasetResponse(dataset=dataset)

    async def GetDataset(
        self, request: datasets_pb2.GetDatasetRequest, context: Context
    ) -> datasets_pb2.GetDatasetResponse:
        """Gets one data set."""
        return datasets_pb2.GetDatasetResponse(dataset=await self._datasets.get(request.dataset_id))

    async def ListDatasets(
        self, request: datasets_pb2.ListDatasetsRequest, context: Context
    ) -> datasets_pb2.ListDatasetsResponse:
        """Lists the data sets."""
        return await self._datasets.list(request)

    async def DeleteDataset(
        self, request: datasets_pb2.DeleteDatasetRequest, context: Context
    ) -> datasets_pb2.DeleteDatasetResponse:
        """Deletes a data set."""
        await self._datasets.delete(request)
        return datasets_pb2.DeleteDatasetResponse()

    async def ListDatasetRevisions(
        self, request: datasets_pb2.ListDatasetRevisionsRequest, context: Context
    ) -> datasets_pb2.ListDatasetRevisionsResponse:
        """Lists a data set's revisions."""
        return await self._datasets.revisions(request)


class DatasetIOServicer(datasetio_pb2_grpc.DatasetIOServiceServicer):
    """Rows of data sets."""

    def __init__(self, datasets: Datasets) -> None:
        """Serves the domain; see the class."""
        self._datasets = datasets

    async def GetRowsPaginated(
        self, request: datasetio_pb2.GetRowsPaginatedRequest, context: Context
    ) -> datasetio_pb2.GetRowsPaginatedResponse:
        """Gets a page of rows."""
        return await self._datasets.page(request)

    async def StreamRows(
        self, request: datasetio_pb2.StreamRowsRequest, context: Context
    ) -> AsyncIterator[datasetio_pb2.StreamRowsResponse]:
        """Streams rows, as fast as the reader takes them."""
        revision = request.revision if request.HasField("revision") else None
        async for batch in self._datasets.rows(request.dataset_id, revision, request.from_row, request.limit):
            yield datasetio_pb2.StreamRowsResponse(
                rows_json=batch.texts, first_row=batch.first_row, revision=batch.revision
            )

    async def AppendRows(
        self, request: datasetio_pb2.AppendRowsRequest, context: Context
    ) -> datasetio_pb2.AppendRowsResponse:
        """Adds rows."""
        return datasetio_pb2.AppendRowsResponse(current=await self._datasets.append(request))


async def _abort_with_data_loss(context: Context, error: FileDamagedError) -> None:
    """Ends a call with DATA_LOSS, which no error of the core's stands for."""
    status = status_of(error)
    status.code = grpc.StatusCode.DATA_LOSS.value[0]
    trailing = tuple(context.trailing_metadata() or ())
    await context.abort(
        grpc.StatusCode.DATA_LOSS, status.message, (*trailing, (DETAILS_KEY, status.SerializeToString()))
    )
