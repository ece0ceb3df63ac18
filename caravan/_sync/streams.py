# Made from caravan/_async/streams.py by tools/sync_client.py. Do not edit.
"""Streamed answers."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Generic, TypeVar

from caravan.replies import Gathered, Reply

E = TypeVar("E")


class Stream(Generic[E]):
    """A streamed answer: iterate over its events, or over `texts()`, or wait for the `reply()`.

    The call begins with the iteration, and leaving the loop early cancels it.
    """

    def __init__(self, begin: Callable[[], Generator[E, None, None]], gather: Callable[[Gathered, E], str]) -> None:
        """Begins nothing yet.

        Args:
            begin: Makes the call.
            gather: Adds an event to what was gathered and returns the text that it brought.
        """
        self._begin = begin
        self._gather = gather
        self._gathered = Gathered()

    def __iter__(self) -> Generator[E, None, None]:
        """Makes the call and yields its events."""
        self._gathered = Gathered()
        with closing(self._begin()) as events:
            for event in events:
                self._gather(self._gathered, event)
                yield event

    def texts(self) -> Generator[str, None, None]:
        """Makes the call and yields the pieces of text."""
        self._gathered = Gathered()
        with closing(self._begin()) as events:
            for event in events:
                if text := self._gather(self._gathered, event):
                    yield text

    def reply(self) -> Reply:
        """Makes the call and returns the whole answer."""
        with closing(self.texts()) as texts:
            for _ in texts:
                pass
        return self._gathered.reply()

    @property
    def so_far(self) -> Reply:
        """What the last iteration has brought: the whole answer once it has ended."""
        return self._gathered.reply()
