"""Metrics of single calls: time to first token, duration, tokens. Names: OpenTelemetry's semantic conventions for generative AI."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TypeVar, cast

from opentelemetry import metrics

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2

StreamedT = TypeVar("StreamedT", inference_pb2.StreamCompletionResponse, inference_pb2.StreamChatCompletionResponse)

TOKEN_TYPES = {"prompt_tokens": "input", "completion_tokens": "output"}


class CallMetrics:
    """Records what calls cost. Costs nothing to speak of while nobody collects."""

    def __init__(self) -> None:
        """Makes the instruments."""
        meter = metrics.get_meter("caravan.inference")
        self._first_token = meter.create_histogram(
            "gen_ai.server.time_to_first_token", "s", "Time from a streamed call's arrival to its first message"
        )
        self._duration = meter.create_histogram(
            "gen_ai.server.request.duration", "s", "Time from a call's arrival to its last message"
        )
        self._tokens = meter.create_counter("gen_ai.usage.tokens", "{token}", "Tokens read and generated")

    def finished(self, model_id: str, started: float, usage: Iterable[types_pb2.MetricInResponse]) -> None:
        """Records a call that succeeded.

        Args:
            model_id: The model that it named.
            started: `time.monotonic()` of its arrival.
            usage: The response's metrics.
        """
        attributes = {"gen_ai.request.model": model_id}
        self._duration.record(time.monotonic() - started, attributes)
        for metric in usage:
            if token_type := TOKEN_TYPES.get(metric.metric):
                self._tokens.add(metric.value, attributes | {"gen_ai.token.type": token_type})

    async def watch(self, model_id: str, responses: AsyncIterator[StreamedT]) -> AsyncIterator[StreamedT]:
        """Passes a stream on and records it.

        Args:
            model_id: The model that the call names.
            responses: The stream, an async generator.
        """
        started = time.monotonic()
        response: StreamedT | None = None
        async with aclosing(cast("AsyncGenerator[StreamedT, None]", responses)) as stream:
            async for response in stream:
                yield response
                break
            self._first_token.record(time.monotonic() - started, {"gen_ai.request.model": model_id})
            async for response in stream:
                yield response
        if response is not None:
            self.finished(model_id, started, _usage(response))


def _usage(
    last: inference_pb2.StreamCompletionResponse | inference_pb2.StreamChatCompletionResponse,
) -> Iterable[types_pb2.MetricInResponse]:
    return last.metrics if isinstance(last, inference_pb2.StreamCompletionResponse) else last.complete.metrics
