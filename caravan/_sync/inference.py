# Made from caravan/_async/inference.py by tools/sync_client.py. Do not edit.
"""Text generation and embeddings, with the contract's own responses."""

from collections.abc import Generator, Iterable
from typing import Unpack

from caravan._sync.calls import Calls
from caravan.inference.v1 import inference_pb2
from caravan.messages import ContentLike, MessageLike
from caravan.parameters import (
    ChatParameters,
    SamplingParameters,
    batch_chat_request,
    batch_completion_request,
    chat_request,
    completion_request,
    embeddings_request,
)


class Inference:
    """`caravan.inference.v1.InferenceService`."""

    def __init__(self, calls: Calls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    def completion(
        self, model_id: str, content: ContentLike, **parameters: Unpack[SamplingParameters]
    ) -> inference_pb2.CompletionResponse:
        """Continues a text.

        Args:
            model_id: Model to ask.
            content: The text.
            **parameters: How; see SamplingParameters.
        """
        request = completion_request(inference_pb2.CompletionRequest, model_id, content, parameters)
        return self._calls.unary(request, inference_pb2.CompletionResponse)

    def stream_completion(
        self, model_id: str, content: ContentLike, **parameters: Unpack[SamplingParameters]
    ) -> Generator[inference_pb2.StreamCompletionResponse, None, None]:
        """Continues a text and yields it piece by piece.

        Args:
            model_id: Model to ask.
            content: The text.
            **parameters: How; see SamplingParameters.
        """
        request = completion_request(inference_pb2.StreamCompletionRequest, model_id, content, parameters)
        return self._calls.stream(request, inference_pb2.StreamCompletionResponse)

    def chat_completion(
        self, model_id: str, messages: MessageLike | Iterable[MessageLike], **parameters: Unpack[ChatParameters]
    ) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation.

        Args:
            model_id: Model to ask.
            messages: One message or several.
            **parameters: How; see ChatParameters.
        """
        request = chat_request(inference_pb2.ChatCompletionRequest, model_id, messages, parameters)
        return self._calls.unary(request, inference_pb2.ChatCompletionResponse)

    def stream_chat_completion(
        self, model_id: str, messages: MessageLike | Iterable[MessageLike], **parameters: Unpack[ChatParameters]
    ) -> Generator[inference_pb2.StreamChatCompletionResponse, None, None]:
        """Answers a conversation and yields the events.

        Args:
            model_id: Model to ask.
            messages: One message or several.
            **parameters: How; see ChatParameters.
        """
        request = chat_request(inference_pb2.StreamChatCompletionRequest, model_id, messages, parameters)
        return self._calls.stream(request, inference_pb2.StreamChatCompletionResponse)

    def batch_completion(
        self, model_id: str, content_batch: Iterable[ContentLike], **parameters: Unpack[SamplingParameters]
    ) -> inference_pb2.BatchCompletionResponse:
        """Continues several texts.

        Args:
            model_id: Model to ask.
            content_batch: The texts.
            **parameters: How, for all of them; see SamplingParameters.
        """
        request = batch_completion_request(model_id, content_batch, parameters)
        return self._calls.unary(request, inference_pb2.BatchCompletionResponse)

    def batch_chat_completion(
        self, model_id: str, messages_batch: Iterable[Iterable[MessageLike]], **parameters: Unpack[ChatParameters]
    ) -> inference_pb2.BatchChatCompletionResponse:
        """Answers several conversations.

        Args:
            model_id: Model to ask.
            messages_batch: The conversations.
            **parameters: How, for all of them; see ChatParameters.
        """
        request = batch_chat_request(model_id, messages_batch, parameters)
        return self._calls.unary(request, inference_pb2.BatchChatCompletionResponse)

    def embeddings(
        self,
        model_id: str,
        contents: str | Iterable[ContentLike],
        *,
        output_dimension: int | None = None,
        text_truncation: str | None = None,
    ) -> inference_pb2.EmbeddingsResponse:
        """Turns contents into vectors.

        Args:
            model_id: Embedding model to ask.
            contents: One text, or several contents.
            output_dimension: Length of the vectors, for models that can shorten them.
            text_truncation: What to do with a content that is too long: `none`, `start`, `end`.
        """
        request = embeddings_request(model_id, contents, output_dimension, text_truncation)
        return self._calls.unary(request, inference_pb2.EmbeddingsResponse)
