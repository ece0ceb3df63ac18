"""Where a bracketed text ends, found piece by piece."""

import re

from services.inference.tool_calls.json_values import MAX_DEPTH

_CLOSERS = {"{": "}", "[": "]", "(": ")"}
_DEEPEST = MAX_DEPTH + 8
"""Brackets that may be open at once: the arguments' own, and those of the call around them."""


class BracketScanner:
    """Follows brackets and strings until the first bracket is closed. Takes linear time, whatever the pieces.

    Attributes:
        is_done: Whether the first bracket is closed.
        is_broken: Whether a bracket did not fit, or too many were open.
    """

    def __init__(self, *, python: bool) -> None:
        """Starts before the first bracket.

        Args:
            python: Whether strings are Python's (also `'` and triple quotes) or JSON's, and whether `(` is a bracket.
        """
        self.is_done = False
        self.is_broken = False
        self._marks = re.compile(r"""["'()\[\]{}]""" if python else r'["\[\]{}]')
        self._python = python
        self._open: list[str] = []
        self._string: _String | None = None

    def feed(self, text: str, start: int) -> int:
        """Reads on.

        Args:
            text: The next piece.
            start: Where in the piece to begin.

        Returns:
            The index behind the closing bracket, or behind the bracket that broke it; the piece's length when it ends before.
        """
        position = start
        while position < len(text) and not (self.is_done or self.is_broken):
            if self._string is not None:
                position = self._string.feed(text, position)
                if self._string.is_closed:
                    self._string = None
                continue
            mark = self._marks.search(text, position)
            if mark is None:
                return len(text)
            self._take(mark[0])
            position = mark.end()
        return position

    def _take(self, mark: str) -> None:
        if mark in "\"'":
            self._string = _String(mark, may_be_triple=self._python)
        elif mark in _CLOSERS:
            self._open.append(_CLOSERS[mark])
            self.is_broken = len(self._open) > _DEEPEST
        else:
            self.is_broken = not self._open or self._open.pop() != mark
            self.is_done = not self._open


class _String:
    """A string literal behind its first quote."""

    def __init__(self, quote: str, *, may_be_triple: bool) -> None:
        self.is_closed = False
        self._quote = quote
        self._quotes_at_start = 1 if may_be_triple else 0
        self._is_triple = False
        self._escaped = False
        self._run = 0
        self._marks = re.compile(rf"[\\{quote}]")

    def feed(self, text: str, position: int) -> int:
        """Reads on; returns where to go on."""
        if self._quotes_at_start:
            return self._feed_start(text, position)
        if self._escaped:
            self._escaped = False
            return position + 1
        mark = self._marks.search(text, position)
        if mark is None:
            self._run = 0
            return len(text)
        self._run = self._run + 1 if mark.start() == position else 1
        if mark[0] == "\\":
            self._escaped, self._run = True, 0
        else:
            self.is_closed = self._run == (3 if self._is_triple else 1)
        return mark.end()

    def _feed_start(self, text: str, position: int) -> int:
        """Tells `"x"`, `""` and `\"\"\"` apart."""
        if text[position] != self._quote:
            self.is_closed = self._quotes_at_start == 2
            self._quotes_at_start = 0
            return position
        self._quotes_at_start += 1
        if self._quotes_at_start == 3:
            self._is_triple, self._quotes_at_start = True, 0
        return position + 1
