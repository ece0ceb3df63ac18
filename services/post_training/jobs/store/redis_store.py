"""Jobs in one Redis: one script a command, one hash tag for all keys (`services/post_training/keys.py`)."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2
from services.core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from services.core.redis.connection import Connection
from services.core.redis.scripts import Argument, load_scripts
from services.post_training import keys
from services.post_training.jobs.job_store import JobStore, StaleError
from services.post_training.jobs.ports import LeaseLostError
from services.post_training.jobs.records import (
    LANES,
    Batch,
    Change,
    Claimed,
    JobRecord,
    Lane,
    Lease,
    NewJob,
    Queued,
    Request,
    Use,
)
from services.post_training.jobs.store import encoding
from services.post_training.jobs.store.listing import Listing
from services.post_training.jobs.store.settings import StoreSettings
from services.post_training.jobs.store.watching import Watching

_METRIC_NAMES = 512
_WISHES = (jobs_pb2.JOB_STATUS_PAUSING, jobs_pb2.JOB_STATUS_CANCELLING)


class RedisJobs(Listing, JobStore):
    """Jobs, their events and what they made."""

    def __init__(self, connection: Connection, settings: StoreSettings) -> None:
        """Makes a store; `start` begins to listen.

        Args:
            connection: The way to Redis.
            settings: What is kept.
        """
        super().__init__(connection, load_scripts("services.post_training.jobs.store"))
        self._settings = settings
        self._watching = Watching(connection, self._scripts, settings.poll_seconds)

    async def start(self) -> None:
        """See JobStore."""
        await self._connection.ping()
        self._watching.start()

    async def close(self) -> None:
        """See JobStore."""
        await self._watching.close()

    @property
    def quiet_seconds(self) -> float:
        """See JobStore."""
        return self._connection.quiet_seconds

    async def create(self, new: NewJob, request: Request | None = None) -> str:
        """See JobStore."""
        job = new.job
        uuid, parent = job.job_uuid, job.parent_job_uuid
        created = job.scheduled_at.ToMicroseconds()
        while True:
            job.scheduled_at.FromMicroseconds(created)
            names = [keys.job(uuid), keys.job_events(uuid), _request_key(request), keys.JOBS]
            names += [keys.jobs_of_status(job.status), keys.jobs_of_parent(parent) if parent else keys.JOBS]
            names += [keys.queue(new.lane), keys.job(parent or uuid), keys.GRAVES]
            names += encoding.use_keys(new.uses)
            event = encoding.event_bytes(_created(job))
            arguments: list[Argument] = [_digest(request), uuid, new.digest, created]
            arguments += [encoding.job_bytes(job), encoding.request_bytes(job), job.status, job.kind, parent]
            arguments += [
                encoding.labels_field(job.labels),
                new.lane,
                encoding.rank(new.priority, created),
                new.keep_ms,
            ]
            arguments += [self._settings.max_events, keys.NEWS, *encoding.use_arguments(uuid, new.uses), 1, event]
            outcome, *rest = await self._run("create", names, arguments)
            if outcome != b"again":
                return _created_as(uuid, new.uses, parent, outcome, rest)
            created += 1

    async def find_created(self, job_uuid: str, digest: str, request: Request | None = None) -> str:
        """See JobStore."""
        names = [_request_key(request), keys.job(job_uuid or "-")]
        outcome, *rest = await self._run("find", names, [_digest(request), digest if job_uuid else ""])
        return "" if outcome == b"none" else _created_as(job_uuid, (), "", outcome, rest)

    async def now_us(self) -> int:
        """See JobStore."""
        _, now = await self._run("find", [_request_key(None), keys.job("-")], ["", ""])
        return int(now)

    async def repeated(self, request: Request | None) -> bool:
        """See JobStore."""
        if request is None:
            return False
        outcome, *_ = await self._run("find", [_request_key(request), keys.job("-")], [request.digest, ""])
        _check_reused(outcome)
        return bool(outcome == b"repeated")

    async def read(self, job_uuid: str) -> JobRecord:
        """See JobStore."""
        names = [keys.job(job_uuid), keys.job_checkpoints(job_uuid), keys.job_metrics(job_uuid)]
        names += [keys.jobs_of_parent(job_uuid), *(keys.queue(lane) for lane in LANES)]
        reply = await self._run("read", names, LANES)
        if reply is None:
            raise encoding.no_job(job_uuid)
        return encoding.record_of(reply)

    async def change(
        self, record: JobRecord, change: Change, *, lease: Lease | None = None, request: Request | None = None
    ) -> int:
        """See JobStore."""
        uuid, job, uses = record.job.job_uuid, change.job, record.uses if change.uses != "keep" else []
        names = [keys.job(uuid), keys.job_events(uuid), _request_key(request), keys.LEASES, keys.EXPIRIES]
        names += [keys.queue(record.lane), keys.delayed(record.lane), keys.jobs_of_status(record.job.status)]
        names += [keys.jobs_of_status(job.status), keys.ENDED_JOBS, *encoding.use_keys(uses)]
        move, milliseconds, holder = _move(change.move)
        expiry = job.expires_at.ToMilliseconds() if job.HasField("expires_at") else 0
        events = [encoding.event_bytes(event) for event in change.events]
        arguments: list[Argument] = [os.urandom(8).hex(), _digest(request), uuid, record.job.revision]
        arguments += [lease.token if lease else "", "1" if change.only_expired else "0", encoding.job_bytes(job)]
        arguments += [job.status, move, milliseconds, holder, change.crashes, change.ran_ms, expiry, change.uses]
        arguments += [self._settings.max_events, keys.NEWS, *encoding.use_arguments(uuid, uses), len(events), *events]
        outcome, *rest = await self._run("change", names, arguments)
        _check_reused(outcome)
        match outcome:
            case b"done":
                return int(rest[0])
            case b"repeated":
                return record.token
            case b"lost":
                _lose(lease)
                raise LeaseLostError
            case b"missing":
                raise encoding.missing(uses[int(rest[0]) - 1])
            case _:
                raise StaleError

    async def append(self, lease: Lease, batch: Batch) -> None:
        """See JobStore."""
        uuid = lease.job_uuid
        names = [keys.job(uuid), keys.job_events(uuid), keys.LEASES, keys.job_metrics(uuid)]
        names += [keys.job_checkpoints(uuid), keys.CHECKPOINTS, keys.FINAL_CHECKPOINTS]
        arguments: list[Argument] = [os.urandom(8).hex(), uuid, lease.token, encoding.progress_bytes(batch.progress)]
        arguments += [self._settings.max_events, _METRIC_NAMES, keys.NEWS, batch.told_step]
        arguments += [len(batch.events), *(encoding.event_bytes(event) for event in batch.events), len(batch.metrics)]
        for name, value in batch.metrics.items():
            arguments += [name, repr(value)]
        arguments.append(len(batch.checkpoints))
        for checkpoint in batch.checkpoints:
            arguments += [checkpoint.identifier, checkpoint.created_at.ToMicroseconds(), _flag(checkpoint.is_final)]
            arguments.append(checkpoint.SerializeToString(deterministic=True))
        (outcome,) = await self._run("append", names, arguments)
        if outcome == b"lost":
            _lose(lease)
            raise LeaseLostError

    async def heartbeat(self, lease: Lease, lease_ms: int) -> None:
        """See JobStore."""
        arguments: list[Argument] = [lease.job_uuid, lease.token, lease_ms]
        outcome, *rest = await self._run("heartbeat", [keys.job(lease.job_uuid), keys.LEASES], arguments)
        if outcome == b"lost":
            _lose(lease)
            raise LeaseLostError
        if int(rest[0]) in _WISHES:
            lease.wish.set()

    async def next_jobs(self, lane: Lane, limit: int) -> tuple[Sequence[str], float | None]:
        """See JobStore."""
        found, due = await self._run("next", [keys.queue(lane), keys.delayed(lane)], [keys.job(""), limit])
        return [uuid.decode() for uuid in found], int(due) / 1000 if int(due) >= 0 else None

    async def waiting(self) -> Mapping[Lane, int]:
        """See JobStore."""
        names = [key for lane in LANES for key in (keys.queue(lane), keys.delayed(lane))]
        return dict(zip(LANES, map(int, await self._run("waiting", names)), strict=True))

    async def expired_jobs(self, limit: int) -> Sequence[str]:
        """See JobStore."""
        return [uuid.decode() for uuid in await self._run("due", [keys.LEASES], [limit])]

    async def outdated_jobs(self, limit: int) -> Sequence[str]:
        """See JobStore."""
        return [uuid.decode() for uuid in await self._run("due", [keys.EXPIRIES], [limit])]

    async def delete(self, record: JobRecord, request: Request | None = None) -> None:
        """See JobStore."""
        uuid, parent = record.job.job_uuid, record.job.parent_job_uuid
        names = [keys.job(uuid), keys.job_events(uuid), keys.job_metrics(uuid), keys.job_checkpoints(uuid)]
        names += [keys.job_users(uuid), _request_key(request), keys.JOBS, keys.jobs_of_status(record.job.status)]
        names += [keys.jobs_of_parent(parent) if parent else keys.JOBS, keys.EXPIRIES, keys.GRAVES]
        names += [keys.CHECKPOINTS, keys.FINAL_CHECKPOINTS, keys.ENDED_JOBS]
        arguments: list[Argument] = [_digest(request), uuid, record.job.revision, keys.NEWS]
        outcome, *_ = await self._run("delete", names, arguments)
        _check_reused(outcome)
        if outcome == b"used":
            message = (
                f"another job goes on from a checkpoint of job {uuid!r}: wait until that one has ended, or cancel it"
            )
            raise FailedPreconditionError(message, reason="CHECKPOINT_IN_USE", metadata={"job_uuid": uuid})
        if outcome == b"stale":
            raise StaleError

    async def graves(self, limit: int) -> Sequence[str]:
        """See JobStore."""
        return [uuid.decode() for uuid in await self._run("graves", [keys.GRAVES], ["list", limit])]

    async def bury(self, job_uuid: str) -> None:
        """See JobStore."""
        await self._run("graves", [keys.GRAVES], ["bury", job_uuid])

    async def add_checkpoint(
        self,
        job_uuid: str,
        checkpoint: checkpoints_pb2.Checkpoint,
        event: jobs_pb2.JobEvent | None,
        request: Request | None = None,
    ) -> None:
        """See JobStore."""
        names = [keys.job(job_uuid), keys.job_events(job_uuid), keys.job_checkpoints(job_uuid)]
        names += [keys.CHECKPOINTS, keys.FINAL_CHECKPOINTS, _request_key(request), keys.ENDED_JOBS]
        arguments: list[Argument] = [_digest(request), job_uuid, checkpoint.identifier]
        arguments += [checkpoint.created_at.ToMicroseconds(), checkpoint.SerializeToString(deterministic=True)]
        arguments += [_flag(checkpoint.is_final), self._settings.max_events, keys.NEWS]
        arguments += [1, encoding.event_bytes(event)] if event else [0]
        (outcome,) = await self._run("put_checkpoint", names, arguments)
        _check_reused(outcome)
        if outcome == b"absent":
            raise encoding.no_job(job_uuid)

    async def drop_checkpoint(self, job_uuid: str, identifier: str, request: Request | None = None) -> None:
        """See JobStore."""
        names = [keys.job_checkpoints(job_uuid), keys.job_users(job_uuid), keys.CHECKPOINTS, keys.FINAL_CHECKPOINTS]
        names.append(_request_key(request))
        outcome, *rest = await self._run("drop_checkpoint", names, [_digest(request), job_uuid, identifier])
        _check_reused(outcome)
        if outcome == b"used":
            message = f"job {rest[0].decode()!r} goes on from this checkpoint: wait until it has ended, or cancel it"
            raise FailedPreconditionError(message, reason="CHECKPOINT_IN_USE", metadata={"job_uuid": rest[0].decode()})

    def watch(self, job_uuid: str, from_sequence: int, *, include_trials: bool) -> AsyncIterator[jobs_pb2.JobEvent]:
        """See JobStore."""
        return self._watching.watch(job_uuid, from_sequence, include_trials=include_trials)

    async def changed(self, seconds: float) -> None:
        """See JobStore."""
        await self._watching.moved(seconds)

    def listen(self, hear: Callable[[str, "jobs_pb2.JobStatus.ValueType"], None]) -> None:
        """See JobStore."""
        self._watching.listen(hear)


def _created(job: jobs_pb2.Job) -> jobs_pb2.JobEvent:
    state = jobs_pb2.JobStateEvent(status=job.status, reason=job.status_reason)
    if job.HasField("queue_position"):
        state.queue_position = job.queue_position
    return jobs_pb2.JobEvent(timestamp=job.scheduled_at, state=state)


def _created_as(job_uuid: str, uses: Sequence[Use], parent: str, outcome: bytes, rest: Sequence[Any]) -> str:
    _check_reused(outcome)
    match outcome:
        case b"repeated":
            found: bytes = rest[0]
            return found.decode()
        case b"taken":
            message = f"there is a job {job_uuid!r} with another request: choose another job_uuid, or leave it empty"
            raise AlreadyExistsError(message, resource_type="job", resource_name=job_uuid)
        case b"grave":
            message = (
                f"a deleted job {job_uuid!r} is still being removed; try again in a moment, or choose another job_uuid"
            )
            raise UnavailableError(message, reason="JOB_BEING_DELETED", retry_after=1.0)
        case b"orphan":
            message = f"search {parent!r}, which this would be a trial of, is gone"
            raise NotFoundError(message, resource_type="job", resource_name=parent)
        case b"missing":
            raise encoding.missing(uses[int(rest[0]) - 1])
        case _:
            return job_uuid


def _move(move: Queued | Claimed | Literal["stay", "rest"]) -> tuple[str, int, str]:
    if isinstance(move, Queued):
        return "queue", move.delay_ms, ""
    if isinstance(move, Claimed):
        return "claim", move.lease_ms, move.holder
    return move, 0, ""


def _lose(lease: Lease | None) -> None:
    if lease is not None:
        lease.lost.set()


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _digest(request: Request | None) -> str:
    return request.digest if request else ""


def _request_key(request: Request | None) -> str:
    return keys.request(request.rpc, request.request_id) if request else keys.request("-", "-")


def _check_reused(outcome: bytes) -> None:
    if outcome == b"reused":
        message = "must not be that of an earlier, different request: use another one"
        raise InvalidArgumentError.of("request_id", message, reason="REQUEST_ID_REUSED")
