"""Parameters of inference calls in plain Python values, and the request messages that they become."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, TypedDict, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from caravan import llama_stack, messages
from caravan.errors import InvalidInputError
from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2

ToolLike: TypeAlias = types_pb2.ToolDefinition | Mapping[str, Any] | str
"""A definition, its Llama Stack shape, OpenAI's (`{"type": "function", "function": {...}}`), or a built-in tool's name."""


class SamplingParameters(TypedDict, total=False):
    """How tokens are chosen and when generation ends."""

    sampling_params: types_pb2.SamplingParams | Mapping[str, Any]
    """All at once, as a message or in Llama Stack's shape; the others are then not given."""
    max_tokens: int
    """Most tokens to generate. Default: as many as the model's context holds."""
    temperature: float
    """Divides the logits; 0: always the most likely token, at most 2. Default: 0, or 1 when top_p or top_k is given."""
    top_p: float
    """Share of probability to sample from, above 0 and at most 1."""
    top_k: int
    """Number of most likely tokens to sample from."""
    seed: int
    """Seed of the sampler."""
    stop: str | Sequence[str]
    """Texts that end generation."""
    repetition_penalty: float
    """Above 1 discourages tokens that are there already. Default: 1."""
    response_format: types_pb2.ResponseFormat | Mapping[str, Any]
    """Form that the answer must have, as a message or in Llama Stack's shape."""
    json_schema: Mapping[str, Any]
    """JSON Schema that the answer must follow; short for a `response_format`."""
    grammar: str
    """Grammar (GBNF) that the answer must follow; short for a `response_format`."""
    logprobs: int
    """Number of most likely tokens to report at each position; 0: the chosen token alone. Default: no log probabilities."""
    max_coalescing_delay: float
    """Longest time in seconds that a streamed token may wait to share a message with later ones. Streams only."""


class ChatParameters(SamplingParameters, total=False):
    """What a chat may be given beside model and messages."""

    system: messages.ContentLike
    """Instructions, put before the messages."""
    tools: Iterable[ToolLike]
    """Tools that the model may call."""
    tool_choice: str
    """`auto`, `required`, `none`, or the name of the one tool that must be called. Default: `auto`."""
    tool_prompt_format: str
    """Text form of tool calls: `json`, `function_tag`, `python_list`. Default: the model's own."""
    tool_config: types_pb2.ToolConfig | Mapping[str, Any]
    """All of how tools are offered, as a message or in Llama Stack's shape; tool_choice and tool_prompt_format are then not given."""


R = TypeVar("R", bound=Message)
_SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "seed", "stop", "repetition_penalty")
_FORMATS = ("response_format", "json_schema", "grammar")
_TOOLS = ("tool_config", "tool_choice", "tool_prompt_format")


def chat_request(
    request_type: type[R],
    model_id: str,
    conversation: messages.MessageLike | Iterable[messages.MessageLike],
    parameters: ChatParameters,
) -> R:
    """Builds the request of a chat, unary or streamed.

    Args:
        request_type: ChatCompletionRequest or StreamChatCompletionRequest.
        model_id: Model to ask.
        conversation: One message or several.
        parameters: Everything else.

    Raises:
        InvalidInputError: A value does not fit.
    """
    _refuse_unknown(parameters, ChatParameters)
    fields = inference_pb2.StreamChatCompletionRequest(
        model_id=model_id,
        messages=messages.conversation(conversation, parameters.get("system")),
        sampling_params=_sampling(parameters),
        response_format=_response_format(parameters),
        logprobs=_logprobs(parameters),
        tools=[tool_definition(tool, f"tools[{index}]") for index, tool in enumerate(parameters.get("tools", ()))],
        tool_config=_tool_config(parameters),
        stream_options=_stream_options(request_type, parameters),
    )
    return _as_twin(request_type, fields)


def completion_request(
    request_type: type[R], model_id: str, content: messages.ContentLike, parameters: SamplingParameters
) -> R:
    """Builds the request of a completion, unary or streamed.

    Args:
        request_type: CompletionRequest or StreamCompletionRequest.
        model_id: Model to ask.
        content: Text to continue.
        parameters: Everything else.

    Raises:
        InvalidInputError: A value does not fit.
    """
    _refuse_unknown(parameters, SamplingParameters)
    fields = inference_pb2.StreamCompletionRequest(
        model_id=model_id,
        content=messages.content(content),
        sampling_params=_sampling(parameters),
        response_format=_response_format(parameters),
        logprobs=_logprobs(parameters),
        stream_options=_stream_options(request_type, parameters),
    )
    return _as_twin(request_type, fields)


