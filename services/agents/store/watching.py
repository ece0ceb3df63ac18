"""Following turns.

Of a turn that runs in this process, those who watch it get what the process writes, and the store is not asked. For any other turn the
process listens once, however many watch it, and reads each event once.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from caravan.agents.v1 import events_pb2, turns_pb2
from services.agents.ports import EventsGoneError
from services.agents.state import Lease, TurnKey
from services.agents.store.context import Context
from services.agents.store.records import ends, kept_event
from services.agents.store.subscriptions import Subscriptions
from services.agents.store.turn_reading import no_turn
from services.core.errors import UnavailableError

_log = structlog.get_logger(__name__)

_RECENT = 256
_AT_ONCE = 256
_RUNNING = (turns_pb2.TURN_STATUS_IN_PROGRESS, turns_pb2.TURN_STATUS_AWAITING_INPUT)


class _Tail:
    """The end of a turn's events, as far as this process knows."""

    def __init__(self) -> None:
        self.owner: Lease | None = None
        self.watchers = 0
        self.listens = False
        self.last = 0
        self.looks = 0
        self.recent: deque[events_pb2.TurnEvent] = deque(maxlen=_RECENT)
        self.changed = asyncio.Event()
        self.reading = asyncio.Lock()

    def add(self, events: Sequence[events_pb2.TurnEvent]) -> None:
        """Keeps events that follow what is kept; what does not follow replaces it."""
        if not events:
            return
        if self.recent and events[0].sequence != self.recent[-1].sequence + 1:
            if events[0].sequence <= self.recent[-1].sequence:
                return
            self.recent.clear()
        self.recent.extend(events)
        self.last = max(self.last, events[-1].sequence)

    def has_news(self, following: int, looks: int) -> bool:
        """Tells whether to look at the store for events from a number on, after so many looks. What is written here is heard of anyway."""
        return self.last >= following or (self.owner is None and self.looks != looks)

    def since(self, sequence: int) -> list[events_pb2.TurnEvent]:
        """Returns the kept events from a number on; none when the first of them is not kept."""
        if not self.recent or not self.recent[0].sequence <= sequence <= self.recent[-1].sequence:
            return []
        return [event for event in self.recent if event.sequence >= sequence]

    def look(self) -> None:
        """Makes every watcher look at the store: something may have happened."""
        self.looks += 1
        self.wake()

    def wake(self) -> None:
        """Wakes the watchers."""
        self.changed.set()
        self.changed = asyncio.Event()


class Watching:
    """The turns that are watched in this process."""

    def __init__(self, context: Context, subscriptions: Subscriptions) -> None:
        """Makes it.

        Args:
            context: What all parts of the store share.
            subscriptions: The channels.
        """
        self._context = context
        self._subscriptions = subscriptions
        self._tails: dict[str, _Tail] = {}
        self._closed = False

    def own(self, lease: Lease) -> None:
        """From now on whoever holds this lease shows all events of its turn."""
        tail = self._tails.setdefault(self._channel(lease.turn), _Tail())
        tail.owner = lease
        tail.last = max(tail.last, lease.last_sequence)

    def leave(self, lease: Lease) -> None:
        """Ends what `own` began: others may write to the turn, or it has ended."""
        channel = self._channel(lease.turn)
        tail = self._tails.get(channel)
        if tail is None or tail.owner is not lease:
            return
        tail.owner = None
        if tail.watchers:
            tail.look()
        else:
            del self._tails[channel]

    def show(self, key: TurnKey, events: Sequence[events_pb2.TurnEvent]) -> None:
        """Hands the next events of a turn to those who watch it."""
        tail = self._tails.get(self._channel(key))
        if tail is not None:
            tail.add(events)
            tail.wake()

    def hear(self, channel: str, payload: bytes | None) -> None:
        """Takes what came on a turn's channel: the number of its last event, or that it is gone."""
        tail = self._tails.get(channel)
        if tail is None:
            return
        if payload is None or payload == b"gone":
            tail.look()
        elif int(payload) > tail.last:
            tail.last = int(payload)
            tail.wake()

    async def look_at_all(self) -> None:
        """Makes up for news that were lost: a connection broke, a slot moved."""
        await self._subscriptions.follow_slots()
        for tail in list(self._tails.values()):
            if tail.owner is None:
                tail.look()

    async def watch(self, key: TurnKey, from_sequence: int = 0) -> AsyncIterator[events_pb2.TurnEvent]:
        """Yields events; see TurnStore."""
        following, looks, status = max(from_sequence, 1), -1, turns_pb2.TURN_STATUS_UNSPECIFIED
        async with self._tail(key) as tail:
            while not self._closed:
                changed = tail.changed
                events = tail.since(following)
                if not events and tail.has_news(following, looks):
                    looks = tail.looks
                    status, events = await self._read(key, tail, following)
                for event in events:
                    yield event
                    following = event.sequence + 1
                    if ends(event.payload):
                        return
                if events:
                    continue
                if tail.owner is None:
                    if status not in _RUNNING and tail.last < following:
                        return
                    await self._listen(key, tail)
                await changed.wait()
        message = "the service is stopping; watch the turn again from where this ended"
        raise UnavailableError(message, reason="STOPPING")

    def close(self) -> None:
        """Ends all watches."""
        self._closed = True
        for tail in self._tails.values():
            tail.wake()

    async def _read(
        self, key: TurnKey, tail: _Tail, following: int
    ) -> tuple[turns_pb2.TurnStatus.ValueType, list[events_pb2.TurnEvent]]:
        context = self._context
        keys = context.keys.session(key.session)
        names = keys.turn(key.turn_id)
        async with tail.reading:
            events = tail.since(following)
            if events:
                return turns_pb2.TURN_STATUS_IN_PROGRESS, events
            call = context.scripts["read_events"].call([keys.session, names.turn, names.events], following, _AT_ONCE)
            found = await context.commands.run(keys.session, call)
            if found is None:
                raise no_turn(key)
            status, last, entries = found
            events = [kept_event(context.codec, entry) for entry in entries]
            tail.last = max(tail.last, int(last))
            if (events[0].sequence if events else int(last) + 1) > following:
                first = f"the first one kept has number {events[0].sequence}" if events else "none of them is kept"
                message = (
                    f"events of turn {key.turn_id!r} from number {following} on: {first}; GetTurn has their result"
                )
                raise EventsGoneError(message, reason="EVENTS_GONE", metadata={"turn_id": key.turn_id})
            tail.add(events)
            return turns_pb2.TurnStatus.ValueType(int(status)), events

    @asynccontextmanager
    async def _tail(self, key: TurnKey) -> AsyncIterator[_Tail]:
        channel = self._channel(key)
        tail = self._tails.setdefault(channel, _Tail())
        tail.watchers += 1
        try:
            yield tail
        finally:
            tail.watchers -= 1
            if not tail.watchers:
                if tail.owner is None:
                    del self._tails[channel]
                if tail.listens:
                    tail.listens = False
                    await self._subscriptions.remove(channel)

    async def _listen(self, key: TurnKey, tail: _Tail) -> None:
        """Listens to a turn that others may write to. What happened before is looked at as soon as the store says that it is heard."""
        if not tail.listens:
            tail.listens = True
            await self._subscriptions.add(self._channel(key))

    def _channel(self, key: TurnKey) -> str:
        return self._context.keys.session(key.session).turn(key.turn_id).news
