"""A shield that detects things of known forms: scores, exceptions, overlaps, labels that mask."""

import re
import unicodedata
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from caravan.types.v1 import types_pb2
from services.safety.expressions import MOST_INSTRUCTIONS, EncodedText, Expression
from services.safety.ports import Level, TextFinding, TextShield
from services.safety.providers.detection.config import DetectionParams, Mode
from services.safety.texts import Text

# Digits of other scripts; a number in them is the same number.
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
_LEVELS: dict[Mode, Level] = {
    "report": types_pb2.VIOLATION_LEVEL_WARN,
    "mask": types_pb2.VIOLATION_LEVEL_WARN,
    "block": types_pb2.VIOLATION_LEVEL_ERROR,
}


@dataclass(frozen=True, slots=True)
class Detected:
    """Something that has the form of what is looked for."""

    start: int
    """Its first byte."""
    end: int
    """The byte behind it."""
    category: str
    """What it is."""
    description: str
    """What the category means."""
    label: str
    """What stands in for it when it is masked."""
    score: float
    """How sure that is."""
    metadata: Mapping[str, str | float | bool] = field(default_factory=dict, hash=False)
    """Facts about it; never the value."""


class DetectionShield(TextShield):
    """Finds what `detect` detects in a text without its Unicode disguises."""

    def __init__(self, params: DetectionParams) -> None:
        """Sets the parameters.

        Args:
            params: The parameters.

        Raises:
            InvalidArgumentError: An exception is not one of RE2's expressions, or too large.
        """
        self._params = params
        self._exceptions = []
        for at, pattern in enumerate(params.exceptions):
            path = f"params.exceptions[{at}]"
            Expression(pattern, field=path)
            self._exceptions.append(Expression(f"\\A(?:{pattern})\\z", field=path, limit=MOST_INSTRUCTIONS))

    @abstractmethod
    def detect(self, text: EncodedText) -> Iterator[Detected]:
        """Yields what is there, in any order; it may overlap."""

    def scan(self, text: Text) -> Sequence[TextFinding]:
        """Finds what is there and sure enough, without overlaps."""
        view = text.normalized
        encoded = EncodedText(_OTHER_DIGIT.sub(_as_ascii, view.text))
        level = _LEVELS[self._params.mode]
        mask = self._params.mode == "mask"
        findings = []
        for one in without_overlaps(self._wanted(encoded)):
            start, end = view.span(encoded.code_point(one.start), encoded.code_point(one.end))
            findings.append(
                TextFinding(
                    start,
                    end,
                    one.category,
                    one.description,
                    level=level,
                    score=one.score,
                    replacement=one.label if mask else None,
                    metadata=one.metadata,
                )
            )
        return findings

    def _wanted(self, text: EncodedText) -> Iterator[Detected]:
        for one in self.detect(text):
            if one.score >= self._params.min_score and not self._excepted(text, one):
                yield one

    def _excepted(self, text: EncodedText, one: Detected) -> bool:
        if not self._exceptions:
            return False
        value = EncodedText(text.data[one.start : one.end].decode(errors="replace"))
        return any(exception.found(value) for exception in self._exceptions)


def _as_ascii(digit: re.Match[str]) -> str:
    return str(unicodedata.decimal(digit[0]))


def without_overlaps(detected: Iterable[Detected]) -> list[Detected]:
    """Returns what is left when of things that overlap the surest, then the longest one is kept, in the order of the text."""
    kept: list[Detected] = []
    group: list[Detected] = []
    behind = 0
    for one in sorted(detected, key=lambda one: (one.start, -one.end)):
        if group and one.start >= behind:
            kept += _surest(group)
            group = []
        behind = max(behind, one.end) if group else one.end
        group.append(one)
    return kept + _surest(group)


def _surest(group: list[Detected]) -> list[Detected]:
    """The same for things each of which overlaps another."""
    if len(group) <= 1:
        return group
    kept: list[Detected] = []
    for one in sorted(group, key=lambda one: (-one.score, one.start - one.end, one.start)):
        at = bisect_left(kept, one.start, key=lambda other: other.start)
        after_last = at == 0 or kept[at - 1].end <= one.start
        if after_last and (at == len(kept) or one.end <= kept[at].start):
            kept.insert(at, one)
    return kept
