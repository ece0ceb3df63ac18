"""One inference of a turn: the model's answer as it comes, past the output shields, begun again when the model's replica dies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from caravan.inference.v1 import inference_pb2
from caravan.safety.v1 import safety_pb2
from caravan.types.v1 import types_pb2
from services.agents.peers import Inference, Shields
from services.agents.shielding import GrowingText, decided, masked_text, stops
from services.core.errors import UnavailableError

Progress = Callable[[types_pb2.ContentDelta], Awaitable[None]]
"""Takes a piece of the answer that may be shown."""

Restart = Callable[[str], Awaitable[None]]
"""Hears that what was shown so far is void, and why."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When an inference that broke off is begun again."""

    attempts: int = 4
    """Most attempts."""
    first_delay: float = 0.5
    """Seconds before the second one; doubled for each further one."""
    longest_delay: float = 10.0
    """Most seconds between two attempts."""

    def delay(self, failed: int, retry_after: float | None) -> float:
        """Seconds to wait after so many failed attempts.

        Args:
            failed: Attempts so far.
            retry_after: What the service asks for.
        """
        return min(max(self.first_delay * 2.0 ** (failed - 1), retry_after or 0.0), self.longest_delay)


@dataclass(frozen=True, slots=True)
class OutputShields:
    """The shields that an answer passes."""

    shield_ids: Sequence[str]
    """Which, in order of precedence."""
    buffered: bool
    """The answer is held back until it is whole."""
    conversation: Sequence[types_pb2.Message]
    """What the answer answers."""


@dataclass(slots=True)
class Answer:
    """What the model said."""

    message: types_pb2.CompletionMessage
    """The answer, masked where a shield masks."""
    metrics: list[types_pb2.MetricInResponse] = field(default_factory=list)
    """Its usage."""
    verdict: safety_pb2.RunShieldsResponse | None = None
    """What the output shields found; None: none was asked."""


class Inferring:
    """Asks the model."""

    def __init__(self, inference: Inference, shields: Shields, policy: RetryPolicy) -> None:
        """Uses these.

        Args:
            inference: The models.
            shields: The shields.
            policy: When to begin again.
        """
        self._inference, self._shields, self._policy = inference, shields, policy

    async def answer(
        self,
        request: inference_pb2.StreamChatCompletionRequest,
        output_shields: OutputShields,
        progress: Progress,
        restart: Restart,
    ) -> Answer:
        """Returns the whole answer.

        Args:
            request: What to ask.
            output_shields: What the answer has to pass.
            progress: Gets the pieces that may be shown.
            restart: Is told when the answer begins again.

        Raises:
            CaravanError: The model, or a shield, does not answer.
        """
        failed = 0
        while True:
            try:
                return await self._attempt(request, output_shields, progress)
            except UnavailableError as error:
                failed += 1
                if failed >= self._policy.attempts:
                    raise
                await asyncio.sleep(self._policy.delay(failed, error.retry_after))
                await restart(error.message)

    async def _attempt(
        self, request: inference_pb2.StreamChatCompletionRequest, output_shields: OutputShields, progress: Progress
    ) -> Answer:
        stream = self._inference.answer(request)
        heard = _Heard(stream)
        if output_shields.shield_ids and not output_shields.buffered:
            # The call of the first shield reads the stream, and closes it when it ends.
            return await self._as_released(heard, output_shields, progress)
        async with aclosing(stream):
            if output_shields.shield_ids:
                return await self._held_back(heard, output_shields, progress)
            async for delta in heard.deltas():
                await progress(delta)
            return heard.answer()

    async def _held_back(self, heard: "_Heard", output_shields: OutputShields, progress: Progress) -> Answer:
        """Shows nothing before the shields have judged all of it."""
        held = [delta async for delta in heard.deltas()]
        answer = heard.answer()
        answer.verdict = await self._judge(answer.message, output_shields)
        if stops(answer.verdict):
            return answer
        masked = masked_text(answer.verdict)
        if masked is not None:
            _set_text(answer.message, masked)
            held = [types_pb2.ContentDelta(text=masked), *(delta for delta in held if not delta.HasField("text"))]
        for delta in held:
            await progress(delta)
        return answer

    async def _as_released(self, heard: "_Heard", output_shields: OutputShields, progress: Progress) -> Answer:
        """Shows text as soon as every shield has passed it; calls of tools are judged whole, after the text."""
        calls: list[types_pb2.ContentDelta] = []
        growing = GrowingText(self._shields, output_shields.shield_ids, output_shields.conversation)
        shown: list[str] = []

        async def texts() -> AsyncIterator[str]:
            async for delta in heard.deltas():
                if delta.HasField("text"):
                    yield delta.text
                else:
                    calls.append(delta)

        async for text in growing.released(texts()):
            if text:
                shown.append(text)
                await progress(types_pb2.ContentDelta(text=text))
        answer = heard.answer()
        _set_text(answer.message, "".join(shown))
        answer.verdict = growing.verdict
        if calls and not stops(answer.verdict):
            of_calls = await self._judge(answer.message, output_shields)
            answer.verdict = decided([*answer.verdict.results, *of_calls.results])
        if not stops(answer.verdict):
            for delta in calls:
                await progress(delta)
        return answer

    async def _judge(
        self, message: types_pb2.CompletionMessage, output_shields: OutputShields
    ) -> safety_pb2.RunShieldsResponse:
        messages = [*output_shields.conversation, types_pb2.Message(assistant=message)]
        return await self._shields.judge(output_shields.shield_ids, messages)


class _Heard:
    """An answer that comes in."""

    def __init__(self, stream: AsyncIterator[inference_pb2.StreamChatCompletionResponse]) -> None:
        self._stream = stream
        self._texts: list[str] = []
        self._calls: list[types_pb2.ToolCall] = []
        self._complete: inference_pb2.StreamChatCompletionResponse.Complete | None = None

    async def deltas(self) -> AsyncIterator[types_pb2.ContentDelta]:
        """Yields what is new, and keeps it."""
        async for event in self._stream:
            kind = event.WhichOneof("event")
            if kind == "complete":
                self._complete = event.complete
            elif kind == "progress":
                self._keep(event.progress.delta)
                yield event.progress.delta
        if self._complete is None:
            message = "the model's answer broke off; try again"
            raise UnavailableError(message, reason="ANSWER_BROKE_OFF")

    def _keep(self, delta: types_pb2.ContentDelta) -> None:
        if delta.HasField("text"):
            self._texts.append(delta.text)
        elif delta.tool_call.parse_status == types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED:
            self._calls.append(delta.tool_call.tool_call)
        elif delta.tool_call.parse_status == types_pb2.TOOL_CALL_PARSE_STATUS_FAILED:
            # What is no call of any tool is what the model said.
            self._texts.append(delta.tool_call.text)

    def answer(self) -> Answer:
        """What was said; when a shield has stopped it, as far as it came."""
        complete = self._complete or inference_pb2.StreamChatCompletionResponse.Complete()
        message = types_pb2.CompletionMessage(
            stop_reason=complete.stop_reason or types_pb2.STOP_REASON_END_OF_TURN, tool_calls=self._calls
        )
        _set_text(message, "".join(self._texts))
        return Answer(message, list(complete.metrics))


def _set_text(message: types_pb2.CompletionMessage, text: str) -> None:
    message.ClearField("content")
    message.content.SetInParent()
    if text:
        message.content.items.add().text = text
