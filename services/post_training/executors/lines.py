"""Lines out of chunks of bytes, each of a bounded length."""

from collections.abc import Iterator

MAX_BYTES = 1 << 20
"""Longest line that is kept; a checkpoint with thousands of files is told in one."""


class LineSplitter:
    """Cuts a stream into lines. Of one that is longer than `MAX_BYTES` the beginning is kept."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Has nothing yet.

        Args:
            max_bytes: Longest line.
        """
        self._max = max_bytes
        self._open = bytearray()

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yields the lines that a chunk ends.

        Args:
            chunk: What came next.
        """
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            yield self.rest()
        self._add(rest)

    def rest(self) -> str:
        """Returns what no end of line has followed yet, and forgets it."""
        text = self._open.decode(errors="replace").rstrip("\r")
        # A progress bar writes over itself: what was last shown counts.
        self._open.clear()
        return text.rpartition("\r")[2]

    def _add(self, piece: bytes) -> None:
        self._open += piece[: self._max - len(self._open)]
