"""Requests as tests write them: short."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2

MODEL = "caravan-chat"
WEATHER = types_pb2.ToolDefinition(
    tool_name="get_weather",
    description="Current weather of a city",
    parameters={
        # A free string would depend on the model to end it.
        "city": types_pb2.ToolParamDefinition(
            param_type="string",
            description="Name of the city",
            schema=json_format.ParseDict({"type": "string", "enum": ["Oslo", "Rome"]}, struct_pb2.Struct()),
        ),
        "days": types_pb2.ToolParamDefinition(param_type="integer", description="Days to look ahead", required=False),
    },
)


def content(text: str) -> types_pb2.InterleavedContent:
    return types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=text)])


def user(text: str) -> types_pb2.Message:
    return types_pb2.Message(user={"content": content(text)})


def completion(text: str = "Hello", **fields: Any) -> inference_pb2.CompletionRequest:
    return inference_pb2.CompletionRequest(**{"model_id": MODEL, "content": content(text), **fields})


def chat(text: str = "Hello!", **fields: Any) -> inference_pb2.ChatCompletionRequest:
    return inference_pb2.ChatCompletionRequest(**{"model_id": MODEL, "messages": [user(text)], **fields})


def streamed(
    request: inference_pb2.CompletionRequest | inference_pb2.ChatCompletionRequest,
) -> Any:
    """The streaming twin of a request; the two share their fields' numbers."""
    twins = {
        inference_pb2.CompletionRequest: inference_pb2.StreamCompletionRequest,
        inference_pb2.ChatCompletionRequest: inference_pb2.StreamChatCompletionRequest,
    }
    return twins[type(request)].FromString(request.SerializeToString())


def sampling(max_tokens: int = 16, **fields: Any) -> types_pb2.SamplingParams:
    return types_pb2.SamplingParams(max_tokens=max_tokens, **fields)


def metrics(of: Iterable[types_pb2.MetricInResponse]) -> Mapping[str, float]:
    return {metric.metric: metric.value for metric in of}


def text_of(message: types_pb2.CompletionMessage) -> str:
    return "".join(item.text for item in message.content.items)


def violations(error: grpc.RpcError) -> Sequence[str]:
    """The paths of the wrong fields."""
    details = detail(error, error_details_pb2.BadRequest)
    return [violation.field for violation in details.field_violations] if details else []


def reason(error: grpc.RpcError) -> str:
    """`ErrorInfo.reason`, which every error of ours has."""
    info = detail(error, error_details_pb2.ErrorInfo)
    assert info is not None, f"no ErrorInfo in {error}"
    assert info.domain == "caravan"
    return info.reason


def detail(error: Any, kind: Any) -> Any:
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        found = kind()
        if packed.Unpack(found):
            return found
    return None
