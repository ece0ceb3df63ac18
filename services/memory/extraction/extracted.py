"""What is extracted from a document."""

from collections.abc import Sequence
from dataclasses import dataclass


class UnreadableError(Exception):
    """The content is not what it says, or broken; the message says what is wrong with it, for the caller."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a text."""

    start: int
    """Its first code point in the text."""

    level: int
    """Its level, from 1, the outermost."""

    title: str
    """Its words."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a document."""

    text: str
    """The text."""

    pages: Sequence[int] = ()
    """First code point of each page, rising from 0. Empty: the document has no pages."""

    headings: Sequence[Heading] = ()
    """The headings, in their order."""


class TextBuilder:
    """Puts a text together from blocks, and keeps where headings and pages begin."""

    def __init__(self) -> None:
        """Begins with nothing."""
        self._parts: list[str] = []
        self._length = 0
        self._pages: list[int] = []
        self._headings: list[Heading] = []

    def add(self, text: str) -> None:
        """Appends text as it is."""
        self._parts.append(text)
        self._length += len(text)

    def heading(self, level: int, title: str) -> None:
        """Appends a heading as a block of its own; an empty one is left out."""
        title = " ".join(title.split())
        if title:
            self.end_block()
            self._headings.append(Heading(self._length, level, title))
            self.add(title)
            self.end_block()

    def block(self, text: str) -> None:
        """Appends a block, apart from what is before and after; an empty one is left out."""
        text = text.strip()
        if text:
            self.end_block()
            self.add(text)
            self.end_block()

    def page(self) -> None:
        """Begins a page."""
        self.end_block()
        self._pages.append(self._length)

    def end_block(self) -> None:
        """Ends the present block."""
        if self._parts and not self._parts[-1].endswith("\n\n"):
            self.add("\n" if self._parts[-1].endswith("\n") else "\n\n")

    def built(self) -> Extracted:
        """Returns the text."""
        return Extracted("".join(self._parts).rstrip(), self._pages, self._headings)
