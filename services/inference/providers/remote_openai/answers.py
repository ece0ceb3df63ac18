"""What servers answer, as our messages."""

import base64
import binascii
import struct
from collections.abc import Collection, Mapping
from typing import Any

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.inference.openai_tool_calls import read_calls
from services.inference.providers.remote_openai import failures
from services.inference.providers.remote_openai.failures import Call
from services.inference.tool_calls.json_values import JsonObject
from services.inference.usage import usage

_STOP_REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "content_filter"), types_pb2.STOP_REASON_END_OF_TURN),
    **dict.fromkeys(("tool_calls", "function_call", "eom"), types_pb2.STOP_REASON_END_OF_MESSAGE),
    **dict.fromkeys(("length", "max_tokens"), types_pb2.STOP_REASON_OUT_OF_TOKENS),
}
"""By `finish_reason`. `eos_token` and `stop_sequence` are TGI's."""
_FAILED = frozenset({"abort", "error"})
_FLOAT_BYTES = 4
_LARGEST_COUNT = 2**53


def as_object(value: Any) -> JsonObject:
    """The JSON object; an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[JsonObject]:
    """The JSON objects of a list; none in place of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """The text, out of a string or a list of text parts; empty in place of anything else."""
    if isinstance(value, list):
        return "".join(as_text(as_object(part).get("text")) for part in value)
    return value if isinstance(value, str) else ""


def completion(
    answer: JsonObject, logprobs: types_pb2.LogProbConfig | None, call: Call
) -> inference_pb2.CompletionResponse:
    """Reads the answer of `/completions`.

    Args:
        answer: The answer.
        logprobs: The log probabilities that were asked for.
        call: The request.

    Raises:
        UnavailableError: The answer is malformed, or generation failed.
    """
    choice = _only_choice(answer, call)
    return inference_pb2.CompletionResponse(
        content=as_text(choice.get("text")),
        stop_reason=stop_reason(choice, call),
        logprobs=completion_logprobs(choice, logprobs),
        metrics=metrics(answer),
    )


def chat(
    answer: JsonObject, logprobs: types_pb2.LogProbConfig | None, declared: Collection[str], call: Call
) -> inference_pb2.ChatCompletionResponse:
    """Reads the answer of `/chat/completions`. A call of a tool that nobody declared, or without valid arguments, becomes text.

    Args:
        answer: The answer.
        logprobs: The log probabilities that were asked for.
        declared: Names of the tools that may be called.
        call: The request.

    Raises:
        UnavailableError: The answer is malformed, or generation failed.
    """
    choice = _only_choice(answer, call)
    message = as_object(choice.get("message"))
    reason = stop_reason(choice, call)
    cut = reason == types_pb2.STOP_REASON_OUT_OF_TOKENS
    calls, texts = read_calls(as_objects(message.get("tool_calls")), declared, cut=cut)
    content = as_text(message.get("content")) or as_text(message.get("refusal"))
    content = "\n".join(filter(None, [content, *texts]))
    whole = types_pb2.CompletionMessage(stop_reason=with_calls(reason, called=bool(calls)), tool_calls=calls)
    whole.content.items.extend([types_pb2.InterleavedContentItem(text=content)] if content else [])
    return inference_pb2.ChatCompletionResponse(
        completion_message=whole, logprobs=chat_logprobs(choice, logprobs), metrics=metrics(answer)
    )


def embeddings(answer: JsonObject, count: int, call: Call) -> inference_pb2.EmbeddingsResponse:
    """Reads the answer of `/embeddings`.

    Args:
        answer: The answer.
        count: Number of contents that were sent.
        call: The request.

    Raises:
        UnavailableError: The answer is malformed.
    """
    data = as_objects(answer.get("data"))
    vectors = {_index(item, place): _vector(item.get("embedding"), call) for place, item in enumerate(data)}
    if sorted(vectors) != list(range(count)):
        raise failures.broken(call, f"{len(data)} vectors came for {count} contents")
    prompt = _count(as_object(answer.get("usage")), "prompt_tokens")
    return inference_pb2.EmbeddingsResponse(
        embeddings=[inference_pb2.Embedding(values=vectors[index]) for index in range(count)],
        metrics=[] if prompt is None else usage(prompt=prompt),
    )


