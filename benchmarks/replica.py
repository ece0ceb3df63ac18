"""A replica that costs as little as one in Python can, for measuring the gateway alone. `python -m benchmarks.replica --listen ADDRESS`.

It serves what the gateway needs of a provider, Embeddings (the same small answer always) and StreamCompletion, whose request says in its
text what to send: a `Script`.
"""

import argparse
import asyncio
import json
import math
import signal
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from caravan.registry.v1 import models_pb2
from caravan.types.v1 import types_pb2

SERVICE = "caravan.inference.v1.InferenceService"
PROVIDER_ID = "bare"
MODEL_ID = "bare"


@dataclass(frozen=True)
class Script:
    """What a stream sends."""

    messages: int
    """How many messages; 0: until it is cancelled."""
    size: int
    """Bytes of text in each."""
    pause: float
    """Seconds between two messages."""

    def request(self) -> inference_pb2.StreamCompletionRequest:
        """The request for it."""
        content = types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=json.dumps(asdict(self)))])
        return inference_pb2.StreamCompletionRequest(model_id=MODEL_ID, content=content)

    @classmethod
    def of(cls, request: inference_pb2.StreamCompletionRequest) -> Self:
        """Reads `request`."""
        return cls(**json.loads(request.content.items[0].text))


class Replica(inference_pb2_grpc.InferenceServiceServicer, providers_pb2_grpc.ProviderServiceServicer):
    """Both services."""

    async def StreamCompletion(
        self, request: inference_pb2.StreamCompletionRequest, context: Any
    ) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
        script = Script.of(request)
        message = inference_pb2.StreamCompletionResponse(delta="x" * script.size)
        loop = asyncio.get_running_loop()
        due = loop.time()
        sent = 0
        while sent < (script.messages or math.inf):
            yield message
            sent += 1
            if script.pause:
                # Kept to the clock, not to the end of the last pause.
                due += script.pause
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def Embeddings(
        self, request: inference_pb2.EmbeddingsRequest, context: Any
    ) -> inference_pb2.EmbeddingsResponse:
        return inference_pb2.EmbeddingsResponse(embeddings=[inference_pb2.Embedding(values=[1.0])])

    async def DescribeProvider(
        self, request: providers_pb2.DescribeProviderRequest, context: Any
    ) -> providers_pb2.DescribeProviderResponse:
        model = models_pb2.Model(
            model_id=MODEL_ID, provider_model_id=MODEL_ID, model_type=models_pb2.MODEL_TYPE_EMBEDDING
        )
        return providers_pb2.DescribeProviderResponse(
            provider_id=PROVIDER_ID,
            provider_type="inline::bare",
            services=[SERVICE],
            ready=True,
            instance_id=PROVIDER_ID,
            resources=[providers_pb2.Resource(model=model)],
        )


async def serve(listen: str) -> None:
    """Serves until SIGTERM.

    Args:
        listen: `host:port`.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    replica = Replica()
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(replica, server)
    providers_pb2_grpc.add_ProviderServiceServicer_to_server(replica, server)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    port = server.add_insecure_port(listen)
    serving: Any = health_pb2.HealthCheckResponse
    await health_servicer.set("", serving.SERVING)
    await server.start()
    print(json.dumps({"event": "serving", "address": f"{listen.rpartition(':')[0]}:{port}"}), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    uvloop.run(serve(parser.parse_args().listen))