def batch_completion_request(
    model_id: str, content_batch: Iterable[messages.ContentLike], parameters: SamplingParameters
) -> inference_pb2.BatchCompletionRequest:
    """Builds the request of a batch of completions.

    Args:
        model_id: Model to ask.
        content_batch: Texts to continue.
        parameters: Everything else, for all of them.

    Raises:
        InvalidInputError: A value does not fit.
    """
    _refuse_unknown(parameters, SamplingParameters)
    return inference_pb2.BatchCompletionRequest(
        model_id=model_id,
        content_batch=[messages.content(item, f"content_batch[{n}]") for n, item in enumerate(content_batch)],
        sampling_params=_sampling(parameters),
        response_format=_response_format(parameters),
        logprobs=_logprobs(parameters),
    )


def batch_chat_request(
    model_id: str, messages_batch: Iterable[Iterable[messages.MessageLike]], parameters: ChatParameters
) -> inference_pb2.BatchChatCompletionRequest:
    """Builds the request of a batch of chats.

    Args:
        model_id: Model to ask.
        messages_batch: Conversations to answer.
        parameters: Everything else, for all of them.

    Raises:
        InvalidInputError: A value does not fit.
    """
    rest = chat_request(inference_pb2.ChatCompletionRequest, model_id, (), {**parameters, "system": ""})
    conversations = [messages.conversation(several, parameters.get("system")) for several in messages_batch]
    return inference_pb2.BatchChatCompletionRequest(
        model_id=model_id,
        messages_batch=[inference_pb2.Conversation(messages=several) for several in conversations],
        sampling_params=_given(rest, "sampling_params"),
        response_format=_given(rest, "response_format"),
        logprobs=_given(rest, "logprobs"),
        tools=rest.tools,
        tool_config=_given(rest, "tool_config"),
    )


def embeddings_request(
    model_id: str,
    contents: str | Iterable[messages.ContentLike],
    output_dimension: int | None = None,
    text_truncation: str | None = None,
) -> inference_pb2.EmbeddingsRequest:
    """Builds the request of embeddings.

    Args:
        model_id: Embedding model to ask.
        contents: One text, or several contents.
        output_dimension: Length of the vectors, for models that can shorten them.
        text_truncation: What to do with a content that is too long: `none`, `start`, `end`.

    Raises:
        InvalidInputError: A value does not fit.
    """
    several = [contents] if isinstance(contents, str) else contents
    fields: dict[str, Any] = {
        "model_id": model_id,
        "contents": [messages.content(item, f"contents[{index}]") for index, item in enumerate(several)],
        "output_dimension": output_dimension,
        "text_truncation": text_truncation,
    }
    return llama_stack.build(inference_pb2.EmbeddingsRequest, fields)


def tool_definition(tool: ToolLike, path: str = "tool") -> types_pb2.ToolDefinition:
    """Builds the definition of a tool.

    Args:
        tool: A definition, its Llama Stack shape, OpenAI's, or a built-in tool's name.
        path: Where the value stands, for errors.

    Raises:
        InvalidInputError: The value is no definition.
    """
    if isinstance(tool, str):
        return types_pb2.ToolDefinition(tool_name=tool)
    if isinstance(tool, Mapping) and isinstance(function := tool.get("function"), Mapping):
        return _from_openai(function, f"{path}.function")
    return llama_stack.build(types_pb2.ToolDefinition, tool, path)


def _from_openai(function: Mapping[str, Any], path: str) -> types_pb2.ToolDefinition:
    schema = function.get("parameters") or {}
    required = set(schema.get("required", ()))
    parameters = {
        name: {
            "param_type": kind if isinstance(kind := detail.get("type"), str) else "object",
            "description": detail.get("description"),
            "required": name in required,
            "default": detail.get("default"),
            "schema": detail,
        }
        for name, detail in schema.get("properties", {}).items()
    }
    shape = {"tool_name": function.get("name"), "description": function.get("description"), "parameters": parameters}
    return llama_stack.build(types_pb2.ToolDefinition, shape, path)


