"""Caravan's own contract over a bare gRPC stub: the service itself, or the gateway."""

import time
from typing import Any

import grpc

from benchmarks.workload import Answer
from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.types.v1 import types_pb2


class CaravanClient:
    """Streams completions over one connection."""

    def __init__(self, target: str, model: str) -> None:
        """Connects with the first call.

        Args:
            target: `host:port`.
            model: Identifier of the model.
        """
        self._channel = grpc.aio.insecure_channel(target)
        self._stub: Any = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self._model = model

    async def ask(self, prompt: str, max_tokens: int) -> Answer:
        """Streams one answer."""
        content = types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=prompt)])
        request = inference_pb2.StreamCompletionRequest(
            model_id=self._model, content=content, sampling_params=types_pb2.SamplingParams(max_tokens=max_tokens)
        )
        answer = Answer(time.monotonic())
        call = self._stub.StreamCompletion(request)
        last = None
        while (message := await call.read()) is not grpc.aio.EOF:
            answer.arrivals.append(time.monotonic())
            last = message
        if last is not None:
            counts = {metric.metric: metric.value for metric in last.metrics}
            answer.tokens = int(counts["completion_tokens"])
        return answer

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()
