"""Runs jobs in this process: takes them out of the queues, keeps them alive, hands them on, and takes up what others left behind."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from opentelemetry.metrics import Meter

from caravan.post_training.v1 import jobs_pb2
from services.core.errors import AbortedError, CaravanError, InternalError, UnavailableError
from services.post_training.jobs import transitions
from services.post_training.jobs.job_store import JobStore, StaleError
from services.post_training.jobs.metrics import JobMetrics
from services.post_training.jobs.ports import Assignment, Completed, Failed, LeaseLostError, Stopped, Work
from services.post_training.jobs.records import Change, Claimed, JobRecord, Lane, Lease
from services.post_training.jobs.reporting import Reporter
from services.post_training.storage import Storage

_log = structlog.get_logger(__name__)

_HEARTBEATS_A_LEASE = 3
_LEASES_UNTIL_STOP, _LEASES_UNTIL_LOST = 3, 8
_BATCH = 64
_AGAIN_SECONDS = 0.5
Outcome = Completed | Stopped | Failed


@dataclass(frozen=True, slots=True)
class Place:
    """Who does the jobs of one queue, and how many at once."""

    work: Work
    """Does them."""
    slots: int
    """Most at once."""


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """Times of a scheduler."""

    lease_seconds: float = 15.0
    """Seconds after which another process takes up a job of one that died."""
    scan_seconds: float = 2.0
    """Seconds between two looks for jobs that others left behind."""
    stop_seconds: float = 90.0
    """Seconds that jobs get to end when the service stops."""


@dataclass(slots=True)
class _Held:
    """A job that runs here."""

    lease: Lease
    lane: Lane
    task: "asyncio.Task[None]"
    renewed: float = field(default_factory=time.monotonic)


class Scheduler:
    """Runs jobs."""

    def __init__(
        self,
        store: JobStore,
        storage: Storage,
        places: Mapping[Lane, Place],
        holder: str,
        limits: SchedulerLimits,
        meter: Meter | None = None,
    ) -> None:
        """Runs nothing yet.

        Args:
            store: The jobs.
            storage: Their folders.
            places: Who does the jobs of each queue.
            holder: Names this process, for people.
            limits: Times.
            meter: Where metrics go. None: to OpenTelemetry's own provider.
        """
        self._store, self._storage, self._places = store, storage, places
        self._holder, self._limits = holder, limits
        self._held: dict[str, _Held] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._claiming = asyncio.Lock()
        self._metrics = JobMetrics(self._running_by_lane, meter)
        store.listen(self._hear)

    @property
    def running(self) -> int:
        """Number of jobs that run here."""
        return len(self._held)

    def _running_by_lane(self) -> Mapping[Lane, int]:
        lanes = [held.lane for held in list(self._held.values())]
        return {lane: lanes.count(lane) for lane in self._places}

    def start(self) -> None:
        """Begins."""
        self._tasks = [
            asyncio.create_task(self._for_ever("claim", self._claim_all), name="claim-jobs"),
            asyncio.create_task(self._for_ever("heartbeat", self._beat_all), name="job-heartbeats"),
            asyncio.create_task(self._for_ever("scan", self._scan), name="scan-jobs"),
        ]

    async def stop(self) -> None:
        """Makes the jobs that run here end soon, with what they have, and puts them back into the queue for others."""
        self._draining = True
        async with self._claiming:
            # From now on nothing is added to what runs here.
            pass
        running = [held.task for held in self._held.values()]
        for held in self._held.values():
            held.lease.wish.set()
        if running:
            _log.info("jobs_stop", count=len(running))
            await asyncio.wait(running, timeout=self._limits.stop_seconds)
        left = [*self._tasks, *(held.task for held in self._held.values())]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _for_ever(self, name: str, round_: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await round_()
            except CaravanError as error:
                _log.warning(f"{name}_failed", why=error.message)
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception:  # noqa: BLE001 - the edge of a loop that nobody else would go on with
                _log.exception(f"{name}_broke")
                await asyncio.sleep(_AGAIN_SECONDS)

    def _hear(self, job_uuid: str, status: "jobs_pb2.JobStatus.ValueType") -> None:
        held = self._held.get(job_uuid)
        if held is None:
            return
        if status in (transitions.PAUSING, transitions.CANCELLING):
            held.lease.wish.set()

    # Claiming.

    async def _claim_all(self) -> None:
        wait = self._limits.scan_seconds
        for lane, place in self._places.items():
            try:
                async with self._claiming:
                    due = await self._claim(lane, place)
            except CaravanError as error:
                _log.warning("claim_failed", lane=lane, why=error.message)
                continue
            wait = min(wait, max(0.01, due)) if due is not None else wait
        await self._store.changed(wait)

    async def _claim(self, lane: Lane, place: Place) -> float | None:
        """Takes as many jobs as there is room for; returns the seconds until a delayed one comes."""
        room = 0 if self._draining else place.slots - sum(held.lane == lane for held in self._held.values())
        if room <= 0:
            return None
        found, due = await self._store.next_jobs(lane, room)
        for uuid in found:
            if self._draining:
                break
            with contextlib.suppress(StaleError):
                await self._take(uuid, lane, place)
        return due

    async def _take(self, job_uuid: str, lane: Lane, place: Place) -> None:
        record = await self._store.read(job_uuid)
        if record.job.status != transitions.WAITING:
            return
        claimed = Claimed(self._holder, int(self._limits.lease_seconds * 1000))
        resources: dict[str, Any] = {"host": self._holder, **place.work.resources(record.job)}
        token = await self._store.change(record, transitions.claim(record, claimed, self._holder, resources))
        lease = Lease(job_uuid, token)
        task = asyncio.create_task(self._run(lease, place.work), name=f"job-{job_uuid}")
        self._held[job_uuid] = _Held(lease, lane, task)
        task.add_done_callback(lambda _: self._held.pop(job_uuid, None))
        _log.info("job_claimed", job_uuid=job_uuid, lane=lane, attempt=record.job.attempts + 1)

    # Running.

    async def _run(self, lease: Lease, work: Work) -> None:
        log = _log.bind(job_uuid=lease.job_uuid)
        began = time.monotonic()
        reporter = Reporter(self._store, lease)
        reporting = asyncio.create_task(reporter.run(), name=f"report-{lease.job_uuid}")
        try:
            record = await self._read(lease)
            assignment = Assignment(record, lease, self._storage.job(lease.job_uuid))
            outcome = await self._outcome(work, assignment, reporter)
            await self._finish(lease, outcome, int((time.monotonic() - began) * 1000))
        except LeaseLostError:
            log.warning("job_lost")
        except CaravanError as error:
            # Its lease runs out, and somebody takes it up.
            log.error("job_left_behind", reason=error.reason, why=error.message)  # noqa: TRY400 - a store's refusal
        else:
            log.info("job_left", outcome=type(outcome).__name__)
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)

    async def _outcome(self, work: Work, assignment: Assignment, reporter: Reporter) -> Outcome:
        """What came of the work, once everything that it said is in the store."""
        try:
            outcome = await self._worked(work, assignment, reporter)
            await reporter.settle()
        except CaravanError as error:
            return Failed(error, again=False)
        return outcome

    async def _worked(self, work: Work, assignment: Assignment, reporter: Reporter) -> Outcome:
        uuid = assignment.lease.job_uuid
        try:
            return await work.run(assignment, reporter)
        except CaravanError as error:
            _log.warning("job_failed", job_uuid=uuid, reason=error.reason, why=error.message)
            return Failed(error, again=isinstance(error, UnavailableError | AbortedError))
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of a job: it fails, the others go on
            _log.exception("job_broke", job_uuid=uuid)
            message = f"internal error ({type(error).__name__}); the service's log has the details under job {uuid}"
            return Failed(InternalError(message), again=False)

    async def _finish(self, lease: Lease, outcome: Outcome, ran_ms: int) -> None:
        while not lease.lost.is_set():
            try:
                record = await self._store.read(lease.job_uuid)
                change = transitions.finish(record, outcome, ran_ms, drained=self._draining)
                await self._store.change(record, change, lease=lease)
                self._measure(record, change, outcome.error.reason if isinstance(outcome, Failed) else "")
            except StaleError:
                continue
            except UnavailableError as error:
                _log.warning("job_end_waits", job_uuid=lease.job_uuid, why=error.message)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return
        raise LeaseLostError

    def _measure(self, record: JobRecord, change: Change, reason: str) -> None:
        if change.job.status in transitions.ENDED:
            self._metrics.ended(change.job, change.ran_ms)
        elif change.crashes > record.crashes:
            self._metrics.retried(change.job, reason)

    async def _read(self, lease: Lease) -> JobRecord:
        while not lease.lost.is_set():
            try:
                return await self._store.read(lease.job_uuid)
            except UnavailableError:
                await asyncio.sleep(_AGAIN_SECONDS)
        raise LeaseLostError

    # Leases.

    async def _beat_all(self) -> None:
        await asyncio.sleep(self._limits.lease_seconds / _HEARTBEATS_A_LEASE)
        await asyncio.gather(*(self._beat(held) for held in list(self._held.values())))

    async def _beat(self, held: _Held) -> None:
        try:
            await self._store.heartbeat(held.lease, int(self._limits.lease_seconds * 1000))
        except LeaseLostError:
            return
        except CaravanError as error:
            _log.warning("heartbeat_failed", job_uuid=held.lease.job_uuid, why=error.message)
            away = (time.monotonic() - held.renewed) / self._limits.lease_seconds
            if away > _LEASES_UNTIL_STOP:
                # Somebody who does reach the store may begin with it: it saves what it has, and ends.
                held.lease.wish.set()
            if away > _LEASES_UNTIL_LOST:
                held.lease.lost.set()
        else:
            held.renewed = time.monotonic()

    async def _scan(self) -> None:
        await self._take_up()
        self._metrics.waiting = await self._store.waiting()
        await asyncio.sleep(self._limits.scan_seconds)

    async def _take_up(self) -> None:
        """Puts jobs whose holders died back into the queue. After the store was away, holders get the time of a lease to renew it."""
        for uuid in await self._store.expired_jobs(_BATCH):
            record = await self._store.read(uuid)
            # Looked at now: these calls too may have waited for the store to come back.
            if self._store.quiet_seconds < self._limits.lease_seconds:
                return
            why = UnavailableError(
                "the process that ran the job is gone (it was killed, or its machine was)", reason="HOLDER_LOST"
            )
            change = transitions.crash(record, why)
            with contextlib.suppress(StaleError):
                await self._store.change(record, change)
                _log.warning("job_taken_up", job_uuid=uuid)
                self._measure(record, change, why.reason)
