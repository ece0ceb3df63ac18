"""The port between the inference domain and what generates: one method an RPC, messages in and out."""

from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import TypeAlias

from caravan.inference.v1 import inference_pb2
from caravan.registry.v1 import models_pb2
from services.core.errors import FailedPreconditionError
from services.core.provider import Provider
from services.inference.models import ModelTable

CompletionRequest: TypeAlias = inference_pb2.CompletionRequest | inference_pb2.StreamCompletionRequest
ChatRequest: TypeAlias = inference_pb2.ChatCompletionRequest | inference_pb2.StreamChatCompletionRequest


class InferenceProvider(Provider):
    """What an adapter implements. Unary and streamed requests share their fields, so both come through the same names.

    Requests are valid by the contract's rules when they arrive here; `model_id` is a name of `models`. Every method raises
    `services.core.errors` only. Cancelling the awaiting task stops generation at once.
    """

    models: ModelTable

    @abstractmethod
    async def completion(self, request: CompletionRequest) -> inference_pb2.CompletionResponse:
        """Continues a text."""

    @abstractmethod
    def stream_completion(
        self, request: inference_pb2.StreamCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
        """Continues a text, piece by piece; the last piece alone carries stop reason and metrics."""

    @abstractmethod
    async def chat_completion(self, request: ChatRequest) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation."""

    @abstractmethod
    def stream_chat_completion(
        self, request: inference_pb2.StreamChatCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamChatCompletionResponse]:
        """Answers a conversation: one start, any number of progress, one complete."""

    @abstractmethod
    async def embeddings(self, request: inference_pb2.EmbeddingsRequest) -> inference_pb2.EmbeddingsResponse:
        """Turns contents into vectors."""

    async def score_answers(self, request: inference_pb2.ScoreAnswersRequest) -> inference_pb2.ScoreAnswersResponse:
        """Scores answers by a reward model; refuses where the adapter serves none."""
        self.models.require(request.model_id, models_pb2.MODEL_TYPE_REWARD)
        raise FailedPreconditionError(
            f"provider {self.provider_id} ({self.provider_type}) serves no reward models; serve {request.model_id!r} by inline::vllm",
            reason="WRONG_MODEL_TYPE",
        )


def refuse(operation: str, model_id: str, serves: str) -> FailedPreconditionError:
    """The error for an operation that this provider never does.

    Args:
        operation: What was asked for, for instance `Embeddings`.
        model_id: The model that was named.
        serves: What the provider does instead, for instance `text generation`.
    """
    return FailedPreconditionError(
        f"model {model_id!r} serves {serves}, not {operation}; list the models with ListModels and choose one of the right type",
        reason="WRONG_MODEL_TYPE",
    )
