"""A gateway for the client's tests: the contract's services on a loopback port, with failures on demand."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.inspect.v1 import inspect_pb2, inspect_pb2_grpc
from caravan.registry.v1 import (
    models_pb2,
    models_pb2_grpc,
    routes_pb2,
    routes_pb2_grpc,
    tool_groups_pb2,
    tool_groups_pb2_grpc,
)
from caravan.types.v1 import types_pb2

PAGE = 2


@dataclass
class Seen:
    """One call that arrived."""

    method: str
    request: Any
    metadata: dict[str, str]
    time_remaining: float | None
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass
class Failing:
    """How the next call of a method fails."""

    code: grpc.StatusCode
    message: str = "scripted"
    details: tuple[Message, ...] = ()
    after: int = 0
    """Events that are streamed before it."""


class Gateway(
    inference_pb2_grpc.InferenceServiceServicer,
    models_pb2_grpc.ModelsServiceServicer,
    tool_groups_pb2_grpc.ToolGroupsServiceServicer,
    routes_pb2_grpc.RoutesServiceServicer,
    inspect_pb2_grpc.InspectServiceServicer,
):
    """Answers with what it was asked; keeps what it saw."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.seen: list[Seen] = []
        self.failures: dict[str, deque[Failing]] = defaultdict(deque)
        self.models = {f"model-{n}": models_pb2.Model(model_id=f"model-{n}", provider_id="vllm") for n in range(5)}
        self.endpoints: list[routes_pb2.Endpoint] = []
        self.ttl = 60.0
        self.words = ["Hello", ", ", "world", "."]
        self.endless = False
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self, self._server)
        models_pb2_grpc.add_ModelsServiceServicer_to_server(self, self._server)
        tool_groups_pb2_grpc.add_ToolGroupsServiceServicer_to_server(self, self._server)
        routes_pb2_grpc.add_RoutesServiceServicer_to_server(self, self._server)
        inspect_pb2_grpc.add_InspectServiceServicer_to_server(self, self._server)
        if credentials:
            self.port = self._server.add_secure_port(f"localhost:{port}", credentials)
        else:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def fail(self, method: str, failing: Failing, times: int = 1) -> None:
        self.failures[method].extend([failing] * times)

    def calls(self, method: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method]

    # Services

    def ChatCompletion(self, request, context):
        self._arrive("ChatCompletion", request, context)
        if request.tools:
            call = types_pb2.ToolCall(
                call_id="c1", tool_name=request.tools[0].tool_name, arguments_json='{"big": 9007199254740993}'
            )
            message = types_pb2.CompletionMessage(stop_reason=types_pb2.STOP_REASON_END_OF_MESSAGE, tool_calls=[call])
        else:
            message = types_pb2.CompletionMessage(stop_reason=types_pb2.STOP_REASON_END_OF_TURN)
            message.content.items.add(text="".join(self.words))
        return inference_pb2.ChatCompletionResponse(completion_message=message, metrics=_usage())

    def StreamChatCompletion(self, request, context) -> Iterator[inference_pb2.StreamChatCompletionResponse]:
        failing = self._arrive("StreamChatCompletion", request, context)
        event = inference_pb2.StreamChatCompletionResponse
        empty = types_pb2.ContentDelta(text="")
        yield event(start=event.Start(delta=empty))
        for count, word in enumerate(self._stream_of_words(context), start=1):
            yield event(progress=event.Progress(delta=types_pb2.ContentDelta(text=word)))
            if failing and count >= failing.after:
                _abort(context, failing)
        if request.tools:
            yield from _tool_call_events(request.tools[0].tool_name)
        reason = types_pb2.STOP_REASON_END_OF_MESSAGE if request.tools else types_pb2.STOP_REASON_END_OF_TURN
        yield event(complete=event.Complete(delta=empty, stop_reason=reason, metrics=_usage()))

    def Completion(self, request, context):
        self._arrive("Completion", request, context)
        return inference_pb2.CompletionResponse(
            content="".join(self.words), stop_reason=types_pb2.STOP_REASON_OUT_OF_TOKENS, metrics=_usage()
        )

    def StreamCompletion(self, request, context):
        self._arrive("StreamCompletion", request, context)
        for word in self._stream_of_words(context):
            yield inference_pb2.StreamCompletionResponse(delta=word)
        yield inference_pb2.StreamCompletionResponse(stop_reason=types_pb2.STOP_REASON_OUT_OF_TOKENS, metrics=_usage())

    def BatchCompletion(self, request, context):
        self._arrive("BatchCompletion", request, context)
        return inference_pb2.BatchCompletionResponse(
            batch=[inference_pb2.CompletionResponse(content=item.items[0].text) for item in request.content_batch]
        )

    def BatchChatCompletion(self, request, context):
        self._arrive("BatchChatCompletion", request, context)
        return inference_pb2.BatchChatCompletionResponse(
            batch=[inference_pb2.ChatCompletionResponse() for _ in request.messages_batch]
        )

    def Embeddings(self, request, context):
        self._arrive("Embeddings", request, context)
        vectors = [inference_pb2.Embedding(values=[1.0, float(len(c.items[0].text))]) for c in request.contents]
        return inference_pb2.EmbeddingsResponse(embeddings=vectors, metrics=_usage())

    def ListModels(self, request, context):
        self._arrive("ListModels", request, context)
        begin = int(request.page_token or 0)
        entries = [model for _, model in sorted(self.models.items())]
        token = str(begin + PAGE) if begin + PAGE < len(entries) else ""
        return models_pb2.ListModelsResponse(data=entries[begin : begin + PAGE], next_page_token=token)

    def GetModel(self, request, context):
        self._arrive("GetModel", request, context)
        if request.model_id not in self.models:
            _abort(context, unknown_model(request.model_id))
        return models_pb2.GetModelResponse(model=self.models[request.model_id])

    def RegisterModel(self, request, context):
        self._arrive("RegisterModel", request, context)
        model = models_pb2.Model(
            model_id=request.model_id,
            provider_id=request.provider_id,
            model_type=request.model_type,
            metadata=request.metadata,
            adapter=request.adapter if request.HasField("adapter") else None,
        )
        self.models[request.model_id] = model
        return models_pb2.RegisterModelResponse(model=model)

    def UnregisterModel(self, request, context):
        self._arrive("UnregisterModel", request, context)
        self.models.pop(request.model_id, None)
        return models_pb2.UnregisterModelResponse()

    def RegisterToolGroup(self, request, context):
        self._arrive("RegisterToolGroup", request, context)
        group = tool_groups_pb2.ToolGroup(toolgroup_id=request.toolgroup_id, mcp_endpoint=request.mcp_endpoint)
        return tool_groups_pb2.RegisterToolGroupResponse(tool_group=group)

    def Resolve(self, request, context):
        self._arrive("Resolve", request, context)
        ttl = duration_pb2.Duration()
        ttl.FromNanoseconds(int(self.ttl * 1e9))
        return routes_pb2.ResolveResponse(endpoints=self.endpoints, provider_id="vllm", ttl=ttl)

    def WatchSnapshot(self, request, context):
        self._arrive("WatchSnapshot", request, context)
        yield routes_pb2.WatchSnapshotResponse(snapshot=routes_pb2.Snapshot(version=request.known_version + 1))

    def ListProviders(self, request, context):
        self._arrive("ListProviders", request, context)
        provider = inspect_pb2.Provider(
            provider_id="vllm", provider_type="inline::vllm", health=inspect_pb2.HEALTH_STATUS_OK
        )
        provider.replicas.add(address="127.0.0.1:1", health=inspect_pb2.HEALTH_STATUS_OK, resource_count=5)
        return inspect_pb2.ListProvidersResponse(data=[provider])

    def ListRoutes(self, request, context):
        self._arrive("ListRoutes", request, context)
        route = inspect_pb2.Route(
            grpc_path="/caravan.x.v1.X/Y", route="/v1/x", method="POST", provider_types=["inline::vllm"]
        )
        return inspect_pb2.ListRoutesResponse(data=[route])

    def Health(self, request, context):
        self._arrive("Health", request, context)
        ok = inspect_pb2.HEALTH_STATUS_OK
        return inspect_pb2.HealthResponse(status=ok, registry=ok, providers={"vllm": ok}, snapshot_version=3)

    def Version(self, request, context):
        self._arrive("Version", request, context)
        return inspect_pb2.VersionResponse(version="9.9.9")

    def _arrive(self, method: str, request: Message, context: grpc.ServicerContext) -> Failing | None:
        metadata = {item.key: item.value for item in context.invocation_metadata()}
        seen = Seen(method, request, metadata, context.time_remaining())
        self.seen.append(seen)
        context.add_callback(seen.ended.set)
        failing = self.failures[method].popleft() if self.failures[method] else None
        if failing and not failing.after:
            _abort(context, failing)
        return failing

    def _stream_of_words(self, context: grpc.ServicerContext) -> Iterator[str]:
        yield from self.words
        while self.endless and context.is_active():
            time.sleep(0.005)
            yield "on and on "


