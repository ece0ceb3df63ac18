"""Streamed answers."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from caravan.replies import Gathered, Reply

E = TypeVar("E")


class AsyncStream(Generic[E]):
    """A streamed answer: iterate over its events, or over `texts()`, or wait for the `reply()`.

    The call begins with the iteration, and leaving the loop early cancels it.
    """

    def __init__(self, begin: Callable[[], AsyncGenerator[E, None]], gather: Callable[[Gathered, E], str]) -> None:
        """Begins nothing yet.

        Args:
            begin: Makes the call.
            gather: Adds an event to what was gathered and returns the text that it brought.
        """
        self._begin = begin
        self._gather = gather
        self._gathered = Gathered()

    async def __aiter__(self) -> AsyncGenerator[E, None]:
        """Makes the call and yields its events."""
        self._gathered = Gathered()
        async with aclosing(self._begin()) as events:
            async for event in events:
                self._gather(self._gathered, event)
                yield event

    async def texts(self) -> AsyncGenerator[str, None]:
        """Makes the call and yields the pieces of text."""
        self._gathered = Gathered()
        async with aclosing(self._begin()) as events:
            async for event in events:
                if text := self._gather(self._gathered, event):
                    yield text

    async def reply(self) -> Reply:
        """Makes the call and returns the whole answer."""
        async with aclosing(self.texts()) as texts:
            async for _ in texts:
                pass
        return self._gathered.reply()

    @property
    def so_far(self) -> Reply:
        """What the last iteration has brought: the whole answer once it has ended."""
        return self._gathered.reply()
