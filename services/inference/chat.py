"""From generated pieces to the messages of a chat answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.inference.generation import Piece
from services.inference.tool_calls.decode import assemble

ChatEvent: TypeAlias = inference_pb2.StreamChatCompletionResponse

EMPTY_TEXT = types_pb2.ContentDelta(text="")


class AnswerDecoder(Protocol):
    """Tells tool calls from text in what a model writes, whatever the pieces it comes in."""

    def feed(self, piece: Piece) -> Sequence[types_pb2.ContentDelta]:
        """Takes the next piece and returns what is certain by now."""

    def finish(self, stop_reason: types_pb2.StopReason.ValueType) -> Sequence[types_pb2.ContentDelta]:
        """Returns what was held back, at the end of the answer.

        Args:
            stop_reason: Why the answer ended; what was cut off is no call.
        """


class PlainText:
    """The decoder of answers that hold no tool calls."""

    def feed(self, piece: Piece) -> Sequence[types_pb2.ContentDelta]:
        """Returns the text as it is."""
        return (types_pb2.ContentDelta(text=piece.text),) if piece.text else ()

    def finish(self, stop_reason: types_pb2.StopReason.ValueType) -> Sequence[types_pb2.ContentDelta]:
        """Returns nothing: nothing is held back."""
        del stop_reason
        return ()


@dataclass(slots=True)
class ChatStream:
    """Makes the events of one streamed answer: one start, any number of progress, one complete."""

    decoder: AnswerDecoder
    """Tells tool calls from text."""
    _has_calls: bool = False
    _waiting_logprobs: list[types_pb2.TokenLogProbs] = field(default_factory=list)

    def start(self) -> ChatEvent:
        """The first event."""
        return ChatEvent(start=ChatEvent.Start(delta=EMPTY_TEXT))

    def events(self, piece: Piece) -> Iterator[ChatEvent]:
        """The events of one piece; the last piece's end with the complete event."""
        self._waiting_logprobs += piece.logprobs
        yield from self._progress(self.decoder.feed(piece))
        if piece.finished:
            yield from self._progress(self.decoder.finish(piece.stop_reason))
            yield ChatEvent(
                complete=ChatEvent.Complete(
                    delta=EMPTY_TEXT,
                    logprobs=self._take_logprobs(),
                    stop_reason=final_stop_reason(piece.stop_reason, has_calls=self._has_calls),
                    metrics=piece.metrics,
                )
            )

    def _progress(self, deltas: Sequence[types_pb2.ContentDelta]) -> Iterator[ChatEvent]:
        for delta in deltas:
            if delta.tool_call.parse_status == types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED:
                self._has_calls = True
            yield ChatEvent(progress=ChatEvent.Progress(delta=delta, logprobs=self._take_logprobs()))

    def _take_logprobs(self) -> list[types_pb2.TokenLogProbs]:
        taken, self._waiting_logprobs = self._waiting_logprobs, []
        return taken


def whole_answer(decoder: AnswerDecoder, piece: Piece) -> inference_pb2.ChatCompletionResponse:
    """The response to a unary call. What looked like a call and was none is text.

    Args:
        decoder: Tells tool calls from text; a fresh one.
        piece: The whole answer as one piece.
    """
    answer = assemble([*decoder.feed(piece), *decoder.finish(piece.stop_reason)])
    message = types_pb2.CompletionMessage(
        stop_reason=final_stop_reason(piece.stop_reason, has_calls=bool(answer.tool_calls)),
        tool_calls=answer.tool_calls,
    )
    if answer.text:
        message.content.items.add(text=answer.text)
    return inference_pb2.ChatCompletionResponse(
        completion_message=message, logprobs=piece.logprobs, metrics=piece.metrics
    )


def final_stop_reason(
    stop_reason: types_pb2.StopReason.ValueType, *, has_calls: bool
) -> types_pb2.StopReason.ValueType:
    """An answer that calls tools waits for their results, whichever token the model ended it with."""
    if has_calls and stop_reason == types_pb2.STOP_REASON_END_OF_TURN:
        return types_pb2.STOP_REASON_END_OF_MESSAGE
    return stop_reason
