"""A small real replica: InferenceService, ProviderService and health on one port. `python -m tests.gateway.replica --help`."""

import argparse
import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from caravan.registry.v1 import models_pb2

INFERENCE = "caravan.inference.v1.InferenceService"
_KINDS = {"model": options_pb2.RESOURCE_KIND_MODEL, "memory_bank": options_pb2.RESOURCE_KIND_MEMORY_BANK}


class Replica(
    inference_pb2_grpc.InferenceServiceServicer, providers_pb2_grpc.ProviderServiceServicer, grpc.GenericRpcHandler
):
    """Behaves as the request's text and metadata ask it to."""

    def __init__(
        self,
        provider_id: str = "echo",
        models: tuple[str, ...] = ("echo-1",),
        services: tuple[str, ...] = (INFERENCE,),
        options: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.provider_id = provider_id
        self.models = models
        self.services = services
        self.ready = True
        self.instance_id = os.urandom(8).hex()
        self.loadable: tuple[int, ...] = (options_pb2.RESOURCE_KIND_MODEL,)
        self.loaded: dict[str, providers_pb2.Resource] = {}
        self.options = list(options)
        self.discarded: list[providers_pb2.Resource] = []
        self.refuse_load: grpc.StatusCode | None = None
        self.refuse_unload: grpc.StatusCode | None = None
        self.load_seconds = 0.0
        self.loads = 0
        self.calls: list[str] = []
        self.running = 0
        self.cancelled = asyncio.Event()
        self.sent = 0
        self.last_metadata: dict[str, Any] = {}
        self.last_time_remaining: float | None = None
        self.last_raw = b""
        self.address = ""
        self.health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None) -> "Replica":
        # Of two with the same name, gRPC takes the first.
        options = [
            *self.options,
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.max_send_message_length", 64 << 20),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self,))
        # Handlers registered by name would be asked before the generic one.
        only_generic = SimpleNamespace(
            add_generic_rpc_handlers=self._server.add_generic_rpc_handlers,
            add_registered_method_handlers=lambda *_: None,
        )
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self, only_generic)
        providers_pb2_grpc.add_ProviderServiceServicer_to_server(self, only_generic)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        server = self._server
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        self.address = f"{address.rpartition(':')[0]}:{port}"
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()
        return self

    async def stop(self, grace: float | None = None) -> None:
        if self._server is not None:
            await self._server.stop(grace)

    async def set_serving(self, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self.health.set("", status.SERVING if serving else status.NOT_SERVING)

    # Raw bytes, for methods that are asked for under the "raw" metadata key: all four kinds echo what comes.

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        metadata = dict(handler_call_details.invocation_metadata)
        match metadata.get("raw"):
            case "unary_unary":
                return grpc.unary_unary_rpc_method_handler(self._raw_unary)
            case "unary_stream":
                return grpc.unary_stream_rpc_method_handler(self._raw_unary_stream)
            case "stream_unary":
                return grpc.stream_unary_rpc_method_handler(self._raw_stream_unary)
            case "stream_stream":
                return grpc.stream_stream_rpc_method_handler(self._raw_stream_stream)
        return None

    async def _raw_unary(self, request: bytes, context: Any) -> bytes:
        self.last_raw = request
        return request

    async def _raw_unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield request

    async def _raw_stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([request async for request in requests])

    async def _raw_stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    # InferenceService.

    async def ChatCompletion(self, request: Any, context: Any) -> Any:
        await self._enter("ChatCompletion", request, context)
        text = _text(request)
        if text == "details":
            status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="full – voll")
            status.details.add().Pack(error_details_pb2.ErrorInfo(reason="QUEUE_FULL", domain="caravan"))
            await context.abort_with_status(rpc_status.to_status(status))
        if text == "unavailable":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if text == "metadata":
            await context.send_initial_metadata((("initial", "one"), ("initial-bin", b"\x00\xff")))
            context.set_trailing_metadata((("trailing", "two"), ("trailing-bin", b"\x01\xfe")))
        if text == "sleep":
            await self._sleep()
        response = inference_pb2.ChatCompletionResponse()
        response.completion_message.content.items.add().text = f"{self.address} {request.model_id}: {text[:64]}"
        return response

    async def StreamChatCompletion(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._enter("StreamChatCompletion", request, context)
        text = _text(request)
        self.running += 1
        try:
            if text == "sleep":
                await self._sleep()
            count, size = (int(word) for word in text.split()) if text[:1].isdigit() else (3, 1)
            for number in range(count):
                if text.startswith("slow") and number:
                    await asyncio.sleep(0.3)
                response = inference_pb2.StreamChatCompletionResponse()
                response.progress.delta.text = str(number) + "x" * size
                self.sent += 1
                yield response
            if text == "hang":
                await self._sleep()
        finally:
            self.running -= 1

    async def Embeddings(self, request: Any, context: Any) -> Any:
        await self._enter("Embeddings", request, context)
        return inference_pb2.EmbeddingsResponse(embeddings=[inference_pb2.Embedding(values=[1.0])])

    async def _enter(self, name: str, request: Any, context: Any) -> None:
        self.calls.append(name)
        self.last_metadata = dict(context.invocation_metadata() or ())
        self.last_time_remaining = context.time_remaining()
        known = {*self.models, *self.loaded}
        if request.model_id not in known:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"replica does not have {request.model_id}")

    async def _sleep(self) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    # ProviderService.

    async def DescribeProvider(self, request: Any, context: Any) -> Any:
        response = providers_pb2.DescribeProviderResponse(
            provider_id=self.provider_id,
            provider_type="inline::echo",
            services=self.services,
            ready=self.ready,
            not_ready_reason="" if self.ready else "warming up",
            instance_id=self.instance_id,
            loadable_kinds=self.loadable,  # type: ignore[arg-type]
        )
        response.config.update({"api_key": "********"})
        for model in self.models if self.ready else ():
            response.resources.add().model.CopyFrom(
                models_pb2.Model(model_id=model, provider_model_id=model, model_type=1)
            )  # type: ignore[arg-type]
        for name, resource in self.loaded.items():
            member = resource.WhichOneof("resource")
            revision = getattr(resource, member).entry.revision
            response.loaded.add(kind=_KINDS[member], resource_id=name, revision=revision)
        return response

    async def LoadResource(self, request: Any, context: Any) -> Any:
        if request.resource.HasField("memory_bank"):
            self.loaded[request.resource.memory_bank.memory_bank_id] = request.resource
            return providers_pb2.LoadResourceResponse(resource=request.resource)
        loaded = self.loaded.get(request.resource.model.model_id)
        if loaded is not None and loaded.model.entry.revision == request.resource.model.entry.revision:
            return providers_pb2.LoadResourceResponse(resource=loaded)
        self.loads += 1
        if self.load_seconds:
            await asyncio.sleep(self.load_seconds)
        if self.refuse_load is not None:
            status = status_pb2.Status(code=self.refuse_load.value[0], message="it does not fit")
            status.details.add().Pack(error_details_pb2.ErrorInfo(reason="NO_FIT", domain="caravan"))
            status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=7)))
            await context.abort_with_status(rpc_status.to_status(status))
        resource = request.resource
        resource.model.metadata.update({"context_length": 4096})
        self.loaded[resource.model.model_id] = resource
        return providers_pb2.LoadResourceResponse(resource=resource)

    async def UnloadResource(self, request: Any, context: Any) -> Any:
        if self.refuse_unload is not None:
            await context.abort(self.refuse_unload, "not now")
        self.loaded.pop(request.resource_id, None)
        if request.HasField("discarded"):
            self.discarded.append(request.discarded)
        return providers_pb2.UnloadResourceResponse()


def _text(request: Any) -> str:
    return request.messages[0].user.content.items[0].text if request.messages else ""


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--provider-id", default="echo")
    parser.add_argument("--models", default="echo-1")
    arguments = parser.parse_args()
    replica = Replica(arguments.provider_id, tuple(arguments.models.split(",")))
    await replica.start(arguments.listen)
    print(json.dumps({"event": "serving", "address": replica.address}), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await replica.stop(1.0)


if __name__ == "__main__":
    asyncio.run(_main())
