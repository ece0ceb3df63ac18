"""The gRPC of `vllm serve --grpc`; its messages come with smg-grpc-proto."""

import itertools
import time
from typing import Any

import grpc

from benchmarks.workload import Answer


class VllmGrpcClient:
    """Streams generations over one connection."""

    def __init__(self, target: str) -> None:
        """Connects with the first call.

        Args:
            target: `host:port`.
        """
        from smg_grpc_proto import vllm_engine_pb2, vllm_engine_pb2_grpc  # type: ignore[import-untyped]

        self._messages: Any = vllm_engine_pb2
        self._channel = grpc.aio.insecure_channel(target)
        self._stub: Any = vllm_engine_pb2_grpc.VllmEngineStub(self._channel)
        self._numbers = itertools.count()

    async def ask(self, prompt: str, max_tokens: int) -> Answer:
        """Streams one answer."""
        params = self._messages.SamplingParams(
            temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_tokens=max_tokens, n=1
        )
        request = self._messages.GenerateRequest(
            request_id=f"{id(self)}-{next(self._numbers)}", text=prompt, sampling_params=params, stream=True
        )
        answer = Answer(time.monotonic())
        call = self._stub.Generate(request)
        while (message := await call.read()) is not grpc.aio.EOF:
            # The last message repeats the tokens of the one before.
            if message.HasField("chunk"):
                answer.arrivals.append(time.monotonic())
                answer.tokens += len(message.chunk.token_ids)
        return answer

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()
