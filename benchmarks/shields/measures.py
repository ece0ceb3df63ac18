"""How good and how fast a shield is on a set of texts."""

import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.shields.cases import Case

Spans = Sequence[tuple[int, int]]
Judge = Callable[[Case], Awaitable[Spans]]
"""Judges a case: places of what was found, empty when it is safe. (0, 0): in the text as a whole."""


@dataclass
class Quality:
    """What was right and what was not."""

    true_positives: int = 0
    false_positives: int = 0
    true_negatives: int = 0
    false_negatives: int = 0
    seconds: list[float] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Texts that were judged wrongly, by kind."""

    @property
    def precision(self) -> float:
        """Share of what was found that is there."""
        found = self.true_positives + self.false_positives
        return self.true_positives / found if found else 0.0

    @property
    def recall(self) -> float:
        """Share of what is there that was found."""
        there = self.true_positives + self.false_negatives
        return self.true_positives / there if there else 0.0

    @property
    def false_positive_rate(self) -> float:
        """Share of the safe texts in which something was found."""
        safe = self.false_positives + self.true_negatives
        return self.false_positives / safe if safe else 0.0

    def latency(self, percent: int) -> float:
        """Percentile of the time for a text, in milliseconds."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1] * 1000


async def measure(cases: Sequence[Case], judge: Judge) -> Quality:
    """Has texts judged, one after the other.

    Args:
        cases: The texts.
        judge: Judges them.
    """
    quality = Quality()
    for case in cases:
        started = time.perf_counter()
        spans = await judge(case)
        quality.seconds.append(time.perf_counter() - started)
        _count(quality, case, spans)
    return quality


def _count(quality: Quality, case: Case, spans: Spans) -> None:
    if not case.bad:
        if spans:
            quality.false_positives += 1
            quality.wrong[case.kind].append(case.text)
        else:
            quality.true_negatives += 1
        return
    start = case.text.find(case.value) if case.value else 0
    end = start + len(case.value) if case.value else len(case.text)
    if any((one, other) == (0, 0) or (one < end and other > start) for one, other in spans):
        quality.true_positives += 1
    else:
        quality.false_negatives += 1
        quality.wrong[case.kind].append(case.text)
