"""What can be said about a text before it is whole, by what kind of shield judges it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError
from services.safety.judging import Judge
from services.safety.parameters import LEVELS, ShieldParams
from services.safety.ports import Steps, TextFinding, TextShield, Verdict
from services.safety.provider import ReadyShield
from services.safety.results import ERROR
from services.safety.texts import Role, Text

Conversation = Callable[[str], list[types_pb2.Message]]

_LEAST_STRIDE = 16


@dataclass(frozen=True, slots=True)
class Look:
    """What can be said by now."""

    safe: int
    """Code points of the text that may be released."""
    settled: Sequence[TextFinding] = ()
    """What was found in those that had not been released, and stays."""
    violation: Verdict | CaravanError | None = None
    """Why the text must end."""


class Window(ABC):
    """Looks at a text that grows."""

    stride: int | None
    """Code points after which to look again. None: not before it is whole."""

    @abstractmethod
    async def look(self, text: str, released: int) -> Look:
        """Looks at the text.

        Args:
            text: All of it so far.
            released: Code points that have been released.
        """


def window_of(judge: Judge, ready: ReadyShield[ShieldParams], conversation: Conversation, role: Role) -> Window:
    """The window of a shield.

    Args:
        judge: Has the shield judge.
        ready: The shield.
        conversation: Makes the messages to judge, of which the last is the text.
        role: Who says the text.
    """
    shield = ready.shield
    if role not in ready.params.roles:
        return _Open()
    if isinstance(shield, TextShield):
        return _Closed() if shield.overlap is None else _Scanned(judge, ready, shield, conversation, role)
    return _Closed() if shield.steps is None else _Judged(judge, ready, shield.steps, conversation)


class _Open(Window):
    """Nothing is judged."""

    stride = 1

    async def look(self, text: str, released: int) -> Look:
        return Look(len(text))


class _Closed(Window):
    """Only the whole text is judged."""

    stride = None

    async def look(self, text: str, released: int) -> Look:
        return Look(released)


class _Scanned(Window):
    """A text shield sees `overlap` far: what is further from the end than that stays as it is."""

    def __init__(
        self,
        judge: Judge,
        ready: ReadyShield[ShieldParams],
        shield: TextShield,
        conversation: Conversation,
        role: Role,
    ) -> None:
        self._judge = judge
        self._ready = ready
        self._shield = shield
        self._conversation = conversation
        self._role = role
        self._overlap = shield.overlap or 0
        self.stride = max(_LEAST_STRIDE, self._overlap // 4)

    async def look(self, text: str, released: int) -> Look:
        # Twice as far back: what begins just before the released text must be seen whole, with what is before it.
        begin = max(0, released - 2 * self._overlap)
        found = await self._judge.scan(self._shield, Text(text[begin:], role=self._role, offset=begin))
        findings = [self._moved(one, begin) for one in found if begin + one.end > released]
        safe = max(released, len(text) - self._overlap)
        for one in sorted(findings, key=lambda one: -one.end):
            if one.end > safe:
                safe = max(released, min(safe, one.start))
        settled = [one for one in findings if one.end <= safe]
        violating = sorted(one.end for one in settled if one.level == ERROR)
        # Up to the violation; with all that is there when it needs what follows to be one.
        for end in (violating[0], len(text)) if violating else ():
            conversation = self._conversation(text[:end])
            verdict = await self._judge.verdict(self._ready, conversation, len(conversation) - 1)
            if any(one.violation_level == ERROR and one.location.end <= safe for one in verdict.findings):
                return Look(released, violation=verdict)
        return Look(safe, settled)

    def _moved(self, one: TextFinding, by: int) -> TextFinding:
        level = one.level if self._ready.params.level is None else LEVELS[self._ready.params.level]
        return replace(one, start=one.start + by, end=one.end + by, level=level)


class _Judged(Window):
    """A shield that reads conversations judges what there is; what it finds nothing in is released."""

    def __init__(
        self, judge: Judge, ready: ReadyShield[ShieldParams], steps: Steps, conversation: Conversation
    ) -> None:
        self._judge = judge
        self._ready = ready
        self._steps = steps
        self._conversation = conversation
        self.stride = steps.stride

    async def look(self, text: str, released: int) -> Look:
        window = self._steps.window
        begin = 0 if window is None else max(0, min(released, len(text) - window))
        conversation = self._conversation(text[begin:])
        place = len(conversation) - 1
        verdict = await self._judge.verdict(self._ready, conversation, place)
        for finding in verdict.findings:
            if begin and finding.HasField("location") and finding.location.message_index == place:
                finding.location.start += begin
                finding.location.end += begin
        if any(finding.violation_level == ERROR for finding in verdict.findings):
            return Look(released, violation=verdict)
        if any(finding.HasField("replacement") for finding in verdict.findings):
            # Where it is to be masked may change with what follows.
            return Look(released)
        return Look(len(text))
