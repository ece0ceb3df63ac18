"""A text that grows before several shields: what all of them have released may be seen, with what they found masked."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from caravan.safety.v1 import results_pb2, safety_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, UnavailableError
from services.inference.shields_following import AlwaysOnShield
from services.inference.shields_gateway import Safety

Logprobs = Sequence[types_pb2.TokenLogProbs]

_WAITING = 64
"""Pieces of text that wait to be sent to a shield; a generator that is faster waits."""


@dataclass(slots=True, eq=False)
class _Watch:
    """One shield that judges the text."""

    shield: AlwaysOnShield
    pieces: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(_WAITING))
    """Text to send; None: it is whole."""
    released: int = 0
    """Code points that it has released."""
    listens: bool = True
    """It takes more text."""
    has_passed: bool = False
    """It lets all of the text pass."""


class GrowingText:
    """The text. `judging` is a task to run beside the one that appends."""

    def __init__(self, safety: Safety, shields: Sequence[AlwaysOnShield], context: Sequence[types_pb2.Message]) -> None:
        """Begins with an empty text.

        Args:
            safety: Has shields judge.
            shields: The shields.
            context: The conversation that it answers.
        """
        self.warnings = 0
        """Shields that warn, by now."""
        self.changed = asyncio.Event()
        """Set whenever more may be seen."""
        self._safety = safety
        self._context = list(context)
        self._watches = [_Watch(shield) for shield in shields]
        self._edits: dict[tuple[int, int], str] = {}
        self._logprobs: deque[tuple[int, int, Logprobs]] = deque()
        # Only what is not seen yet is kept.
        self._rest = ""
        self._seen = 0

    @property
    def length(self) -> int:
        """Code points of the text."""
        return self._seen + len(self._rest)

    async def append(self, text: str, logprobs: Logprobs) -> None:
        """Appends text.

        Args:
            text: The text.
            logprobs: Of its tokens.
        """
        begin = self.length
        self._rest += text
        if logprobs:
            self._logprobs.append((begin, self.length, logprobs))
        if text:
            await self._send(text)

    async def finish(self) -> None:
        """Says that the text is whole."""
        await self._send(None)

    async def judging(self) -> None:
        """Has all shields judge, until all have given their verdict.

        Raises:
            FailedPreconditionError: The text violates a shield.
            UnavailableError: A shield cannot judge.
        """
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(self._judge(watch))

    def take(self, until: int | None) -> tuple[str, Logprobs]:
        """Returns what may be seen since the last time.

        Args:
            until: Code points of the text beyond which nothing is wanted. None: all of it.
        """
        limit = min([self.length if until is None else until, *(w.released for w in self._watches if not w.has_passed)])
        for start, end in sorted(self._edits, key=lambda place: -place[1]):
            if start < limit < end:
                limit = start
        if limit <= self._seen:
            return "", ()
        text = "".join(self._masked(limit))
        logprobs = [one for logprobs in self._taken_logprobs(limit) for one in logprobs]
        self._rest = self._rest[limit - self._seen :]
        self._seen = limit
        return text, logprobs

    async def _send(self, text: str | None) -> None:
        for watch in self._watches:
            if watch.listens:
                await watch.pieces.put(text)

    async def _judge(self, watch: _Watch) -> None:
        result: results_pb2.ShieldResult | None = None
        try:
            result = await self._verdict(watch)
        except CaravanError as error:
            self._safety.give_up((watch.shield,), error)
        finally:
            watch.listens = False
            while not watch.pieces.empty():
                # Whoever waits for room goes on.
                watch.pieces.get_nowait()
        if result is not None:
            self.warnings += self._safety.warned(result, "output")
            self._safety.refuse(result, "output")
        watch.has_passed = True
        self.changed.set()

    async def _verdict(self, watch: _Watch) -> results_pb2.ShieldResult:
        async with aclosing(self._safety.stream(self._requests(watch))) as events:
            async for event in events:
                match event.WhichOneof("event"):
                    case "released":
                        watch.released = event.released.end
                        self.changed.set()
                    case "finding" if event.finding.HasField("replacement") and event.finding.HasField("location"):
                        place = event.finding.location
                        self._edits.setdefault((place.start, place.end), event.finding.replacement)
                    case "complete":
                        return event.complete.result
        message = f"the judgement of shield {watch.shield.shield_id} was cut off"
        raise UnavailableError(message, reason="SHIELD_UNAVAILABLE")

    async def _requests(self, watch: _Watch) -> AsyncIterator[safety_pb2.StreamShieldRequest]:
        yield safety_pb2.StreamShieldRequest(shield_id=watch.shield.shield_id, messages=self._context)
        while (text := await watch.pieces.get()) is not None:
            yield safety_pb2.StreamShieldRequest(text=text)
        yield safety_pb2.StreamShieldRequest(end_of_text=True)

    def _masked(self, limit: int) -> Iterator[str]:
        """The text from what is seen to `limit`; of places that overlap the first one's replacement stands in for all of them."""
        at = self._seen
        for (start, end), replacement in sorted(self._edits.items()):
            if start >= limit or end <= self._seen:
                continue
            if start >= at:
                yield self._rest[at - self._seen : start - self._seen]
                yield replacement
            at = max(at, end)
        yield self._rest[at - self._seen : limit - self._seen]

    def _taken_logprobs(self, limit: int) -> Iterator[Logprobs]:
        while self._logprobs and self._logprobs[0][1] <= limit:
            begin, end, logprobs = self._logprobs.popleft()
            # Those of masked text would spell it out.
            if not any(start < end and behind > begin for start, behind in self._edits):
                yield logprobs
