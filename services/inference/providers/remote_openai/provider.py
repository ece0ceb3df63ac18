"""The adapter between the inference port and a server with an API like OpenAI's."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

from caravan.inference.v1 import inference_pb2
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import models_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from services.inference.models import ModelTable, ServedModel
from services.inference.ports import ChatRequest, CompletionRequest, InferenceProvider
from services.inference.providers.remote_openai import answers, streams
from services.inference.providers.remote_openai.catalogue import Catalogue
from services.inference.providers.remote_openai.client import OpenAIClient
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.remote_openai.dialects import DIALECTS
from services.inference.providers.remote_openai.failures import Call
from services.inference.providers.remote_openai.requests import RequestWriter, offered_tools

SERVICE = "caravan.inference.v1.InferenceService"


class RemoteOpenAIProvider(InferenceProvider):
    """The models of one OpenAI-compatible server."""

    def __init__(self, provider_id: str, config: RemoteOpenAIConfig) -> None:
        """Prepares the provider; `start` begins to ask the server for its models.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: Which server, and how to talk to it.
        """
        super().__init__(provider_id=provider_id, provider_type=config.type, services=(SERVICE,), config=config)
        self.loadable_kinds = (options_pb2.RESOURCE_KIND_MODEL,)
        self.models = ModelTable()
        self._config = config
        self._writer = RequestWriter(config)
        doubt = asyncio.Event()
        self._client = OpenAIClient(config, DIALECTS[config.dialect].title, on_surprise=doubt.set)
        self._catalogue = Catalogue(self._client, config, self.models, self.readiness, doubt)
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to ask the server for its models; the provider is ready once it has answered."""
        self.readiness.set_not_ready(f"waiting for the server at {self._config.base_url}")
        self._watch = asyncio.create_task(self._catalogue.watch(), name=f"watch {self.provider_id}")

    async def stop(self) -> None:
        """Closes all connections."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self._client.close()

    def resources(self) -> list[providers_pb2.Resource]:
        """The models that the server lists and that may be requested."""
        return [model.as_resource(self.provider_id) for model in self.models.own]

    async def load(self, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Registers another name of a model that the server serves.

        Raises:
            NotFoundError: The server does not serve it.
            FailedPreconditionError: An adapter is to be loaded.
            InvalidArgumentError: The model has another type.
        """
        model = resource.model
        if model.HasField("adapter"):
            raise FailedPreconditionError(
                "a remote server's adapters cannot be loaded from here: load it there, then register it by its name",
                reason="NOT_LOADABLE",
            )
        await self._catalogue.refresh()
        served = self._catalogue.find(model.provider_model_id or model.model_id)
        self.models.add(dataclasses.replace(served, model_id=model.model_id, model_type=self._type_of(model, served)))
        loaded = providers_pb2.Resource(model=model)
        loaded.model.model_type = self._type_of(model, served)
        loaded.model.provider_model_id = served.provider_model_id
        loaded.model.metadata.update(served.metadata)
        return loaded

    async def unload(self, kind: options_pb2.ResourceKind.ValueType, resource_id: str) -> None:
        """Drops a registered name."""
        del kind
        self.models.remove(resource_id)

    async def completion(self, request: CompletionRequest) -> inference_pb2.CompletionResponse:
        """Continues a text."""
        model = self._require(request.model_id, models_pb2.MODEL_TYPE_LLM)
        body = self._writer.completion(request, model, stream=False)
        call = self._call("completions", model, "content")
        return answers.completion(await self._client.post(call, body), _logprobs(request), call)

    async def stream_completion(
        self, request: inference_pb2.StreamCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
        """Continues a text, piece by piece."""
        model = self._require(request.model_id, models_pb2.MODEL_TYPE_LLM)
        body = self._writer.completion(request, model, stream=True)
        call = self._call("completions", model, "content")
        async with aclosing(self._client.stream(call, body)) as chunks:
            async for event in streams.completion_events(chunks, _logprobs(request), call):
                yield event

    async def chat_completion(self, request: ChatRequest) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation."""
        model = self._require(request.model_id, models_pb2.MODEL_TYPE_LLM)
        body = self._writer.chat(request, model, stream=False)
        call = self._call("chat/completions", model, "messages")
        return answers.chat(await self._client.post(call, body), _logprobs(request), _declared(request), call)

    async def stream_chat_completion(
        self, request: inference_pb2.StreamChatCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamChatCompletionResponse]:
        """Answers a conversation, event by event."""
        model = self._require(request.model_id, models_pb2.MODEL_TYPE_LLM)
        body = self._writer.chat(request, model, stream=True)
        call = self._call("chat/completions", model, "messages")
        async with aclosing(self._client.stream(call, body)) as chunks:
            async for event in streams.chat_events(chunks, _logprobs(request), _declared(request), call):
                yield event

    async def embeddings(self, request: inference_pb2.EmbeddingsRequest) -> inference_pb2.EmbeddingsResponse:
        """Turns contents into vectors."""
        model = self._require(request.model_id, models_pb2.MODEL_TYPE_EMBEDDING)
        body = self._writer.embeddings(request, model)
        call = self._call("embeddings", model, "contents")
        return answers.embeddings(await self._client.post(call, body), len(request.contents), call)

    def _require(self, model_id: str, model_type: models_pb2.ModelType.ValueType) -> ServedModel:
        if not self.readiness.ready and not self.models.own:
            message = (
                f"provider {self.provider_id} does not know yet what it serves: {self.readiness.reason}; try again"
            )
            raise UnavailableError(message, reason="NOT_READY")
        return self.models.require(model_id, model_type)

    def _call(self, path: str, model: ServedModel, content_field: str) -> Call:
        return self._client.call(path, model_id=model.model_id, content_field=content_field)

    def _type_of(self, model: models_pb2.Model, served: ServedModel) -> models_pb2.ModelType.ValueType:
        """The registration's type wins where the server's name was only guessed by."""
        if model.model_type in (models_pb2.MODEL_TYPE_UNSPECIFIED, served.model_type):
            return served.model_type
        if self._config.models is not None or model.model_type == models_pb2.MODEL_TYPE_REWARD:
            raise InvalidArgumentError.of("model_type", f"must be the type of {served.provider_model_id!r}")
        return model.model_type


def _logprobs(request: CompletionRequest | ChatRequest) -> types_pb2.LogProbConfig | None:
    return request.logprobs if request.HasField("logprobs") else None


def _declared(request: ChatRequest) -> frozenset[str]:
    return frozenset(tool.tool_name for tool in offered_tools(request))
