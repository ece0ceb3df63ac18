"""A text to scan, as it was sent and as its reader sees it, with the way back from every view to the offsets of the text as sent."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from services.safety import normalization


class Role(StrEnum):
    """Who said a text."""

    USER = "user"
    SYSTEM = "system"
    TOOL = "tool"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class View:
    """One form of a text. It is made of runs, each of which either keeps its length or stands as a whole for a place of the original."""

    text: str
    """The form."""
    starts: Sequence[int] = ()
    """Where the runs begin in `text`; empty when the form is the original."""
    original_starts: Sequence[int] = ()
    """Where the runs begin in the original, and behind them the original's length."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Returns the place in the original of a place in this form.

        Args:
            start: Its first code point.
            end: The code point after its last one.
        """
        if not self.starts:
            return start, end
        if end <= start:
            place = self._origin(start)[0]
            return place, place
        return self._origin(start)[0], self._origin(end - 1)[1]

    def _origin(self, place: int) -> tuple[int, int]:
        run = bisect_right(self.starts, place) - 1
        begin, behind = self.original_starts[run], self.original_starts[run + 1]
        length = (self.starts[run + 1] if run + 1 < len(self.starts) else len(self.text)) - self.starts[run]
        if length == behind - begin:
            at = begin + place - self.starts[run]
            return at, at + 1
        return begin, behind


class Text:
    """A text to scan. Views are made when they are first asked for."""

    def __init__(self, original: str, *, role: Role = Role.USER, tool_name: str = "", offset: int = 0) -> None:
        """Wraps a text.

        Args:
            original: The text as it was sent.
            role: Who said it.
            tool_name: The tool, when these are the arguments of a call or a tool's answer.
            offset: Code points of the same text before this part of it.
        """
        self.original = original
        self.role = role
        self.tool_name = tool_name
        self.offset = offset

    def __len__(self) -> int:
        return len(self.original)

    @cached_property
    def normalized(self) -> View:
        """In Unicode's compatibility form (NFKC), without invisible and bidirectional control characters."""
        return _view(self.original, normalization.normalized_places)

    @cached_property
    def folded(self) -> View:
        """Normalized, without accents on Latin letters, and letters of other scripts that look like Latin ones as those."""
        view = _view(self.original, normalization.folded_places)
        return view if view.text.isascii() else replace(view, text=normalization.folded(view.text))


def _view(original: str, places_in: Callable[[str], list[normalization.Place]]) -> View:
    if original.isascii():
        return View(original)
    places = places_in(original)
    if not places:
        return View(original)
    pieces: list[str] = []
    starts, original_starts = [], []
    made = behind = 0
    for start, end, instead in places:
        for text, at in ((original[behind:start], behind), (instead, start)):
            if text or at == start:
                pieces.append(text)
                starts.append(made)
                original_starts.append(at)
                made += len(text)
        behind = end
    if behind < len(original):
        pieces.append(original[behind:])
        starts.append(made)
        original_starts.append(behind)
    return View("".join(pieces), starts, [*original_starts, len(original)])
