"""Has a shield judge messages: which messages, in which thread, and text findings as findings in messages."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import DeadlineExceededError
from services.safety.parameters import LEVELS, ShieldParams
from services.safety.passages import Passage, passages, role_of
from services.safety.ports import TextFinding, TextShield, Verdict
from services.safety.provider import ReadyShield
from services.safety.texts import Text

P = ParamSpec("P")
R = TypeVar("R")


class Judge:
    """Has shields judge. Texts that take longer than a glance are scanned in threads, as many as there are cores."""

    def __init__(self) -> None:
        """Makes the threads, which start with their first work."""
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="scan")

    async def verdict(
        self, ready: ReadyShield[ShieldParams], messages: Sequence[types_pb2.Message], first: int = 0
    ) -> Verdict:
        """Returns a shield's verdict on messages, within the time that it may take; nothing is found in what its parameters leave out.

        Args:
            ready: The shield.
            messages: The conversation.
            first: Index of the first message that may be judged.

        Raises:
            CaravanError: It cannot judge.
        """
        seconds = ready.params.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._judge(ready, messages, first)
        except TimeoutError as error:
            message = f"shield {ready.shield_id} did not judge within {seconds:g} s"
            raise DeadlineExceededError(message, reason="SHIELD_TIMEOUT") from error

    async def scan(self, shield: TextShield, text: Text) -> Sequence[TextFinding]:
        """Returns what a shield finds in one text."""
        return await self.run(len(text), shield.quick_chars, shield.scan, text)

    async def run(self, size: int, quick: int, work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Does work here when it is small, else in a thread.

        Args:
            size: How large it is.
            quick: How large it may be to be done here.
            work: The work.
            *arguments: Its arguments.
            **named: Its named arguments.
        """
        if size <= quick:
            return work(*arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments, **named))

    async def close(self) -> None:
        """Ends the threads when their work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _judge(
        self, ready: ReadyShield[ShieldParams], messages: Sequence[types_pb2.Message], first: int
    ) -> Verdict:
        judged = _judged(messages, first, ready.params)
        if not judged:
            return Verdict()
        if isinstance(ready.shield, TextShield):
            size = sum(messages[index].ByteSize() for index in judged)
            verdict = Verdict(await self.run(size, ready.shield.quick_chars, _scan, ready.shield, messages, judged))
        else:
            verdict = await ready.shield.judge(messages[: judged[-1] + 1], judged)
        return _at_level(verdict, ready.params)


def shield_finding(found: TextFinding, location: results_pb2.ContentLocation | None) -> results_pb2.ShieldFinding:
    """A finding in a text as one in messages."""
    finding = results_pb2.ShieldFinding(
        category=found.category,
        description=found.description,
        violation_level=found.level,
        score=found.score,
        location=location,
        replacement=found.replacement,
    )
    if found.metadata:
        finding.metadata.update(found.metadata)
    return finding


def _judged(messages: Sequence[types_pb2.Message], first: int, params: ShieldParams) -> list[int]:
    judged = range(len(messages) - 1 if params.judged == "last" else first, len(messages))
    return [index for index in judged if index >= first and role_of(messages[index]) in params.roles]


def _scan(
    shield: TextShield, messages: Sequence[types_pb2.Message], judged: Sequence[int]
) -> list[results_pb2.ShieldFinding]:
    findings: list[results_pb2.ShieldFinding] = []
    seen: set[tuple[str, int, int, str, int, int]] = set()
    for passage in passages(messages, judged):
        for finding in _located(passage, shield.scan(passage.as_text())):
            place = finding.location
            key = (finding.category, place.message_index, place.item_index, place.call_id, place.start, place.end)
            # The arguments of a call are read in two forms.
            if key not in seen:
                seen.add(key)
                findings.append(finding)
    return findings


def _located(passage: Passage, found: Iterable[TextFinding]) -> Iterator[results_pb2.ShieldFinding]:
    for one in found:
        for place, location in enumerate(passage.locations(one.start, one.end)):
            finding = shield_finding(one, location)
            if place and one.replacement is not None:
                # What reaches over several pieces is replaced in the first, and taken out of the others.
                finding.replacement = ""
            yield finding


def _at_level(verdict: Verdict, params: ShieldParams) -> Verdict:
    if params.level is not None:
        for finding in verdict.findings:
            finding.violation_level = LEVELS[params.level]
    return verdict
