"""The adapter between the inference port and sentence-transformers."""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from caravan.inference.v1 import inference_pb2
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import models_pb2
from services.core.batching import Batcher
from services.core.errors import CaravanError, FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError
from services.inference.models import ModelTable, ServedModel
from services.inference.plain_text import plain_texts
from services.inference.ports import ChatRequest, CompletionRequest, InferenceProvider, refuse
from services.inference.providers.sentence_transformers import encoder as encoders
from services.inference.providers.sentence_transformers.config import PACKAGED_MODEL_ID, SentenceTransformersConfig
from services.inference.providers.sentence_transformers.encoder import Encoder, Item, Result, TooLong, Vector
from services.inference.usage import usage

SERVICE = "caravan.inference.v1.InferenceService"


class SentenceTransformersProvider(InferenceProvider):
    """Embedding models in this process: one from the start, more as they are registered."""

    def __init__(self, provider_id: str, config: SentenceTransformersConfig) -> None:
        """Prepares the provider; `start` loads the model.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: What to run.
        """
        super().__init__(provider_id=provider_id, provider_type=config.type, services=(SERVICE,), config=config)
        self.loadable_kinds = (options_pb2.RESOURCE_KIND_MODEL,)
        self.models = ModelTable()
        self._config = config
        self._own_source = config.model or PACKAGED_MODEL_ID
        self._batcher: Batcher[Item, Result] = Batcher("contents", config.max_batch_size, config.max_queued)
        self._encoders: dict[str, Encoder] = {}
        """By where they were loaded from."""
        self._sources: dict[str, str] = {}
        """By model_id of those that were registered."""
        self._loading = asyncio.Lock()

    async def start(self) -> None:
        """Loads the model, in a thread.

        Raises:
            NotFoundError: There is no such model on this machine.
            FailedPreconditionError: It cannot be loaded.
        """
        encoders.prepare(self._config)
        encoder = await asyncio.to_thread(encoders.load, self._config.model, self._config)
        self._encoders[self._own_source] = encoder
        self.models.replace_own([self._served(self._config.served_model_id, self._own_source)])
        self._batcher.start()

    async def stop(self) -> None:
        """Ends the work and frees the models."""
        await self._batcher.stop()
        self._encoders.clear()

    def resources(self) -> list[providers_pb2.Resource]:
        """The model that it was started with."""
        return [model.as_resource(self.provider_id) for model in self.models.own]

    async def load(self, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Loads another model, or registers another name of one that is loaded.

        Raises:
            InvalidArgumentError: It is to be no embedding model.
            NotFoundError: There is no such model on this machine.
            FailedPreconditionError: It cannot be loaded, or is an adapter.
            ResourceExhaustedError: Too many models are loaded.
        """
        model = resource.model
        if model.HasField("adapter"):
            raise FailedPreconditionError("adapters on embedding models are not supported", reason="NOT_LOADABLE")
        if model.model_type not in {models_pb2.MODEL_TYPE_UNSPECIFIED, models_pb2.MODEL_TYPE_EMBEDDING}:
            raise InvalidArgumentError.of(
                "model_type", "must be MODEL_TYPE_EMBEDDING: this provider makes vectors only"
            )
        source = model.provider_model_id or model.model_id
        if source == self._config.served_model_id:
            source = self._own_source
        await self._require_loaded(source)
        self._sources[model.model_id] = source
        served = self._served(model.model_id, source)
        self.models.add(served)
        loaded = providers_pb2.Resource(model=model)
        loaded.model.model_type = served.model_type
        loaded.model.metadata.update(served.metadata)
        return loaded

    async def unload(self, kind: options_pb2.ResourceKind.ValueType, resource_id: str) -> None:
        """Drops a registered name, and frees its model when no other name is left."""
        del kind
        self.models.remove(resource_id)
        source = self._sources.pop(resource_id, None)
        if source is not None and source != self._own_source and source not in self._sources.values():
            self._encoders.pop(source, None)
            await asyncio.to_thread(gc.collect)

    async def embeddings(self, request: inference_pb2.EmbeddingsRequest) -> inference_pb2.EmbeddingsResponse:
        """Turns contents into vectors, together with those of concurrent calls."""
        model = self.models.require(request.model_id, models_pb2.MODEL_TYPE_EMBEDDING)
        encoder = self._encoders[self._sources.get(model.model_id, self._own_source)]
        results = await self._batcher.run(encoder.encode, self._items(request, encoder))
        vectors = _vectors(results, encoder)
        return inference_pb2.EmbeddingsResponse(
            embeddings=[inference_pb2.Embedding(values=vector.values) for vector in vectors],
            metrics=usage(prompt=sum(vector.tokens for vector in vectors)),
        )

    async def completion(self, request: CompletionRequest) -> inference_pb2.CompletionResponse:
        """Refuses: embedding models continue no text."""
        raise self._refusal("Completion", request.model_id)

    def stream_completion(
        self, request: inference_pb2.StreamCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
        """Refuses: embedding models continue no text."""
        return _refusing(self._refusal("StreamCompletion", request.model_id))

    async def chat_completion(self, request: ChatRequest) -> inference_pb2.ChatCompletionResponse:
        """Refuses: embedding models do not chat."""
        raise self._refusal("ChatCompletion", request.model_id)

    def stream_chat_completion(
        self, request: inference_pb2.StreamChatCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamChatCompletionResponse]:
        """Refuses: embedding models do not chat."""
        return _refusing(self._refusal("StreamChatCompletion", request.model_id))

    async def _require_loaded(self, source: str) -> None:
        async with self._loading:
            if source in self._encoders:
                return
            if len(self._encoders) >= self._config.max_models:
                raise ResourceExhaustedError(
                    f"{len(self._encoders)} models are loaded, which is the most; unregister one first",
                    subject="models",
                    reason="TOO_MANY_MODELS",
                )
            self._encoders[source] = await asyncio.to_thread(encoders.load, source, self._config)

    def _served(self, model_id: str, source: str) -> ServedModel:
        encoder = self._encoders[source]
        metadata: dict[str, str | float | bool] = {"embedding_dimension": float(encoder.dimension)}
        if encoder.max_tokens is not None:
            metadata["context_length"] = float(encoder.max_tokens)
        return ServedModel(model_id, source, models_pb2.MODEL_TYPE_EMBEDDING, metadata)

    def _items(self, request: inference_pb2.EmbeddingsRequest, encoder: Encoder) -> list[Item]:
        dimension = request.output_dimension if request.HasField("output_dimension") else None
        if dimension is not None and dimension not in encoder.dimensions:
            raise _wrong_dimension(encoder)
        texts = plain_texts("contents", list(request.contents))
        for place, text in enumerate(texts):
            if len(text) > self._config.max_content_chars:
                raise InvalidArgumentError.of(
                    f"contents[{place}]",
                    f"has {len(text)} characters, and at most {self._config.max_content_chars} are read; send less",
                    reason="PROMPT_TOO_LONG",
                )
        return [Item(text, request.text_truncation, dimension) for text in texts]

    def _refusal(self, operation: str, model_id: str) -> CaravanError:
        """The error for a call that generates: the model is unknown, or does something else."""
        try:
            self.models.require(model_id, models_pb2.MODEL_TYPE_EMBEDDING)
        except CaravanError as error:
            return error
        return refuse(operation, model_id, "embeddings")


async def _refusing(error: CaravanError) -> AsyncGenerator[Any, None]:
    """A stream that fails at once."""
    nothing: tuple[Any, ...] = ()
    for item in nothing:
        yield item
    raise error


def _vectors(results: Sequence[Result], encoder: Encoder) -> list[Vector]:
    for place, result in enumerate(results):
        if isinstance(result, TooLong):
            raise InvalidArgumentError.of(
                f"contents[{place}]",
                f"has {result.tokens} tokens and the model takes {encoder.max_tokens}; shorten it or set text_truncation",
                reason="PROMPT_TOO_LONG",
            )
    return [result for result in results if isinstance(result, Vector)]


def _wrong_dimension(encoder: Encoder) -> InvalidArgumentError:
    if len(encoder.dimensions) == 1:
        return InvalidArgumentError.of(
            "output_dimension",
            f"the model's vectors have {encoder.dimension} components and cannot be cut; leave it out",
        )
    return InvalidArgumentError.of(
        "output_dimension", f"must be one of {', '.join(map(str, sorted(encoder.dimensions)))} for this model"
    )
