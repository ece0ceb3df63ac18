"""Our requests in a server's words."""

import copy
import json
from typing import Literal

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.inference.models import ServedModel
from services.inference.openai_messages import openai_messages, openai_tools
from services.inference.plain_text import plain_text, plain_texts
from services.inference.ports import ChatRequest, CompletionRequest
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.remote_openai.dialects import DIALECTS, Endpoint, put
from services.inference.tool_calls.json_values import JsonObject, from_struct
from services.inference.tool_choice import check_tool_choice

DEFAULT_TEMPERATURE = 1.0
DEFAULT_TOP_P = 0.95

_PENALTIES: tuple[Literal["repetition_penalty", "frequency_penalty", "presence_penalty"], ...] = (
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
)


class RequestWriter:
    """Writes the bodies of requests for one server. What the server does not take is refused, never left out."""

    def __init__(self, config: RemoteOpenAIConfig) -> None:
        """Writes for the server that a configuration describes."""
        self._config = config
        self._dialect = DIALECTS[config.dialect]

    def completion(self, request: CompletionRequest, model: ServedModel, *, stream: bool) -> JsonObject:
        """Returns the body of `/completions`.

        Raises:
            InvalidArgumentError: The request is wrong.
            FailedPreconditionError: The server cannot do what it asks for.
        """
        body = self._generation(self._dialect.completion, request, model, stream=stream)
        body["prompt"] = plain_text(request.content, "content")
        return body

    def chat(self, request: ChatRequest, model: ServedModel, *, stream: bool) -> JsonObject:
        """Returns the body of `/chat/completions`.

        Raises:
            InvalidArgumentError: The request is wrong.
            FailedPreconditionError: The server cannot do what it asks for.
        """
        body = self._generation(self._dialect.chat, request, model, stream=stream)
        body["messages"] = openai_messages(request.messages)
        tools = openai_tools(offered_tools(request))
        choice = self._tool_choice(request)
        if self._dialect.strict_calls and demands_call(request.tool_config):
            for tool in tools:
                tool["function"]["strict"] = True
        if tools:
            body["tools"] = tools
        if choice is not None:
            body["tool_choice"] = choice
        return body

    def embeddings(self, request: inference_pb2.EmbeddingsRequest, model: ServedModel) -> JsonObject:
        """Returns the body of `/embeddings`.

        Raises:
            InvalidArgumentError: A content holds an image or nothing.
            FailedPreconditionError: The server cannot do what the request asks for.
        """
        body: JsonObject = copy.deepcopy(self._config.embeddings_extra_body)
        body |= {
            "model": model.provider_model_id,
            "input": plain_texts("contents", list(request.contents)),
            "encoding_format": self._dialect.encoding_format,
        }
        treatment = self._dialect.truncation.get(request.text_truncation)
        if treatment is None:
            name = inference_pb2.TextTruncation.Name(request.text_truncation)
            raise self._refuse("text_truncation", f"{name} is not heeded")
        body |= treatment
        if request.HasField("output_dimension"):
            if not self._dialect.dimensions:
                raise self._refuse("output_dimension", "the length of vectors cannot be chosen")
            body["dimensions"] = request.output_dimension
        return body

    def _generation(
        self, endpoint: Endpoint, request: CompletionRequest | ChatRequest, model: ServedModel, *, stream: bool
    ) -> JsonObject:
        body: JsonObject = copy.deepcopy(self._config.extra_body)
        body |= {"model": model.provider_model_id, **self._dialect.constants}
        self._put_sampling(body, endpoint, request.sampling_params)
        self._put_limit(body, endpoint, request.sampling_params, model)
        if request.HasField("response_format"):
            self._put_format(body, endpoint, request.response_format)
        if request.HasField("logprobs"):
            self._put_logprobs(body, endpoint, request.logprobs)
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def _put_sampling(self, body: JsonObject, endpoint: Endpoint, params: types_pb2.SamplingParams) -> None:
        values = self._strategy(params)
        if values:
            body |= endpoint.neutral
        values |= {name: _plain(getattr(params, name)) for name in _PENALTIES if params.HasField(name)}
        if params.HasField("seed"):
            values["seed"] = params.seed
        if params.stop:
            values["stop"] = list(params.stop)
        limit = self._dialect.max_stop
        if limit is not None and len(params.stop) > limit:
            raise InvalidArgumentError.of("sampling_params.stop", f"{self._dialect.title} takes at most {limit}")
        for name, value in values.items():
            if endpoint.no_op.get(name) == value:
                continue
            path = endpoint.sampling.get(name)
            if path is None:
                field = "top_k.top_k" if name == "top_k" else name
                raise self._refuse(f"sampling_params.{field}", "there is no such parameter")
            put(body, path, value)

    def _strategy(self, params: types_pb2.SamplingParams) -> JsonObject:
        match params.WhichOneof("strategy"):
            case "top_p":
                return _temperature(params.top_p) | {
                    "top_p": _plain(params.top_p.top_p) if params.top_p.HasField("top_p") else DEFAULT_TOP_P
                }
            case "top_k":
                top_p = _plain(params.top_k.top_p) if params.top_k.HasField("top_p") else 1.0
                return _temperature(params.top_k) | {"top_k": params.top_k.top_k, "top_p": top_p}
            case None if self._config.default_sampling == "server":
                return {}
            case _:
                return {"temperature": 0.0}

    def _put_limit(
        self, body: JsonObject, endpoint: Endpoint, params: types_pb2.SamplingParams, model: ServedModel
    ) -> None:
        limit = params.max_tokens or self._config.default_max_tokens
        if not limit and endpoint.no_limit == "context":
            context = model.metadata.get("context_length")
            limit = int(context) if isinstance(context, int | float) else None
        if limit:
            body[endpoint.max_tokens] = limit
        elif endpoint.no_limit != "omit":
            raise InvalidArgumentError.of(
                "sampling_params.max_tokens",
                f"{self._dialect.title} stops at 16 tokens unless told otherwise: give a limit (or have default_max_tokens set)",
            )

    def _put_format(self, body: JsonObject, endpoint: Endpoint, wanted: types_pb2.ResponseFormat) -> None:
        if wanted.HasField("grammar"):
            if endpoint.grammar is None:
                raise self._refuse("response_format.grammar", "grammars are not enforced")
            put(body, endpoint.grammar, wanted.grammar.bnf)
            return
        if endpoint.json_schema is None:
            raise self._refuse(f"response_format.{wanted.WhichOneof('format')}", "JSON Schemas are not enforced")
        for key, value in endpoint.json_schema(_schema(wanted)).items():
            body[key] = {**body.get(key, {}), **value}

    def _put_logprobs(self, body: JsonObject, endpoint: Endpoint, wanted: types_pb2.LogProbConfig) -> None:
        if endpoint.logprobs == "flag":
            body |= {"logprobs": True, "top_logprobs": wanted.top_k}
        elif endpoint.logprobs == "count":
            body["logprobs"] = wanted.top_k
        else:
            raise self._refuse("logprobs", "log probabilities are not told")

    def _tool_choice(self, request: ChatRequest) -> str | JsonObject | None:
        check_tool_choice(request)
        config = request.tool_config
        if config.tool_prompt_format not in (
            types_pb2.TOOL_PROMPT_FORMAT_UNSPECIFIED,
            types_pb2.TOOL_PROMPT_FORMAT_JSON,
        ):
            raise self._refuse("tool_config.tool_prompt_format", "the server writes the prompt itself")
        if not offered_tools(request):
            return None
        if config.system_message_behavior == types_pb2.SYSTEM_MESSAGE_BEHAVIOR_REPLACE:
            raise self._refuse("tool_config.system_message_behavior", "the server writes the tools' prompt itself")
        demanded = demands_call(config)
        if self._dialect.tool_choice == "auto":
            if demanded:
                raise self._refuse(f"tool_config.{config.WhichOneof('choice')}", "a call cannot be demanded")
            return None
        if config.tool_name:
            return {"type": "function", "function": {"name": config.tool_name}}
        return "required" if demanded else "auto"

    def _refuse(self, field: str, why: str) -> FailedPreconditionError:
        return FailedPreconditionError(
            f"{field}: {why} at {self._dialect.title}; leave it out, or choose a model of another provider",
            reason="UNSUPPORTED_BY_PROVIDER",
            metadata={"field": field},
        )


