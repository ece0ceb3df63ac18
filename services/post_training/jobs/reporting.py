"""What work says, on its way into the store: in batches, without holding the work back, and never without a bound."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from caravan.post_training.v1 import jobs_pb2
from services.core.errors import CaravanError, InternalError, UnavailableError
from services.post_training.jobs.job_store import JobStore
from services.post_training.jobs.ports import LeaseLostError, Report
from services.post_training.jobs.records import Batch, Lease

_log = structlog.get_logger(__name__)

_FLUSH_SECONDS = 0.08
_PROGRESS_SECONDS = 1.0
_AT_ONCE = 256
_MOST = 4096
_AGAIN_SECONDS = 0.5
# A store that answers and refuses for so long will not take the events.
_REFUSED_SECONDS = 60.0


@dataclass(slots=True)
class _Latest:
    """How far the work has come, as far as it is not in the store yet."""

    event: jobs_pb2.JobEvent | None = None
    at: float = float("-inf")


class Reporter(Report):
    """Events of one running job."""

    def __init__(self, store: JobStore, lease: Lease) -> None:
        """Says nothing yet; `run` carries events to the store.

        Args:
            store: The store.
            lease: The right to run the job.
        """
        self._store, self._lease = store, lease
        self._said: list[jobs_pb2.JobEvent] = []
        self._progress = _Latest()
        self._news, self._idle = asyncio.Event(), asyncio.Event()
        self._room = asyncio.Event()
        self._idle.set()
        self._room.set()
        self._settling = 0
        self._broken: CaravanError | None = None

    async def say(self, event: jobs_pb2.JobEvent) -> None:
        """See Report."""
        while not self._room.is_set() and not self._lease.lost.is_set():
            await self._first(self._room)
        if self._broken is not None:
            raise self._broken
        self._add(event)

    async def settle(self) -> None:
        """See Report."""
        self._settling += 1
        self._news.set()
        try:
            while not self._idle.is_set():
                if self._lease.lost.is_set():
                    raise LeaseLostError
                await self._first(self._idle)
            if self._broken is not None:
                raise self._broken
        finally:
            self._settling -= 1

    async def run(self) -> None:
        """Carries events to the store until it is cancelled or the lease is lost."""
        try:
            while not self._lease.lost.is_set():
                await self._news.wait()
                if not self._settling and len(self._said) < _AT_ONCE:
                    await asyncio.sleep(_FLUSH_SECONDS)
                self._news.clear()
                await self._flush()
        except CaravanError as error:
            self._break(error)
        except Exception as error:  # noqa: BLE001 - whoever waits for this would wait for ever
            _log.exception("events_broke", job_uuid=self._lease.job_uuid)
            self._break(InternalError(f"the job's events cannot be stored ({type(error).__name__})"))

    def _break(self, error: CaravanError) -> None:
        """Nothing that is said comes into the store any more: the next one who says something, or waits, is told."""
        self._broken = error
        self._said.clear()
        self._room.set()
        self._idle.set()

    def _add(self, event: jobs_pb2.JobEvent) -> None:
        if event.HasField("progress"):
            self._progress.event = event
        else:
            self._said.append(event)
        self._idle.clear()
        self._news.set()
        if len(self._said) >= _MOST:
            self._room.clear()

    async def _flush(self) -> None:
        refusals = 0
        while self._said or self._due():
            batch, taken = self._batch()
            try:
                await self._store.append(self._lease, batch)
            except LeaseLostError:
                break
            except CaravanError as error:
                # The store is away. What was said stays, and the work waits once there is too much of it.
                _log.warning("events_wait", job_uuid=self._lease.job_uuid, why=error.message, events=len(self._said))
                refusals += not isinstance(error, UnavailableError)
                if refusals * _AGAIN_SECONDS > _REFUSED_SECONDS:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            refusals = 0
            del self._said[:taken]
            if batch.progress is not None:
                self._progress.at = time.monotonic()
                self._progress.event = None if _is(self._progress.event, batch.progress) else self._progress.event
            if len(self._said) < _MOST // 2:
                self._room.set()
        if self._progress.event is None and not self._said:
            self._idle.set()
        elif self._progress.event is not None:
            wait = self._progress.at + _PROGRESS_SECONDS - time.monotonic()
            asyncio.get_running_loop().call_later(max(0.0, wait), self._news.set)

    def _due(self) -> bool:
        if self._progress.event is None:
            return False
        return bool(self._settling) or time.monotonic() >= self._progress.at + _PROGRESS_SECONDS

    def _batch(self) -> tuple[Batch, int]:
        said = self._said[:_AT_ONCE]
        told: list[jobs_pb2.JobEvent] = list(said)
        progress = None
        if self._due() and self._progress.event is not None:
            told.append(self._progress.event)
            progress = self._progress.event.progress
        checkpoints = [event.checkpoint.checkpoint for event in said if event.HasField("checkpoint")]
        return Batch(told, progress, _metrics(said), checkpoints), len(said)

    async def _first(self, event: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._lease.lost.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _metrics(said: Sequence[jobs_pb2.JobEvent]) -> dict[str, float]:
    found: dict[str, float] = {}
    for event in said:
        found.update({name: value for name, value in event.metrics.metrics.items() if not math.isnan(value)})
    return found


def _is(event: jobs_pb2.JobEvent | None, progress: jobs_pb2.TrainingProgress) -> bool:
    return event is not None and event.progress is progress
