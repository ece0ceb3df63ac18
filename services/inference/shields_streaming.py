"""A streamed answer behind shields: what all of them have released is passed on.

Text waits for the slowest shield. Tool calls wait for the end of the answer, and so does text that follows them.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError
from services.inference.shields_following import AlwaysOnShield
from services.inference.shields_gateway import Safety
from services.inference.shields_text import GrowingText, Logprobs

ChatEvent = inference_pb2.StreamChatCompletionResponse
Piece = inference_pb2.StreamCompletionResponse

_SUCCEEDED, _FAILED = types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED, types_pb2.TOOL_CALL_PARSE_STATUS_FAILED
_IN_PROGRESS = types_pb2.TOOL_CALL_PARSE_STATUS_IN_PROGRESS


class ShieldedAnswer:
    """One answer."""

    def __init__(self, safety: Safety, shields: Sequence[AlwaysOnShield], context: Sequence[types_pb2.Message]) -> None:
        """Begins an answer.

        Args:
            safety: Has shields judge.
            shields: The shields.
            context: The conversation that it answers.
        """
        self._safety = safety
        self._shields = shields
        self._context = list(context)
        self._text = GrowingText(safety, shields, context)
        self._calls: list[ChatEvent] = []
        self._calls_from: int | None = None
        self._warnings = 0

    @property
    def warnings(self) -> int:
        """Warnings of the shields by now."""
        return self._text.warnings + self._warnings

    async def completion(self, pieces: AsyncIterator[Piece]) -> AsyncGenerator[Piece, None]:
        """Yields a continued text as it may be seen.

        Args:
            pieces: The text as it is generated.

        Raises:
            FailedPreconditionError: It violates a shield.
            CaravanError: It cannot be judged, or not be generated.
        """
        last = Piece()

        async def read() -> None:
            async for piece in pieces:
                await self._text.append(piece.delta, piece.logprobs)
                if piece.stop_reason:
                    last.CopyFrom(Piece(stop_reason=piece.stop_reason, metrics=piece.metrics))

        async with aclosing(self._released(read())) as released:
            async for text, logprobs in released:
                yield Piece(delta=text, logprobs=logprobs)
        yield last

    async def chat(self, events: AsyncIterator[ChatEvent]) -> AsyncGenerator[ChatEvent, None]:
        """Yields an answer as it may be seen.

        Args:
            events: The answer as it is generated.

        Raises:
            FailedPreconditionError: It violates a shield.
            CaravanError: It cannot be judged, or not be generated.
        """
        last = ChatEvent()

        async def read() -> None:
            async for event in events:
                match event.WhichOneof("event"):
                    case "progress" if event.progress.delta.HasField("tool_call"):
                        self._calls.append(event)
                        self._calls_from = self._text.length if self._calls_from is None else self._calls_from
                    case "progress":
                        await self._text.append(event.progress.delta.text, event.progress.logprobs)
                    case "complete":
                        last.CopyFrom(event)

        yield ChatEvent(start=ChatEvent.Start(delta=types_pb2.ContentDelta(text="")))
        async with aclosing(self._released(read())) as released:
            async for text, logprobs in released:
                yield _progress(text, logprobs)
        calls = await self._judged_calls()
        if calls is not self._calls:
            # They spell out what was masked.
            del last.complete.logprobs[:]
        for call in calls:
            yield call
        text, logprobs = self._text.take(None)
        if text:
            yield _progress(text, logprobs)
        yield last

    async def _released(self, reading: Coroutine[Any, Any, None]) -> AsyncGenerator[tuple[str, Logprobs], None]:
        """Yields text once all shields have released it, up to the first tool call, while the answer is read and judged."""
        tasks = [asyncio.ensure_future(self._text.judging()), asyncio.ensure_future(self._read(reading))]
        for task in tasks:
            task.add_done_callback(lambda _: self._text.changed.set())
        try:
            while True:
                is_over = all(task.done() for task in tasks)
                for task in tasks:
                    _raise_failure(task)
                text, logprobs = self._text.take(self._calls_from)
                if text:
                    yield text, logprobs
                if is_over:
                    return
                await self._text.changed.wait()
                self._text.changed.clear()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _read(self, reading: Coroutine[Any, Any, None]) -> None:
        await reading
        await self._text.finish()

    async def _judged_calls(self) -> list[ChatEvent]:
        """The events of the tool calls, with what was found masked; the same ones where nothing was."""
        ended = [event for event in self._calls if event.progress.delta.tool_call.parse_status in (_SUCCEEDED, _FAILED)]
        if not ended:
            return self._calls
        given = types_pb2.Message(assistant=types_pb2.CompletionMessage())
        for event in ended:
            delta = event.progress.delta.tool_call
            if delta.parse_status == _SUCCEEDED:
                given.assistant.tool_calls.append(delta.tool_call)
            else:
                given.assistant.content.items.add(text=delta.text)
        judged, self._warnings = await self._safety.judge(
            self._shields, [*self._context, given], direction="output", only_last=True
        )
        if judged[-1] == given:
            return self._calls
        calls, texts = iter(judged[-1].assistant.tool_calls), iter(judged[-1].assistant.content.items)
        for event in ended:
            del event.progress.logprobs[:]
            delta = event.progress.delta.tool_call
            if delta.parse_status == _SUCCEEDED:
                delta.tool_call.CopyFrom(next(calls))
            else:
                delta.text = next(texts).text
        return [event for event in self._calls if event.progress.delta.tool_call.parse_status != _IN_PROGRESS]


def _progress(text: str, logprobs: Logprobs) -> ChatEvent:
    return ChatEvent(progress=ChatEvent.Progress(delta=types_pb2.ContentDelta(text=text), logprobs=logprobs))


def _raise_failure(task: "asyncio.Future[None]") -> None:
    error = task.exception() if task.done() and not task.cancelled() else None
    if isinstance(error, BaseExceptionGroup):
        # Several shields may fail at the same time: one answer is enough, a violation before any other.
        errors = [one for one in error.exceptions if isinstance(one, CaravanError)]
        raise min(errors, key=lambda one: one.reason != "SHIELD_VIOLATION", default=error)
    if error is not None:
        raise error
