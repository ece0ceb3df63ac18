"""Cutting text into overlapping windows of tokens, by places that stay exact: code points of the extracted text."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caravan.memory.v1 import query_pb2
from services.memory.extraction.extracted import Extracted, Heading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_CHUNK_SIZE = 512
"""Tokens of a chunk when nobody says otherwise."""
_MOST_HEADINGS = 64
_HEADING_CHARS = 1024


@dataclass(frozen=True, slots=True)
class Window:
    """How text is cut."""

    size: int
    """Tokens of a chunk."""

    overlap: int
    """Tokens that a chunk shares with the one before; less than `size`."""

    @classmethod
    def of(cls, size: int, overlap: int | None = None) -> "Window":
        """Makes a window; an overlap that is not given is a quarter of it."""
        return cls(size, size // 4 if overlap is None else overlap)


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk of a text."""

    start: int
    """First code point."""

    end: int
    """The code point after the last one."""

    token_count: int
    """Its tokens."""


def cut(text: str, token_ends: "NDArray[np.int64]", window: Window) -> list[Piece]:
    """Cuts a text into windows of tokens.

    The windows begin `size - overlap` tokens apart, and the last is the first that reaches the end: no chunk is wholly inside the one
    before. White space at the edges of a chunk is left out; a chunk of nothing else is none.

    Args:
        text: The text.
        token_ends: For each token the code point after its last one, never falling.
        window: How to cut.
    """
    count = len(token_ends)
    pieces: list[Piece] = []
    first = 0
    while first < count:
        last = min(first + window.size, count)
        start = int(token_ends[first - 1]) if first else 0
        end = int(token_ends[last - 1]) if last < count else len(text)
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if start < end:
            pieces.append(Piece(start, end, last - first))
        if last == count:
            break
        first += window.size - window.overlap
    return pieces


class Places:
    """Tells where in a document a code point is."""

    def __init__(self, extracted: Extracted) -> None:
        """Prepares for one document.

        Args:
            extracted: Its text, with pages and headings.
        """
        self._pages = extracted.pages
        self._heading_starts = [heading.start for heading in extracted.headings]
        self._paths = _paths(extracted.headings)

    def location(self, piece: Piece, index: int) -> query_pb2.ChunkLocation:
        """Returns where a chunk stands.

        Args:
            piece: The chunk.
            index: Its number in the document.
        """
        above = bisect_right(self._heading_starts, piece.start)
        return query_pb2.ChunkLocation(
            start=piece.start,
            end=piece.end,
            chunk_index=index,
            page=bisect_right(self._pages, piece.start),
            headings=self._paths[above - 1] if above else (),
        )


def _paths(headings: Sequence[Heading]) -> list[tuple[str, ...]]:
    """Returns for each heading the titles from the outermost to its own."""
    paths: list[tuple[str, ...]] = []
    stack: list[Heading] = []
    for heading in headings:
        while stack and stack[-1].level >= heading.level:
            stack.pop()
        stack.append(heading)
        paths.append(tuple(above.title[:_HEADING_CHARS] for above in stack[:_MOST_HEADINGS]))
    return paths