def _sampling(parameters: SamplingParameters) -> types_pb2.SamplingParams | None:
    whole = _exclusive(parameters, "sampling_params", _SAMPLING)
    if whole is not None:
        return llama_stack.build(types_pb2.SamplingParams, whole, "sampling_params")
    fields: dict[str, Any] = {name: parameters.get(name) for name in ("max_tokens", "seed", "repetition_penalty")}
    stop = parameters.get("stop")
    fields["stop"] = [stop] if isinstance(stop, str) else stop
    fields["strategy"] = _strategy(parameters)
    given = {name: value for name, value in fields.items() if value is not None}
    return llama_stack.build(types_pb2.SamplingParams, given, "sampling_params") if given else None


def _strategy(parameters: SamplingParameters) -> dict[str, Any] | None:
    temperature, top_p, top_k = (parameters.get(name) for name in ("temperature", "top_p", "top_k"))
    if temperature == 0 or (temperature is None and top_p is None and top_k is None):
        return {"type": "greedy"} if temperature == 0 else None
    # A share of 1 is all tokens: temperature alone must not cut the tail.
    fields = {"temperature": temperature, "top_p": 1.0 if top_p is None and top_k is None else top_p, "top_k": top_k}
    kind = "top_p" if top_k is None else "top_k"
    return {"type": kind, **{name: value for name, value in fields.items() if value is not None}}


def _response_format(parameters: SamplingParameters) -> types_pb2.ResponseFormat | None:
    given = [name for name in _FORMATS if parameters.get(name) is not None]
    if len(given) > 1:
        raise InvalidInputError(f"give one of {', '.join(given)}", given[0])
    if (schema := parameters.get("json_schema")) is not None:
        return types_pb2.ResponseFormat(json_schema_text=json.dumps(schema, ensure_ascii=False))
    if (grammar := parameters.get("grammar")) is not None:
        return types_pb2.ResponseFormat(grammar=types_pb2.GrammarResponseFormat(bnf=grammar))
    if (shape := parameters.get("response_format")) is not None:
        return llama_stack.build(types_pb2.ResponseFormat, shape, "response_format")
    return None


def _logprobs(parameters: SamplingParameters) -> types_pb2.LogProbConfig | None:
    top_k = parameters.get("logprobs")
    return None if top_k is None else llama_stack.build(types_pb2.LogProbConfig, {"top_k": top_k}, "logprobs")


def _tool_config(parameters: ChatParameters) -> types_pb2.ToolConfig | None:
    whole = _exclusive(parameters, "tool_config", _TOOLS[1:])
    if whole is None:
        whole = {name: parameters.get(name) for name in _TOOLS[1:] if parameters.get(name) is not None}
    return llama_stack.build(types_pb2.ToolConfig, whole, "tool_config") if whole else None


def _stream_options(request_type: type[Message], parameters: SamplingParameters) -> inference_pb2.StreamOptions | None:
    delay = parameters.get("max_coalescing_delay")
    if delay is None:
        return None
    if "stream_options" not in request_type.DESCRIPTOR.fields_by_name:
        raise InvalidInputError("only a stream has it; pass stream=True", "max_coalescing_delay")
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=delay))
    return inference_pb2.StreamOptions(max_coalescing_delay=duration)


def _given(request: inference_pb2.ChatCompletionRequest, field: str) -> Any:
    return getattr(request, field) if request.HasField(field) else None  # type: ignore[arg-type]  # one of its fields


def _exclusive(parameters: Mapping[str, Any], whole: str, parts: Iterable[str]) -> Any:
    value = parameters.get(whole)
    clash = next((part for part in parts if value is not None and parameters.get(part) is not None), None)
    if clash:
        raise InvalidInputError(f"give {whole} or {clash}, not both", whole)
    return value


def _refuse_unknown(parameters: Mapping[str, Any], known: type[SamplingParameters]) -> None:
    names = known.__annotations__.keys() | SamplingParameters.__annotations__.keys()
    unknown = next((name for name in parameters if name not in names), None)
    if unknown:
        raise InvalidInputError(f"there is no such parameter; known are {', '.join(sorted(names))}", unknown)


def _as_twin(request_type: type[R], request: Message) -> R:
    """Turns a streamed call's request into its unary twin: the contract gives both the same fields under the same numbers."""
    if isinstance(request, request_type):
        return request
    return request_type.FromString(request.SerializeToString())
