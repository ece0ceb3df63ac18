"""What putting results into service needs of the world: the models that there are, and one answer."""

from collections.abc import Sequence
from typing import Protocol

from caravan.inference.v1 import inference_pb2
from caravan.registry.v1 import models_pb2


class Models(Protocol):
    """The models that can be requested."""

    async def find(self, model_id: str) -> models_pb2.Model | None:
        """Returns a model; None: there is none of this name."""

    async def every(self) -> Sequence[models_pb2.Model]:
        """Returns all models."""

    async def register(self, request: models_pb2.RegisterModelRequest) -> models_pb2.Model:
        """Registers a model; it can be requested then. The same registration again is no error.

        Raises:
            CaravanError: It cannot be registered.
        """

    async def unregister(self, model_id: str, revision: int) -> None:
        """Takes a registration out; one that is gone, or has become another, is left as it is."""


class Chat(Protocol):
    """Models that answer."""

    async def answer(
        self, request: inference_pb2.ChatCompletionRequest, seconds: float
    ) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation.

        Args:
            request: The conversation.
            seconds: Longest time that it may take.

        Raises:
            CaravanError: The model does not answer.
        """


class Converter(Protocol):
    """Makes plain adapters of DoRA adapters."""

    async def convert(self, adapter: str, base: str, out: str, max_rank: int) -> None:
        """Writes a plain adapter.

        Args:
            adapter: Folder of the DoRA adapter.
            base: Folder of the base model.
            out: Folder to write.
            max_rank: Highest rank that it may have.

        Raises:
            CaravanError: It cannot.
        """