def stop_reason(choice: JsonObject, call: Call) -> types_pb2.StopReason.ValueType:
    """Why generation stopped; unspecified when the server does not say, or says what nobody knows.

    Raises:
        UnavailableError: Generation failed.
    """
    reason = choice.get("finish_reason")
    if reason in _FAILED:
        raise failures.broken(call, "the server gave up the generation")
    return (
        _STOP_REASONS.get(reason, types_pb2.STOP_REASON_UNSPECIFIED)
        if isinstance(reason, str)
        else types_pb2.STOP_REASON_UNSPECIFIED
    )


def with_calls(reason: types_pb2.StopReason.ValueType, *, called: bool) -> types_pb2.StopReason.ValueType:
    """The stop reason of a chat: an answer waits for tool results exactly when it holds a valid call."""
    if reason == types_pb2.STOP_REASON_OUT_OF_TOKENS:
        return reason
    if called:
        return types_pb2.STOP_REASON_END_OF_MESSAGE
    return types_pb2.STOP_REASON_END_OF_TURN if reason == types_pb2.STOP_REASON_END_OF_MESSAGE else reason


def metrics(answer: JsonObject) -> list[types_pb2.MetricInResponse]:
    """The usage that an answer tells; empty when it tells none."""
    told = as_object(answer.get("usage"))
    prompt, generated = _count(told, "prompt_tokens"), _count(told, "completion_tokens")
    if prompt is None:
        return []
    cached = _count(as_object(told.get("prompt_tokens_details")), "cached_tokens")
    return usage(prompt=prompt, completion=generated or 0, cached=cached or 0)


def chat_logprobs(choice: JsonObject, asked: types_pb2.LogProbConfig | None) -> list[types_pb2.TokenLogProbs]:
    """The log probabilities of a choice, or of a chunk's choice, of `/chat/completions`."""
    if asked is None:
        return []
    positions = as_objects(as_object(choice.get("logprobs")).get("content"))
    return [_position({**_top(item, asked.top_k), item.get("token"): item.get("logprob")}) for item in positions]


def completion_logprobs(choice: JsonObject, asked: types_pb2.LogProbConfig | None) -> list[types_pb2.TokenLogProbs]:
    """The log probabilities of a choice, or of a chunk's choice, of `/completions`."""
    if asked is None:
        return []
    told = as_object(choice.get("logprobs"))
    tokens, values, tops = (_list(told.get(name)) for name in ("tokens", "token_logprobs", "top_logprobs"))
    return [
        _position({**(as_object(tops[at]) if asked.top_k and at < len(tops) else {}), token: value})
        for at, (token, value) in enumerate(zip(tokens, values, strict=False))
    ]


def _only_choice(answer: JsonObject, call: Call) -> JsonObject:
    choices = as_objects(answer.get("choices"))
    if not choices:
        raise failures.broken(call, "the answer has no choices")
    return choices[0]


def _top(item: JsonObject, count: int) -> dict[Any, Any]:
    return {top.get("token"): top.get("logprob") for top in as_objects(item.get("top_logprobs"))[:count]}


def _position(by_token: Mapping[Any, Any]) -> types_pb2.TokenLogProbs:
    # A token without a number is one whose probability is not told, or is 0.
    numbers = ((token, _number(value)) for token, value in by_token.items() if isinstance(token, str))
    return types_pb2.TokenLogProbs(logprobs_by_token={token: value for token, value in numbers if value is not None})


def _vector(value: Any, call: Call) -> list[float] | tuple[float, ...]:
    if isinstance(value, str):
        try:
            packed = base64.b64decode(value, validate=True)
            return struct.unpack(f"<{len(packed) // _FLOAT_BYTES}f", packed)
        except (binascii.Error, struct.error) as error:
            raise failures.broken(call, "a vector is malformed") from error
    components = [number for part in _list(value) if (number := _number(part)) is not None]
    if components and len(components) == len(value):
        return components
    raise failures.broken(call, "a vector is malformed")


def _index(item: JsonObject, place: int) -> int:
    index = item.get("index")
    return index if isinstance(index, int) else place


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _count(numbers: JsonObject, name: str) -> int | None:
    value = numbers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT else None
