"""What the convenience calls return: a model's answer in plain values, from one response or gathered from a stream."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from caravan.inference.v1 import inference_pb2
from caravan.messages import text_of
from caravan.types.v1 import types_pb2


@dataclass(frozen=True)
class Reply:
    """A model's answer."""

    text: str
    """The text."""
    stop_reason: str
    """`end_of_turn`, `end_of_message` (it waits for tool results) or `out_of_tokens`; empty when the stream broke off."""
    message: types_pb2.CompletionMessage
    """The model's message, to be put back into the conversation."""
    usage: Mapping[str, int] = field(default_factory=dict)
    """`prompt_tokens`, `completion_tokens`, `total_tokens`."""
    logprobs: tuple[types_pb2.TokenLogProbs, ...] = ()
    """One entry for each generated token, when asked for."""

    @property
    def tool_calls(self) -> list[types_pb2.ToolCall]:
        """The calls that the model asks for; `caravan.tool_arguments` reads their arguments."""
        return list(self.message.tool_calls)


def usage_of(metrics: Iterable[types_pb2.MetricInResponse]) -> dict[str, int]:
    """Reads the usage.

    Args:
        metrics: Metrics of a response.
    """
    return {metric.metric: int(metric.value) for metric in metrics}


def stop_reason_name(value: types_pb2.StopReason.ValueType) -> str:
    """The short name of a stop reason; empty for none.

    Args:
        value: The enum's value.
    """
    return types_pb2.StopReason.Name(value).removeprefix("STOP_REASON_").lower() if value else ""


def of_chat(response: inference_pb2.ChatCompletionResponse) -> Reply:
    """Reads the answer of a chat.

    Args:
        response: The response.
    """
    message = response.completion_message
    return Reply(
        text=text_of(message),
        stop_reason=stop_reason_name(message.stop_reason),
        message=message,
        usage=usage_of(response.metrics),
        logprobs=tuple(response.logprobs),
    )


def of_completion(response: inference_pb2.CompletionResponse) -> Reply:
    """Reads the answer of a completion.

    Args:
        response: The response.
    """
    gathered = Gathered()
    gathered.add_text(response.content)
    gathered.end(response.stop_reason, response.metrics)
    gathered.logprobs += response.logprobs
    return gathered.reply()


class Gathered:
    """An answer that comes in pieces."""

    def __init__(self) -> None:
        """Starts with nothing."""
        self.logprobs: list[types_pb2.TokenLogProbs] = []
        self._texts: list[str] = []
        self._message = types_pb2.CompletionMessage()
        self._usage: dict[str, int] = {}

    def add_chat_event(self, event: inference_pb2.StreamChatCompletionResponse) -> str:
        """Adds an event of a streamed chat and returns the text that it brought.

        Args:
            event: The event. A tool call that could not be parsed counts as text: that is what the model wrote.
        """
        kind = event.WhichOneof("event")
        if kind == "complete":
            self.end(event.complete.stop_reason, event.complete.metrics)
            self.logprobs += event.complete.logprobs
        if kind != "progress":
            return ""
        self.logprobs += event.progress.logprobs
        delta = event.progress.delta
        call = delta.tool_call
        if call.parse_status == types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED:
            self._message.tool_calls.append(call.tool_call)
        failed = call.parse_status == types_pb2.TOOL_CALL_PARSE_STATUS_FAILED
        return self.add_text(call.text if failed else delta.text)

    def add_piece(self, piece: inference_pb2.StreamCompletionResponse) -> str:
        """Adds a message of a streamed completion and returns the text that it brought.

        Args:
            piece: The message.
        """
        self.logprobs += piece.logprobs
        if piece.stop_reason:
            self.end(piece.stop_reason, piece.metrics)
        return self.add_text(piece.delta)

    def add_text(self, text: str) -> str:
        """Adds text and returns it.

        Args:
            text: Text to append.
        """
        self._texts.append(text)
        return text

    def end(self, stop_reason: types_pb2.StopReason.ValueType, metrics: Iterable[types_pb2.MetricInResponse]) -> None:
        """Takes down how the answer ended.

        Args:
            stop_reason: Why generation stopped.
            metrics: Usage of the whole call.
        """
        self._message.stop_reason = stop_reason
        self._usage = usage_of(metrics)

    def reply(self) -> Reply:
        """The answer so far."""
        text = "".join(self._texts)
        message = types_pb2.CompletionMessage()
        message.CopyFrom(self._message)
        if text:
            message.content.items.add(text=text)
        return Reply(text, stop_reason_name(message.stop_reason), message, self._usage, tuple(self.logprobs))
