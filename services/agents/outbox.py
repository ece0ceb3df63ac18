"""Events on their way to the store: the first one at once, those that come soon after it together, the last ones with their commit."""

import asyncio

from caravan.agents.v1 import events_pb2
from services.agents.ports import TurnStore
from services.agents.state import Lease

MOST_WAITING = 1024
MOST_BYTES = 1 << 20
BETWEEN_WRITES = 0.03
"""Seconds between two writes of one answer: what a reader does not see, and what saves most of the writes."""


class Outbox:
    """Writes a turn's progress behind the back of whoever makes it, in order. A failed write is raised by the next call.

    Texts of the same step that wait together become one event.
    """

    def __init__(self, store: TurnStore, lease: Lease) -> None:
        """Starts empty.

        Args:
            store: Where the events go.
            lease: The right to write them.
        """
        self._store, self._lease = store, lease
        self._waiting: list[events_pb2.TurnEventPayload] = []
        self._bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self._sent = False
        self._pause: asyncio.TimerHandle | None = None

    async def put(self, event: events_pb2.TurnEventPayload) -> None:
        """Adds an event; waits while too much is under way.

        Args:
            event: The event.

        Raises:
            CaravanError: An earlier write failed.
        """
        if len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_BYTES:
            await self.flush()
        if not self._merged(event):
            self._waiting.append(event)
        self._bytes += event.ByteSize()
        if self._writing is not None and self._writing.done():
            written, self._writing = self._writing, None
            written.result()
        if self._pause is None:
            self._begin()

    async def flush(self) -> None:
        """Waits until everything is written.

        Raises:
            CaravanError: A write failed.
        """
        waiting = await self.taken()
        if waiting:
            await self._store.append(self._lease, waiting)

    async def taken(self) -> list[events_pb2.TurnEventPayload]:
        """Waits for the write that is under way, and hands over what has not begun to be written: its taker writes it.

        Raises:
            CaravanError: A write failed.
        """
        if self._writing is not None and self._sent:
            await asyncio.wait([self._writing])
            written, self._writing = self._writing, None
            written.result()
        elif self._writing is not None:
            # It was to begin just now: its events go with those of the taker.
            self._writing.cancel()
            self._writing = None
        self._end_pause()
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        return waiting

    def discard(self) -> None:
        """Forgets what has not begun to be written: the attempt that it came from is void."""
        self._waiting, self._bytes = [], 0

    async def close(self) -> None:
        """Stops writing."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
        self._end_pause()

    def _begin(self) -> None:
        self._pause = None
        if self._waiting and (self._writing is None or self._writing.done()):
            self._sent = False
            self._writing = asyncio.create_task(self._write())

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    async def _write(self) -> None:
        self._sent = True
        batch, self._waiting, self._bytes = self._waiting, [], 0
        await self._store.append(self._lease, batch)
        # Not after a write that failed: the next call raises that.
        self._pause = asyncio.get_running_loop().call_later(BETWEEN_WRITES, self._begin)

    def _merged(self, event: events_pb2.TurnEventPayload) -> bool:
        if not self._waiting or not event.step_progress.delta.HasField("text"):
            return False
        last, new = self._waiting[-1].step_progress, event.step_progress
        if not last.delta.HasField("text") or (last.step_id, last.call_id) != (new.step_id, new.call_id):
            return False
        last.delta.text += new.delta.text
        return True
