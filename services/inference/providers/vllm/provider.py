"""The adapter between the inference port and vLLM."""

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from vllm import PoolingParams

from caravan.inference.v1 import inference_pb2
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import models_pb2
from services.core.context import current_request
from services.core.errors import InvalidArgumentError
from services.inference.chat import ChatStream, whole_answer
from services.inference.generation import Piece
from services.inference.models import ModelTable, ServedModel
from services.inference.plain_text import plain_text
from services.inference.ports import ChatRequest, CompletionRequest, InferenceProvider
from services.inference.prompts.families import is_llama3
from services.inference.providers.vllm.adapters import Adapters
from services.inference.providers.vllm.config import VllmConfig
from services.inference.providers.vllm.constraints import field_of, from_response_format
from services.inference.providers.vllm.embedding import embedding_inputs, pooling_params
from services.inference.providers.vllm.engine import Engine
from services.inference.providers.vllm.failures import ENGINE_FAILURES, as_caravan_error
from services.inference.providers.vllm.formats import ChatFormat, Llama3Chat, RenderedChat, token_prompt
from services.inference.providers.vllm.outputs import embedding_response, piece_of
from services.inference.providers.vllm.reward import RewardPrompts, reward_params, score_response
from services.inference.providers.vllm.sampling import Decoding, to_vllm
from services.inference.providers.vllm.statistics import publish
from services.inference.providers.vllm.streams import Call, Coalescer, run, stream
from services.inference.providers.vllm.template import TemplateChat
from services.inference.providers.vllm.tokens import PromptTokens

SERVICE = "caravan.inference.v1.InferenceService"
MODEL_TYPES = {
    "llm": models_pb2.MODEL_TYPE_LLM,
    "embedding": models_pb2.MODEL_TYPE_EMBEDDING,
    "reward": models_pb2.MODEL_TYPE_REWARD,
}


