"""The gRPC edge of the inference service."""

import time
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from services.inference.batch import run_all, split_chats, split_completions
from services.inference.ports import InferenceProvider
from services.inference.shields import AlwaysOn, Generator
from services.inference.telemetry import CallMetrics

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """Hands each call to the provider."""

    def __init__(self, provider: InferenceProvider, batch_concurrency: int, always_on: AlwaysOn | None = None) -> None:
        """Serves one provider.

        Args:
            provider: What generates.
            batch_concurrency: Most calls that one batch runs at a time.
            always_on: The shields that guard its models. None: there are none.
        """
        self._always_on = always_on
        self._provider = provider
        self._batch_concurrency = batch_concurrency
        self._metrics = CallMetrics()

    async def Completion(
        self, request: inference_pb2.CompletionRequest, context: Context
    ) -> inference_pb2.CompletionResponse:
        """Continues a text."""
        started = time.monotonic()
        response = await self._generator(request.model_id, context).completion(request)
        self._metrics.finished(request.model_id, started, response.metrics)
        return response

    def StreamCompletion(
        self, request: inference_pb2.StreamCompletionRequest, context: Context
    ) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
        """Continues a text and streams it."""
        return self._metrics.watch(
            request.model_id, self._generator(request.model_id, context).stream_completion(request)
        )

    async def ChatCompletion(
        self, request: inference_pb2.ChatCompletionRequest, context: Context
    ) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation."""
        started = time.monotonic()
        response = await self._generator(request.model_id, context).chat_completion(request)
        self._metrics.finished(request.model_id, started, response.metrics)
        return response

    def StreamChatCompletion(
        self, request: inference_pb2.StreamChatCompletionRequest, context: Context
    ) -> AsyncIterator[inference_pb2.StreamChatCompletionResponse]:
        """Answers a conversation and streams the answer."""
        return self._metrics.watch(
            request.model_id, self._generator(request.model_id, context).stream_chat_completion(request)
        )

    async def BatchCompletion(
        self, request: inference_pb2.BatchCompletionRequest, context: Context
    ) -> inference_pb2.BatchCompletionResponse:
        """Continues several texts."""
        answers = await run_all(
            self._generator(request.model_id, context).completion,
            split_completions(request),
            at_once=self._batch_concurrency,
            member="content",
            path="content_batch[{}]",
        )
        return inference_pb2.BatchCompletionResponse(batch=answers)

    async def BatchChatCompletion(
        self, request: inference_pb2.BatchChatCompletionRequest, context: Context
    ) -> inference_pb2.BatchChatCompletionResponse:
        """Answers several conversations."""
        answers = await run_all(
            self._generator(request.model_id, context).chat_completion,
            split_chats(request),
            at_once=self._batch_concurrency,
            member="messages",
            path="messages_batch[{}].messages",
        )
        return inference_pb2.BatchChatCompletionResponse(batch=answers)

    async def Embeddings(
        self, request: inference_pb2.EmbeddingsRequest, context: Context
    ) -> inference_pb2.EmbeddingsResponse:
        """Turns contents into vectors."""
        started = time.monotonic()
        response = await self._provider.embeddings(request)
        self._metrics.finished(request.model_id, started, response.metrics)
        return response

    async def ScoreAnswers(
        self, request: inference_pb2.ScoreAnswersRequest, context: Context
    ) -> inference_pb2.ScoreAnswersResponse:
        """Scores answers by a reward model."""
        started = time.monotonic()
        response = await self._provider.score_answers(request)
        self._metrics.finished(request.model_id, started, response.metrics)
        return response

    def _generator(self, model_id: str, context: Context) -> Generator:
        if self._always_on is None:
            return self._provider
        return self._always_on.generator(model_id, context.invocation_metadata)
