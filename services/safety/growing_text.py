"""A text that one task appends to while another judges it."""

import asyncio

from services.core.errors import CaravanError, ResourceExhaustedError

MOST_CHARS = 1 << 20
"""Most code points of a text."""

_MOST_WAITING = 1 << 16


class GrowingText:
    """The text. Whoever appends faster than it is judged waits."""

    def __init__(self) -> None:
        """Begins with an empty text."""
        self.is_whole = False
        self._pieces: list[str] = []
        self._length = 0
        self._taken = 0
        self._failure: CaravanError | None = None
        self._waits_for_end = False
        self._changed = asyncio.Condition()

    async def append(self, text: str) -> None:
        """Appends text.

        Raises:
            ResourceExhaustedError: The text gets too long.
        """
        if self._length + len(text) > MOST_CHARS:
            message = f"the text is longer than {MOST_CHARS} characters, the most that one stream judges: begin another"
            raise ResourceExhaustedError(message, reason="TEXT_TOO_LONG")
        async with self._changed:
            await self._changed.wait_for(lambda: self._waits_for_end or self._length - self._taken < _MOST_WAITING)
            self._pieces.append(text)
            self._length += len(text)
            self._changed.notify_all()

    async def finish(self) -> None:
        """Says that the text is whole."""
        async with self._changed:
            self.is_whole = True
            self._changed.notify_all()

    async def fail(self, error: CaravanError) -> None:
        """Says that it will never be whole."""
        async with self._changed:
            self._failure = error
            self._changed.notify_all()

    async def grown(self, stride: int | None) -> str:
        """Waits until the text is whole or has grown since the last time, and returns it.

        Args:
            stride: Least code points to grow by. None: until it is whole.

        Raises:
            CaravanError: It will never be whole.
        """
        async with self._changed:
            self._waits_for_end = stride is None
            self._changed.notify_all()
            await self._changed.wait_for(
                lambda: (
                    self.is_whole
                    or self._failure is not None
                    or (stride is not None and self._length - self._taken >= stride)
                )
            )
            if self._failure is not None:
                raise self._failure
            self._taken = self._length
            self._changed.notify_all()
        text = "".join(self._pieces)
        self._pieces = [text]
        return text
