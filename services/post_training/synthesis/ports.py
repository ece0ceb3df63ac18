"""What making data needs of the world: models, data sets, jobs, and a memory of calls that come again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from caravan.datasets.v1 import datasets_pb2
from caravan.inference.v1 import inference_pb2
from caravan.registry.v1 import models_pb2
from caravan.synthetic_data.v1 import synthetic_data_pb2


class Models(Protocol):
    """The models that can be requested."""

    async def find(self, model_id: str) -> models_pb2.Model | None:
        """Returns a model; None: there is none of this name."""


class Chat(Protocol):
    """Models that answer."""

    async def answer(
        self, request: inference_pb2.ChatCompletionRequest, seconds: float
    ) -> inference_pb2.ChatCompletionResponse:
        """Answers a dialog within so many seconds.

        Raises:
            CaravanError: The model refuses the dialog, or does not answer.
        """


class RewardModels(Protocol):
    """Models that score answers."""

    async def score(self, request: inference_pb2.ScoreAnswersRequest) -> inference_pb2.ScoreAnswersResponse:
        """Scores the answers to one dialog.

        Raises:
            CaravanError: The model refuses an answer, or does not answer.
        """


class Rows(Protocol):
    """Some rows of a data set."""

    @property
    def first_row(self) -> int:
        """Number of the first of them."""

    @property
    def texts(self) -> Sequence[str]:
        """Their JSON texts."""


class Datasets(Protocol):
    """Data sets."""

    async def get(self, dataset_id: str) -> datasets_pb2.Dataset:
        """Gets a data set.

        Raises:
            NotFoundError: There is none.
        """

    def rows(
        self, dataset_id: str, revision: int | None = None, from_row: int = 0, limit: int = 0
    ) -> AsyncIterator[Rows]:
        """Yields the rows of a revision."""

    async def create_from_file(self, path: Path, request: datasets_pb2.CreateDatasetRequest) -> datasets_pb2.Dataset:
        """Makes a data set of a file of JSON lines; again under the same request id, it is the same data set.

        Raises:
            AlreadyExistsError: There is another one of the name.
        """


class Jobs(Protocol):
    """Jobs that make data."""

    async def start_generation(
        self, request: synthetic_data_pb2.StartGenerationRequest, check: Callable[[], Awaitable[None]]
    ) -> str:
        """Creates a job, or finds the one that the same call has created, and returns its identifier.

        Args:
            request: What is asked for.
            check: Makes sure that it can be done; called when there is no such job yet.
        """


class Calls(Protocol):
    """Calls that may come again."""

    def folder(self, rpc: str, request_id: str, digest: str) -> AbstractAsyncContextManager[Path]:
        """A folder for a call: the same one when the call comes again, for nobody else as long as it is held.

        Args:
            rpc: Name of the RPC.
            request_id: The caller's. Empty: the call does not come again, and the folder goes when it is left.
            digest: Of what the call asks for.

        Raises:
            InvalidArgumentError: The request id was used for something else.
        """
