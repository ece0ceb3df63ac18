"""Regular expressions in time linear in the text (RE2), over the UTF-8 of a text.

RE2 has no lookaround and no backreferences: https://github.com/google/re2/wiki/Syntax. It falls back from its automaton to a slower walk
over all states where an expression is hard; the walk costs about 10 ns a byte and instruction, hence a limit on instructions.
"""

import re
from collections.abc import Iterator, Sequence

import re2

from services.core.errors import InvalidArgumentError

MOST_INSTRUCTIONS = 1000
"""Largest expression that a caller may give."""
_BLOCK = 1 << 12
_CONTINUATION = bytes(range(0x80, 0xC0))
_MEMORY = 32 << 20
# What makes the length of a match depend on the text, and anchors, outside of classes and escapes.
_SYNTAX = re.compile(r"\\Q.*?(?:\\E|$)|\\[Az]|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|[*+^$]|\{\d+,\}", re.DOTALL)
_LOOPS, _ANCHORS = frozenset(["*", "+"]), frozenset(["^", "$", "\\A", "\\z"])


class EncodedText:
    """A text as UTF-8, with the way back from bytes to code points."""

    def __init__(self, text: str) -> None:
        """Encodes a text; half a surrogate pair becomes a question mark.

        Args:
            text: The text.
        """
        self.text = text
        self.data = text.encode(errors="replace")
        self._plain = len(self.data) == len(text)
        self._counts: list[int] = []

    def code_point(self, place: int) -> int:
        """Returns the number of code points before a byte."""
        if self._plain:
            return place
        if not self._counts:
            self._counts = [0]
            for start in range(0, len(self.data), _BLOCK):
                self._counts.append(self._counts[-1] + _length(self.data[start : start + _BLOCK]))
        block = place // _BLOCK
        return self._counts[block] + _length(self.data[block * _BLOCK : place])


class Expression:
    """One expression."""

    def __init__(
        self, pattern: str, *, ignore_case: bool = False, field: str = "pattern", limit: int | None = None
    ) -> None:
        """Compiles an expression.

        Args:
            pattern: In RE2's syntax.
            ignore_case: Upper and lower case are the same.
            field: Path of the parameter that holds the pattern, for errors.
            limit: Most instructions that it may compile to. None: as many as fit into memory.

        Raises:
            InvalidArgumentError: RE2 does not take it, or it is too large.
        """
        self.pattern = pattern
        self.ignore_case = ignore_case
        try:
            self._regexp = re2.compile(pattern.encode(errors="replace"), _options(ignore_case=ignore_case))
        except re2.error as error:
            raise InvalidArgumentError.of(field, _explanation(pattern, error), reason="PATTERN") from None
        self.instructions: int = self._regexp.programsize
        if limit is not None and self.instructions > limit:
            message = (
                f"compiles to {self.instructions} instructions, more than {limit}: shorten it, or lower its repetitions"
            )
            raise InvalidArgumentError.of(field, message, reason="PATTERN")

    @property
    def has_loop(self) -> bool:
        """A match may be of any length."""
        return any(token in _LOOPS or token.endswith(",}") for token in _SYNTAX.findall(self.pattern))

    @property
    def has_anchor(self) -> bool:
        """Whether it matches depends on where the text begins or ends."""
        return not _ANCHORS.isdisjoint(_SYNTAX.findall(self.pattern))

    @property
    def reach(self) -> int | None:
        """How many characters a match has at most; None: there is no bound."""
        # Without loops every instruction takes at most one byte.
        return None if self.has_loop else self.instructions

    def found(self, text: EncodedText, start: int = 0, end: int | None = None) -> bool:
        """Tells whether there is a match between two bytes."""
        return self._regexp.search(text.data, start, end) is not None

    def spans(self, text: EncodedText, group: int = 0) -> Iterator[tuple[int, int]]:
        """Yields the bytes of the matches, or of a group in them, that do not overlap and are not empty.

        Args:
            text: Where to look.
            group: The group. The search goes on behind it.
        """
        place = 0
        while (match := self._regexp.search(text.data, place)) is not None:
            start, end = match.span(group)
            if start < end:
                yield start, end
            place = max(end, match.start() + 1) if start < end else match.end() + (match.start() == match.end())
            if place > len(text.data):
                return

    def groups(self, text: EncodedText) -> Iterator[tuple[tuple[int, int], ...]]:
        """Yields the bytes of each match and of its groups; (-1, -1) for a group that takes no part."""
        for match in self._regexp.finditer(text.data):
            yield tuple(match.span(group) for group in range(self._regexp.groups + 1))


def joined(expressions: Sequence[Expression]) -> Expression:
    """Returns an expression that matches where any of some matches: to tell in one pass that none of them does.

    Args:
        expressions: The expressions. Together they should be small: what takes one of them out of RE2's automaton slows all of them down.
    """
    return Expression("|".join(f"(?{'i' if one.ignore_case else '-i'}:{one.pattern})" for one in expressions))


def quoted(words: str) -> str:
    """Returns an expression for a text as it stands; blanks match any blanks."""
    return r"\s+".join(re2.escape(word) for word in words.split())


def _options(*, ignore_case: bool) -> re2.Options:
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    options.max_mem = _MEMORY
    return options


def _length(data: bytes) -> int:
    return len(data.translate(None, _CONTINUATION))


def _explanation(pattern: str, error: Exception) -> str:
    said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
    _, _, fragment = said.partition(": ")
    at = pattern.find(fragment) if fragment else -1
    where = f" at character {at}" if at >= 0 else ""
    return f"is no expression of RE2{where}: {said} (see https://github.com/google/re2/wiki/Syntax)"