def offered_tools(request: ChatRequest) -> list[types_pb2.ToolDefinition]:
    """The tools that the model sees: none when the choice is none."""
    return [] if request.tool_config.tool_choice == types_pb2.TOOL_CHOICE_NONE else list(request.tools)


def demands_call(config: types_pb2.ToolConfig) -> bool:
    """Whether the model must call a tool."""
    return bool(config.tool_name) or config.tool_choice == types_pb2.TOOL_CHOICE_REQUIRED


def _schema(wanted: types_pb2.ResponseFormat) -> JsonObject:
    if wanted.HasField("json_schema"):
        return from_struct(wanted.json_schema)
    try:
        schema = json.loads(wanted.json_schema_text)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise InvalidArgumentError.of(
            "response_format.json_schema_text", "must be a JSON Schema: an object as JSON text"
        )
    return schema


def _temperature(strategy: types_pb2.TopPSamplingStrategy | types_pb2.TopKSamplingStrategy) -> JsonObject:
    given = strategy.HasField("temperature")
    return {"temperature": _plain(strategy.temperature) if given else DEFAULT_TEMPERATURE}


def _plain(value: float) -> float:
    """A number of the contract as its caller wrote it: floats have 32 bits there, and 0.7 must not become 0.699999988."""
    return float(f"{value:.7g}")