def unknown_model(model_id: str) -> Failing:
    return Failing(
        grpc.StatusCode.NOT_FOUND,
        f"unknown model {model_id}",
        (
            error_details_pb2.ErrorInfo(reason="MODEL_NOT_FOUND", domain="caravan", metadata={"model_id": model_id}),
            error_details_pb2.ResourceInfo(resource_type="model", resource_name=model_id),
        ),
    )


def unavailable(retry_after: float | None = None) -> Failing:
    details: list[Message] = [error_details_pb2.ErrorInfo(reason="NO_REPLICA", domain="caravan")]
    if retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return Failing(grpc.StatusCode.UNAVAILABLE, "no replica serves it", tuple(details))


def _abort(context: grpc.ServicerContext, failing: Failing) -> None:
    status = status_pb2.Status(code=failing.code.value[0], message=failing.message)
    for detail in failing.details:
        status.details.add().Pack(detail)
    context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
    context.abort(failing.code, failing.message)


def _usage() -> list[types_pb2.MetricInResponse]:
    counts = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return [types_pb2.MetricInResponse(metric=name, value=value, unit="tokens") for name, value in counts.items()]


def _tool_call_events(name: str) -> Iterator[inference_pb2.StreamChatCompletionResponse]:
    event = inference_pb2.StreamChatCompletionResponse
    call = types_pb2.ToolCall(call_id="c1", tool_name=name, arguments_json='{"city": "Rome"}')
    for delta in (
        types_pb2.ToolCallDelta(text="", parse_status=types_pb2.TOOL_CALL_PARSE_STATUS_STARTED),
        types_pb2.ToolCallDelta(text='{"city":', parse_status=types_pb2.TOOL_CALL_PARSE_STATUS_IN_PROGRESS),
        types_pb2.ToolCallDelta(tool_call=call, parse_status=types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED),
    ):
        yield event(progress=event.Progress(delta=types_pb2.ContentDelta(tool_call=delta)))