class VllmProvider(InferenceProvider):
    """One model on one vLLM engine, with the LoRA adapters that are registered on it."""

    def __init__(self, provider_id: str, config: VllmConfig, *, otlp_endpoint: str | None = None) -> None:
        """Prepares the provider; `start` loads the model.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: What to run.
            otlp_endpoint: Where vLLM sends its own spans, or None.
        """
        super().__init__(provider_id=provider_id, provider_type=config.type, services=(SERVICE,), config=config)
        self.loadable_kinds = (options_pb2.RESOURCE_KIND_MODEL,)
        self.models = ModelTable()
        self._config = config
        self._engine = Engine(config, self.readiness, otlp_endpoint=otlp_endpoint, on_restart=self._engine_restarted)
        self._adapters = Adapters(self._engine, config)
        self._coalescer = Coalescer(config.quiet_streams, config.max_coalescing_delay)
        self._numbers = itertools.count()
        self._tokens: PromptTokens
        self._format: ChatFormat
        self._rewards: RewardPrompts

    async def start(self) -> None:
        """Loads the model; see `Engine.start` for the errors."""
        await self._engine.start()
        llm = self._engine.llm
        tokenizer = llm.get_tokenizer()
        self._tokens = PromptTokens(tokenizer, llm.model_config.max_model_len)
        if self._config.model_type == "reward":
            self._rewards = RewardPrompts(llm, self._config.chat_template, self._tokens.max_model_len)
        # Llama 3's own format knows no images in this vLLM: whatever takes images comes with a template.
        if is_llama3(tokenizer.get_vocab()) and not llm.model_config.is_multimodal_model:
            self._format = Llama3Chat(self._tokens, tokenizer, self._config.tool_prompt_format)
        else:
            self._format = TemplateChat(self._config, llm, self._tokens)
        self.models.replace_own([self._own_model()])
        publish(lambda: self._engine.watch.load, self._config.served_model_id)

    async def stop(self) -> None:
        """Ends the engine."""
        await self._engine.stop()

    def resources(self) -> list[providers_pb2.Resource]:
        """The model that it was started with."""
        return [model.as_resource(self.provider_id) for model in self.models.own]

    async def load(self, resource: providers_pb2.Resource) -> providers_pb2.Resource:
        """Registers another name of the model, or an adapter on it."""
        model = resource.model
        base_id = model.adapter.base_model_id if model.HasField("adapter") else model.provider_model_id
        field = "adapter.base_model_id" if model.HasField("adapter") else "provider_model_id"
        base = self.models.by_provider_model_id(base_id)
        if base is None:
            served = ", ".join(own.provider_model_id for own in self.models.own)
            raise InvalidArgumentError.of(field, f"this provider does not serve {base_id!r}; it serves {served}")
        if model.model_type not in {models_pb2.MODEL_TYPE_UNSPECIFIED, base.model_type}:
            raise InvalidArgumentError.of("model_type", f"must be the type of {base_id!r}")
        if model.HasField("adapter"):
            await self._adapters.load(model.model_id, model.adapter)
        self.models.add(dataclasses.replace(base, model_id=model.model_id, provider_model_id=model.provider_model_id))
        loaded = providers_pb2.Resource(model=model)
        loaded.model.model_type = base.model_type
        loaded.model.metadata.update(base.metadata)
        return loaded

    async def unload(self, kind: options_pb2.ResourceKind.ValueType, resource_id: str) -> None:
        """Drops a registered name, and its adapter."""
        del kind
        self.models.remove(resource_id)
        await self._adapters.unload(resource_id)

    async def completion(self, request: CompletionRequest) -> inference_pb2.CompletionResponse:
        """Continues a text."""
        call = await self._completion_call(request, streamed=False)
        piece = await self._whole(call)
        return inference_pb2.CompletionResponse(
            content=piece.text, stop_reason=piece.stop_reason, logprobs=piece.logprobs, metrics=piece.metrics
        )

    async def stream_completion(
        self, request: inference_pb2.StreamCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
        """Continues a text, piece by piece."""
        call = await self._completion_call(request, streamed=True)
        async for piece in self._pieces(call):
            yield inference_pb2.StreamCompletionResponse(
                delta=piece.text, stop_reason=piece.stop_reason, logprobs=piece.logprobs, metrics=piece.metrics
            )

    async def chat_completion(self, request: ChatRequest) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation."""
        chat, call = await self._chat_call(request, streamed=False)
        return whole_answer(chat.decoder, await self._whole(call))

    async def stream_chat_completion(
        self, request: inference_pb2.StreamChatCompletionRequest
    ) -> AsyncIterator[inference_pb2.StreamChatCompletionResponse]:
        """Answers a conversation, event by event."""
        chat, call = await self._chat_call(request, streamed=True)
        answer = ChatStream(chat.decoder)
        started = False
        async for piece in self._pieces(call):
            if not started:
                started = True
                yield answer.start()
            for event in answer.events(piece):
                yield event

    async def embeddings(self, request: inference_pb2.EmbeddingsRequest) -> inference_pb2.EmbeddingsResponse:
        """Turns contents into vectors, all of them side by side in the engine's batches."""
        self.models.require(request.model_id, models_pb2.MODEL_TYPE_EMBEDDING)
        inputs = await embedding_inputs(request, self._engine.llm.get_tokenizer(), self._tokens.max_model_len)
        return embedding_response(await self._pooled(inputs, pooling_params(request), "contents"))

    async def score_answers(self, request: inference_pb2.ScoreAnswersRequest) -> inference_pb2.ScoreAnswersResponse:
        """Scores answers, all of them side by side in the engine's batches."""
        self.models.require(request.model_id, models_pb2.MODEL_TYPE_REWARD)
        inputs = await self._rewards.render(self._engine.llm, request)
        return score_response(await self._pooled(inputs, reward_params(), "answers"))

    async def _pooled(self, inputs: Sequence[Any], params: PoolingParams, field: str) -> list[Any]:
        """Runs inputs through a pooling model; the outputs have the inputs' order."""
        llm = self._engine.llm
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(run(llm, Call(self._request_id(), prompt, params))) for prompt in inputs]
        except* ENGINE_FAILURES as errors:
            raise as_caravan_error(errors.exceptions[0], field) from errors
        return [task.result() for task in tasks]

    async def _completion_call(self, request: CompletionRequest, *, streamed: bool) -> "_Generation":
        model = self.models.require(request.model_id, models_pb2.MODEL_TYPE_LLM)
        if not plain_text(request.content, "content"):
            raise InvalidArgumentError.of("content", "must hold some text")
        ids = await self._format.encode_completion(request.content)
        constrained = request.HasField("response_format")
        decoding = Decoding(
            streamed=streamed,
            constraint=from_response_format(request.response_format) if constrained else None,
            logprobs=request.logprobs if request.HasField("logprobs") else None,
        )
        field = field_of(request.response_format) if constrained else "content"
        return self._generation(model, request, token_prompt(ids, constrained=constrained), decoding, field)

    async def _chat_call(self, request: ChatRequest, *, streamed: bool) -> "tuple[RenderedChat, _Generation]":
        model = self.models.require(request.model_id, models_pb2.MODEL_TYPE_LLM)
        chat = await self._format.render(request)
        decoding = Decoding(
            streamed=streamed,
            stop_token_ids=self._format.stop_token_ids,
            keep_control_tokens=chat.keep_control_tokens,
            constraint=chat.constraint,
            logprobs=request.logprobs if request.HasField("logprobs") else None,
        )
        field = chat.constraint_field if chat.constraint is not None else "messages"
        return chat, self._generation(model, request, chat.prompt, decoding, field)

    def _generation(
        self, model: ServedModel, request: CompletionRequest | ChatRequest, prompt: Any, decoding: Decoding, field: str
    ) -> "_Generation":
        call = Call(
            request_id=self._request_id(),
            prompt=prompt,
            params=to_vllm(request.sampling_params, decoding),
            adapter=self._adapters.get(model.model_id),
            trace_headers=current_request().trace_headers or None,
            delay=_coalescing_delay(request),
        )
        return _Generation(call, field)

    async def _whole(self, generation: "_Generation") -> Piece:
        """Runs a generation to its end."""
        try:
            output = await run(self._engine.llm, generation.call)
        except ENGINE_FAILURES as error:
            raise as_caravan_error(error, generation.field) from error
        return piece_of(output, len(output.outputs[0].token_ids), self._format.end_of_message)

    async def _pieces(self, generation: "_Generation") -> AsyncIterator[Piece]:
        """Runs a generation, piece by piece."""
        generated = 0
        try:
            async with aclosing(stream(self._engine.llm, generation.call, self._coalescer)) as outputs:
                async for output in outputs:
                    generated += len(output.outputs[0].token_ids)
                    yield piece_of(output, generated, self._format.end_of_message)
        except ENGINE_FAILURES as error:
            raise as_caravan_error(error, generation.field) from error

    def _request_id(self) -> str:
        """The call's own id, made unique for the engine: clients may repeat theirs."""
        return f"{current_request().request_id}-{next(self._numbers)}"

    def _own_model(self) -> ServedModel:
        config = self._config
        own: dict[str, str | float] = {"checkpoint": config.checkpoint}
        match config.model_type:
            case "embedding":
                own["embedding_dimension"] = float(self._engine.llm.model_config.get_hidden_size())
            case "llm" if config.enable_lora:
                own["max_lora_rank"] = float(config.max_lora_rank)
        return ServedModel(
            model_id=config.served_model_id,
            provider_model_id=config.served_model_id,
            model_type=MODEL_TYPES[config.model_type],
            metadata={**config.metadata, "context_length": float(self._tokens.max_model_len), **own},
        )

    def _engine_restarted(self) -> None:
        """Nothing that was loaded into the old engine is in the new one; the gateway will load it again."""
        for model_id in self._adapters.forget():
            self.models.remove(model_id)
        self.forget_loaded()


@dataclasses.dataclass(frozen=True, slots=True)
class _Generation:
    """A call of the engine and what to blame when it refuses the input."""

    call: Call
    field: str


def _coalescing_delay(request: CompletionRequest | ChatRequest) -> float | None:
    if isinstance(request, (inference_pb2.StreamCompletionRequest, inference_pb2.StreamChatCompletionRequest)):
        options = request.stream_options
        if options.HasField("max_coalescing_delay"):
            return options.max_coalescing_delay.ToTimedelta().total_seconds()
    return None
