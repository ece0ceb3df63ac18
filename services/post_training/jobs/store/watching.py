"""Following jobs. Each process listens once for all jobs that are watched in it; every watch reads as fast as its reader takes."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog

from caravan.post_training.v1 import jobs_pb2
from services.core.errors import CaravanError, UnavailableError
from services.core.redis.connection import Connection
from services.core.redis.scripts import Script
from services.post_training import keys
from services.post_training.jobs.job_store import EventsGoneError
from services.post_training.jobs.store import encoding
from services.post_training.jobs.transitions import ENDED

_AT_ONCE = 256
_LISTEN_AGAIN_SECONDS = 0.2
_log = structlog.get_logger(__name__)

Hear = Callable[[str, "jobs_pb2.JobStatus.ValueType"], None]


@dataclass(slots=True)
class _Cursor:
    """How far a watch has come in one job."""

    following: int
    """Number of the next event."""
    drained: bool = False
    """The job has ended, and all of its events were read."""
    strict: bool = True
    """Events that are gone are an error; else it begins with the first that is kept."""


class Watching:
    """The jobs that are watched in this process."""

    def __init__(self, connection: Connection, scripts: Mapping[str, Script], poll_seconds: float) -> None:
        """Watches nothing yet.

        Args:
            connection: The way to Redis.
            scripts: The scripts by name.
            poll_seconds: Seconds between two looks in case that news were lost.
        """
        self._connection, self._poll_seconds = connection, poll_seconds
        self._script, self._members = scripts["read_events"], scripts["trials"]
        self._wakers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._moved = asyncio.Event()
        self._hearers: list[Hear] = []
        self._listening: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begins to listen."""
        self._listening = asyncio.create_task(self._listen(), name="job-news")

    async def close(self) -> None:
        """Ends all watches."""
        self._closed = True
        self._wake_all()
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening

    def listen(self, hear: Hear) -> None:
        """Calls back with a job and where it stands whenever it has news."""
        self._hearers.append(hear)

    async def moved(self, seconds: float) -> None:
        """Waits until some job may stand somewhere else than before, at most so many seconds."""
        event = self._moved
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def watch(
        self, job_uuid: str, from_sequence: int, *, include_trials: bool
    ) -> AsyncIterator[jobs_pb2.JobEvent]:
        """Yields events; see JobStore."""
        cursors = {job_uuid: _Cursor(max(from_sequence, 1))}
        if include_trials:
            for trial in await self._trials(job_uuid):
                cursors[trial] = _Cursor(1, strict=False)
        waker = asyncio.Event()
        with self._waking(waker, cursors):
            while not self._closed:
                waker.clear()
                async for event in self._round(job_uuid, cursors, waker, include_trials=include_trials):
                    yield event
                if cursors[job_uuid].drained:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await waker.wait()
        message = "the service is stopping; watch the job again from where this ended"
        raise UnavailableError(message, reason="STOPPING")

    async def _round(
        self, job_uuid: str, cursors: dict[str, _Cursor], waker: asyncio.Event, *, include_trials: bool
    ) -> AsyncIterator[jobs_pb2.JobEvent]:
        """Everything that there is now. The watched job's end comes after all of its trials'."""
        async for event in self._drain(job_uuid, cursors[job_uuid]):
            trial = event.trial.trial_job_uuid
            if include_trials and trial and trial not in cursors:
                cursors[trial] = _Cursor(1, strict=False)
                self._wakers[trial].add(waker)
            if event.HasField("end"):
                async for earlier in self._drain_trials(job_uuid, cursors):
                    yield earlier
            yield event
        async for event in self._drain_trials(job_uuid, cursors):
            yield event

    async def _drain_trials(self, job_uuid: str, cursors: dict[str, _Cursor]) -> AsyncIterator[jobs_pb2.JobEvent]:
        for uuid, cursor in list(cursors.items()):
            if uuid != job_uuid and not cursor.drained:
                async for event in self._drain(uuid, cursor):
                    yield event

    async def _drain(self, job_uuid: str, cursor: _Cursor) -> AsyncIterator[jobs_pb2.JobEvent]:
        while True:
            names = [keys.job(job_uuid), keys.job_events(job_uuid)]
            found = await self._connection.run(self._script, names, [cursor.following, _AT_ONCE])
            if found is None:
                if cursor.strict:
                    raise encoding.no_job(job_uuid)
                cursor.drained = True
                return
            status, last, entries = int(found[0]), int(found[1]), found[2]
            events = [encoding.event_of(job_uuid, entry) for entry in entries]
            if cursor.strict and (events[0].sequence if events else last + 1) > cursor.following:
                raise _gone(job_uuid, cursor.following, events)
            for event in events:
                yield event
                cursor.following = event.sequence + 1
            if cursor.following > last:
                cursor.drained = status in ENDED
                return

    async def _trials(self, job_uuid: str) -> list[str]:
        found = await self._connection.run(self._members, [keys.jobs_of_parent(job_uuid)])
        return [uuid.decode() for uuid in found]

    @contextmanager
    def _waking(self, waker: asyncio.Event, cursors: dict[str, _Cursor]) -> Iterator[None]:
        for uuid in cursors:
            self._wakers[uuid].add(waker)
        try:
            yield
        finally:
            for uuid in cursors:
                self._wakers[uuid].discard(waker)
                if not self._wakers[uuid]:
                    del self._wakers[uuid]

    async def _listen(self) -> None:
        while True:
            try:
                async for _, message in self._connection.listen(keys.NEWS):
                    self._hear(message)
            except CaravanError as error:
                _log.warning("listening_again", why=error.message)
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    def _hear(self, message: bytes | None) -> None:
        if message is None:
            self._wake_all()
            return
        uuid, status, _ = message.decode().split(" ")
        for waker in self._wakers.get(uuid, ()):
            waker.set()
        stands = jobs_pb2.JobStatus.ValueType(int(status))
        for hear in self._hearers:
            hear(uuid, stands)
        if stands != jobs_pb2.JOB_STATUS_IN_PROGRESS:
            self._wake_moved()

    def _wake_all(self) -> None:
        for wakers in self._wakers.values():
            for waker in wakers:
                waker.set()
        self._wake_moved()

    def _wake_moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def _gone(job_uuid: str, following: int, events: list[jobs_pb2.JobEvent]) -> EventsGoneError:
    first = f"the first one kept has number {events[0].sequence}" if events else "none of them is kept"
    message = f"events of job {job_uuid!r} from number {following} on: {first}; GetJobStatus has where the job stands"
    metadata = {"job_uuid": job_uuid, **({"first_sequence": str(events[0].sequence)} if events else {})}
    return EventsGoneError(message, reason="EVENTS_GONE", metadata=metadata)
