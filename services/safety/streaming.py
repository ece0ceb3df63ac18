"""Judges a text while it grows and releases what can no longer become part of a finding.

The verdict in the end is the one on the whole text, which is judged again. What is judged before decides only what is released early, and
whether the text ends early.
"""

import time
from collections.abc import AsyncIterator, Iterator, Sequence

from caravan.safety.v1 import results_pb2, safety_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, InvalidArgumentError, NotFoundError
from services.safety.growing_text import GrowingText
from services.safety.judging import Judge, shield_finding
from services.safety.masking import Edit, apply
from services.safety.parameters import ShieldParams
from services.safety.ports import TextFinding, Verdict
from services.safety.provider import ReadyShield
from services.safety.results import ERROR, failure_result, result_of
from services.safety.texts import Role
from services.safety.windows import Look, Window, window_of

Event = safety_pb2.StreamShieldResponse


class ShieldedText:
    """One text that grows, and what is said about it."""

    def __init__(
        self,
        judge: Judge,
        ready: ReadyShield[ShieldParams],
        context: Sequence[types_pb2.Message],
        role: Role,
    ) -> None:
        """Begins with an empty text.

        Args:
            judge: Has the shield judge.
            ready: The shield.
            context: The conversation that the text answers.
            role: Who says the text.
        """
        self.growing = GrowingText()
        self._judge = judge
        self._ready = ready
        self._context = list(context)
        self._role = role
        self._window: Window = window_of(judge, ready, self._conversation, role)
        self._released = 0
        self._told: set[tuple[str, int, int]] = set()
        self._seconds = 0.0

    async def events(self) -> AsyncIterator[Event]:
        """Yields what may be released, what was found, and in the end the verdict.

        Raises:
            NotFoundError: What the shield needs is gone.
            CaravanError: What `growing` was told to fail with.
        """
        while True:
            text = await self.growing.grown(self._window.stride)
            if self.growing.is_whole:
                break
            started = time.monotonic()
            look = await self._look(text)
            self._seconds += time.monotonic() - started
            if look.violation is not None:
                yield self._complete(text, look.violation)
                return
            for event in self._progress(text, look):
                yield event
        started = time.monotonic()
        ended = await self._judged(text)
        self._seconds += time.monotonic() - started
        for event in self._last(text, ended):
            yield event

    async def _look(self, text: str) -> Look:
        try:
            return await self._window.look(text, self._released)
        except (NotFoundError, InvalidArgumentError):
            raise
        except CaravanError as error:
            if self._ready.params.fail_open:
                return Look(len(text))
            return Look(self._released, violation=error)

    async def _judged(self, text: str) -> Verdict | CaravanError:
        try:
            return await self._judge.verdict(self._ready, self._conversation(text), len(self._context))
        except (NotFoundError, InvalidArgumentError):
            raise
        except CaravanError as error:
            return error

    def _conversation(self, text: str) -> list[types_pb2.Message]:
        content = types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=text)])
        if self._role is Role.USER:
            return [*self._context, types_pb2.Message(user=types_pb2.UserMessage(content=content))]
        return [*self._context, types_pb2.Message(assistant=types_pb2.CompletionMessage(content=content))]

    def _progress(self, text: str, look: Look) -> Iterator[Event]:
        place = len(self._context)
        for found in look.settled:
            location = results_pb2.ContentLocation(message_index=place, start=found.start, end=found.end)
            yield from self._tell(shield_finding(found, location))
        yield from self._release(text, look.safe, [_edit(found) for found in look.settled])

    def _last(self, text: str, ended: Verdict | CaravanError) -> Iterator[Event]:
        complete = self._complete(text, ended)
        result = complete.complete.result
        if result.violation.violation_level != ERROR:
            findings = ended.findings if isinstance(ended, Verdict) else ()
            for finding in result.findings:
                yield from self._tell(finding)
            own = [finding for finding in findings if finding.location.message_index == len(self._context)]
            edits = [
                Edit(finding.location.start, finding.location.end, finding.replacement)
                for finding in own
                if finding.HasField("replacement") and finding.HasField("location")
            ]
            yield from self._release(text, len(text), edits)
        yield complete

    def _tell(self, finding: results_pb2.ShieldFinding) -> Iterator[Event]:
        key = (finding.category, finding.location.start, finding.location.end)
        if key not in self._told:
            self._told.add(key)
            yield Event(finding=finding)

    def _release(self, text: str, safe: int, edits: Sequence[Edit | None]) -> Iterator[Event]:
        begin = self._released
        if safe > begin:
            here = [
                Edit(max(0, edit.start - begin), edit.end - begin, edit.replacement)
                for edit in edits
                if edit is not None and edit.end > begin
            ]
            self._released = safe
            yield Event(released=safety_pb2.ReleasedText(text=apply(text[begin:safe], here), end=safe))

    def _complete(self, text: str, ended: Verdict | CaravanError) -> Event:
        shield_id, params = self._ready.shield_id, self._ready.params
        if isinstance(ended, Verdict):
            result = result_of(shield_id, ended, params, self._conversation(text))
        else:
            result = failure_result(shield_id, ended, fail_open=params.fail_open)
        result.latency.FromNanoseconds(round(self._seconds * 1e9))
        return Event(complete=safety_pb2.ShieldComplete(result=result))


def _edit(found: TextFinding) -> Edit | None:
    return None if found.replacement is None else Edit(found.start, found.end, found.replacement)
