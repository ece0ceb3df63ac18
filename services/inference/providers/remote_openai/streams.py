"""Streamed answers as our events."""

from collections.abc import AsyncIterable, AsyncIterator, Collection

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.inference.openai_tool_calls import ToolCallStream
from services.inference.providers.remote_openai import answers, failures
from services.inference.providers.remote_openai.answers import as_object, as_objects, as_text
from services.inference.providers.remote_openai.failures import Call
from services.inference.tool_calls.json_values import JsonObject

OUT_OF_TOKENS = types_pb2.STOP_REASON_OUT_OF_TOKENS
ChatEvent = inference_pb2.StreamChatCompletionResponse


async def chat_events(
    chunks: AsyncIterable[JsonObject],
    logprobs: types_pb2.LogProbConfig | None,
    declared: Collection[str],
    call: Call,
) -> AsyncIterator[ChatEvent]:
    """Turns the chunks of `/chat/completions` into one start, any number of progress, one complete.

    Args:
        chunks: The chunks.
        logprobs: The log probabilities that were asked for.
        declared: Names of the tools that may be called.
        call: The request.

    Raises:
        UnavailableError: The stream ends before the answer does.
    """
    reader = _ChatReader(logprobs, declared, call)
    started = False
    async for chunk in chunks:
        if not started:
            started = True
            yield ChatEvent(start=ChatEvent.Start(delta=types_pb2.ContentDelta(text="")))
        for event in reader.feed(chunk):
            yield event
    for event in reader.finish():
        yield event


async def completion_events(
    chunks: AsyncIterable[JsonObject], logprobs: types_pb2.LogProbConfig | None, call: Call
) -> AsyncIterator[inference_pb2.StreamCompletionResponse]:
    """Turns the chunks of `/completions` into pieces, the last of which carries the stop reason and the usage.

    Args:
        chunks: The chunks.
        logprobs: The log probabilities that were asked for.
        call: The request.

    Raises:
        UnavailableError: The stream ends before the answer does.
    """
    end = _End(call)
    waiting: list[types_pb2.TokenLogProbs] = []
    async for chunk in chunks:
        choice = end.take(chunk)
        waiting += answers.completion_logprobs(choice, logprobs)
        text = as_text(choice.get("text"))
        if text:
            yield inference_pb2.StreamCompletionResponse(delta=text, logprobs=waiting)
            waiting = []
    reason = end.require()
    yield inference_pb2.StreamCompletionResponse(stop_reason=reason, logprobs=waiting, metrics=end.metrics)


class _End:
    """What a stream tells about its end: in one chunk why generation stopped, in that or a later one the usage."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._finished = False
        self._reason = types_pb2.STOP_REASON_UNSPECIFIED
        self.metrics: list[types_pb2.MetricInResponse] = []

    def take(self, chunk: JsonObject) -> JsonObject:
        """Notes what a chunk tells and returns its choice, an empty one when it has none."""
        # Some servers count in every chunk; the last count is the whole.
        self.metrics = answers.metrics(chunk) or self.metrics
        choice = next((c for c in as_objects(chunk.get("choices")) if not c.get("index")), {})
        if choice.get("finish_reason") is not None:
            self._finished = True
            self._reason = answers.stop_reason(choice, self._call)
        return choice

    def require(self) -> types_pb2.StopReason.ValueType:
        """Why generation stopped.

        Raises:
            UnavailableError: It did not.
        """
        if not self._finished:
            raise failures.broken(self._call, "the stream ended before the answer was whole")
        return self._reason


class _ChatReader:
    """Reads the chunks of one streamed chat."""

    def __init__(self, logprobs: types_pb2.LogProbConfig | None, declared: Collection[str], call: Call) -> None:
        self._asked = logprobs
        self._calls = ToolCallStream(declared)
        self._end = _End(call)
        self._logprobs: list[types_pb2.TokenLogProbs] = []

    def feed(self, chunk: JsonObject) -> list[ChatEvent]:
        """Returns the events of a chunk."""
        choice = self._end.take(chunk)
        self._logprobs += answers.chat_logprobs(choice, self._asked)
        delta = as_object(choice.get("delta"))
        text = as_text(delta.get("content")) or as_text(delta.get("refusal"))
        deltas = [types_pb2.ContentDelta(text=text)] if text else []
        deltas += _tool_calls(self._calls.feed(as_objects(delta.get("tool_calls"))))
        return [self._progress(delta) for delta in deltas]

    def finish(self) -> list[ChatEvent]:
        """Returns the last events."""
        reason = self._end.require()
        events = [self._progress(delta) for delta in _tool_calls(self._calls.finish(cut=reason == OUT_OF_TOKENS))]
        complete = ChatEvent.Complete(
            delta=types_pb2.ContentDelta(text=""),
            logprobs=self._logprobs,
            stop_reason=answers.with_calls(reason, called=self._calls.succeeded > 0),
            metrics=self._end.metrics,
        )
        return [*events, ChatEvent(complete=complete)]

    def _progress(self, delta: types_pb2.ContentDelta) -> ChatEvent:
        """A progress event; it carries the log probabilities of all tokens that no event covered yet."""
        logprobs, self._logprobs = self._logprobs, []
        return ChatEvent(progress=ChatEvent.Progress(delta=delta, logprobs=logprobs))


def _tool_calls(deltas: list[types_pb2.ToolCallDelta]) -> list[types_pb2.ContentDelta]:
    return [types_pb2.ContentDelta(tool_call=delta) for delta in deltas]
