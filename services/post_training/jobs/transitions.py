"""Where a job stands, and where it may go: pure functions of a job as it is. Nothing here knows a store or a clock.

SCHEDULED -> IN_PROGRESS -> COMPLETED or FAILED; IN_PROGRESS -> PAUSING -> PAUSED -> SCHEDULED; any that has not ended -> CANCELLING ->
CANCELLED. What rests or waits has nothing to save: it is PAUSED or CANCELLED at once. A job whose holder dies goes back to SCHEDULED.
"""

from dataclasses import replace
from typing import Any

from google.protobuf.struct_pb2 import Struct

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2
from services.core.errors import CaravanError, FailedPreconditionError
from services.core.status import status_of
from services.post_training.jobs import events
from services.post_training.jobs.ports import Completed, Failed, Stopped
from services.post_training.jobs.records import Change, Claimed, JobRecord, Queued, training_of

WAITING = jobs_pb2.JOB_STATUS_SCHEDULED
RUNNING = jobs_pb2.JOB_STATUS_IN_PROGRESS
PAUSING, PAUSED = jobs_pb2.JOB_STATUS_PAUSING, jobs_pb2.JOB_STATUS_PAUSED
CANCELLING, CANCELLED = jobs_pb2.JOB_STATUS_CANCELLING, jobs_pb2.JOB_STATUS_CANCELLED
COMPLETED, FAILED = jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_FAILED

ENDED = (COMPLETED, FAILED, CANCELLED)
HELD = (RUNNING, PAUSING, CANCELLING)

DEFAULT_RETRIES = 3
# What makes data or searches keeps what it has otherwise.
_NEED_CHECKPOINTS = (
    jobs_pb2.JOB_KIND_SUPERVISED_FINE_TUNE,
    jobs_pb2.JOB_KIND_PREFERENCE_OPTIMIZE,
    jobs_pb2.JOB_KIND_TRAIN_REWARD_MODEL,
)
_FIRST_DELAY_MS, _LONGEST_DELAY_MS = 1_000, 60_000


def claim(record: JobRecord, claimed: Claimed, where: str, resources: dict[str, Any]) -> Change:
    """Gives a waiting job to somebody.

    Args:
        record: The job.
        claimed: Whose it becomes.
        where: What it runs on, for people.
        resources: What it gets.
    """
    job = _next(record, RUNNING, f"runs on {where}")
    job.attempts += 1
    job.ClearField("error")
    if not job.HasField("started_at"):
        job.started_at.CopyFrom(events.at(record.now_us))
    job.resources_allocated.CopyFrom(_struct(resources))
    return _change(record, job, claimed)


def cancel(record: JobRecord, reason: str) -> Change | None:
    """Cancels a job; None when there is nothing to change.

    Args:
        record: The job.
        reason: Why; may be empty.
    """
    status = record.job.status
    if status in ENDED or status == CANCELLING:
        return None
    why = f"cancelled: {reason}" if reason else "cancelled"
    if status in HELD:
        return _change(record, _next(record, CANCELLING, f"{why}; it makes a checkpoint first"))
    return _ended(record, _next(record, CANCELLED, why))


def pause(record: JobRecord, reason: str) -> Change | None:
    """Makes a job rest; None when it does already.

    Args:
        record: The job.
        reason: Why; may be empty.

    Raises:
        FailedPreconditionError: It has ended, or is being cancelled.
    """
    status = record.job.status
    if status in (PAUSING, PAUSED):
        return None
    if status in ENDED or status == CANCELLING:
        raise _cannot(record, "JOB_ENDED", "it cannot rest any more")
    why = f"paused: {reason}" if reason else "paused"
    if status in HELD:
        return _change(record, _next(record, PAUSING, f"{why}; it makes a checkpoint first"))
    return _change(record, _next(record, PAUSED, f"{why}; ResumeJob goes on"), "rest")


def resume(record: JobRecord, reason: str) -> Change | None:
    """Puts a job back into the queue; None when it is there.

    Args:
        record: The job.
        reason: Why; may be empty.

    Raises:
        FailedPreconditionError: It runs, has completed, or has no checkpoint to go on from.
    """
    status = record.job.status
    if status == WAITING:
        return None
    if status in HELD:
        raise _cannot(record, "JOB_RUNS", "wait until it rests or has ended")
    if status == COMPLETED:
        raise _cannot(record, "JOB_COMPLETED", "create another job that goes on from its result (continue_from)")
    source = newest_resumable(record.job)
    if status != PAUSED and source is None and record.job.kind in _NEED_CHECKPOINTS:
        raise _cannot(record, "NO_CHECKPOINT", "it has no checkpoint to go on from; create another job")
    again = "resumed" + (f": {reason}" if reason else "")
    point = f"goes on from checkpoint {source.identifier}" if source else "begins from what there is"
    job = _next(record, WAITING, f"{again}; {point}")
    for name in ("error", "completed_at", "expires_at", "resources_allocated"):
        job.ClearField(name)
    change = replace(_change(record, job, Queued()), crashes=0, ran_ms=0)
    return replace(change, uses="acquire") if status in ENDED else change


def name_best(record: JobRecord, trial: str) -> Change:
    """Says which trial of a search is the best so far.

    Args:
        record: The search.
        trial: The trial.
    """
    job = _next(record, record.job.status, record.job.status_reason)
    job.best_child_job_uuid = trial
    return replace(_change(record, job), events=[])


def finish(record: JobRecord, outcome: Completed | Stopped | Failed, ran_ms: int, *, drained: bool = False) -> Change:
    """Ends what a holder did with a job.

    Args:
        record: The job as it is now: somebody may have wished it to stop.
        outcome: What came of it.
        ran_ms: Milliseconds that it ran this time.
        drained: Its holder is stopping; the job is for another one.
    """
    ran = record.ran_ms + ran_ms
    match outcome:
        case Completed():
            job = _next(record, COMPLETED, "completed")
            job.registered_model_id = outcome.registered_model_id
            if outcome.best_child_job_uuid:
                job.best_child_job_uuid = outcome.best_child_job_uuid
            change = _ended(record, job)
        case Stopped():
            change = _stopped(record, outcome.why, drained=drained)
        case _:
            change = _failed(record, outcome, drained=drained)
    return replace(change, ran_ms=ran)


def crash(record: JobRecord, why: CaravanError) -> Change:
    """Deals with a job whose holder has let it go.

    Args:
        record: The job.
        why: What happened.
    """
    change = _failed(record, Failed(why, again=True), drained=False)
    return replace(change, only_expired=True)


def newest_resumable(job: jobs_pb2.Job) -> checkpoints_pb2.Checkpoint | None:
    """Returns the checkpoint that a job goes on from, if there is one."""
    found = [checkpoint for checkpoint in job.checkpoints if checkpoint.resumable]
    return max(found, key=lambda checkpoint: checkpoint.iters, default=None)


def final_checkpoint(job: jobs_pb2.Job) -> checkpoints_pb2.Checkpoint | None:
    """Returns the checkpoint that is a job's result, if there is one."""
    return next((checkpoint for checkpoint in reversed(job.checkpoints) if checkpoint.is_final), None)


def max_retries(job: jobs_pb2.Job) -> int:
    """Returns how often a crashed job is begun again."""
    training = training_of(job)
    if training is not None and training.executor.HasField("max_retries"):
        return training.executor.max_retries
    return DEFAULT_RETRIES


def _stopped(record: JobRecord, why: str, *, drained: bool) -> Change:
    match record.job.status:
        case jobs_pb2.JOB_STATUS_CANCELLING:
            return _ended(record, _next(record, CANCELLED, _joined(_first(record.job.status_reason), why)))
        case jobs_pb2.JOB_STATUS_PAUSING:
            reason = _joined(_first(record.job.status_reason), why)
            return _change(record, _next(record, PAUSED, f"{reason}; ResumeJob goes on"), "rest")
        case _:
            reason = "the store was away; it goes on soon" if not drained else "the service stops; another one goes on"
            return _change(record, _next(record, WAITING, _joined(reason, why)), Queued())


def _failed(record: JobRecord, failed: Failed, *, drained: bool) -> Change:
    if record.job.status in (CANCELLING, PAUSING):
        return _stopped(record, failed.error.message, drained=drained)
    if drained and failed.again:
        return _stopped(record, "", drained=True)
    crashes, most = record.crashes + 1, max_retries(record.job)
    if failed.again and crashes <= most:
        delay = min(_LONGEST_DELAY_MS, _FIRST_DELAY_MS * 2 ** (crashes - 1))
        source = newest_resumable(record.job)
        start = f"goes on from checkpoint {source.identifier}" if source else "begins again"
        reason = f"{failed.error.message}; {start} in {delay / 1000:g} s (retry {crashes} of {most})"
        return replace(_change(record, _next(record, WAITING, reason), Queued(delay)), crashes=crashes)
    reason = failed.error.message
    if failed.again and most:
        reason = f"{reason} (none of {most} retries is left)"
    job = _next(record, FAILED, reason)
    job.error.CopyFrom(status_of(failed.error))
    return replace(_ended(record, job), crashes=crashes)


def _ended(record: JobRecord, job: jobs_pb2.Job) -> Change:
    job.completed_at.CopyFrom(events.at(record.now_us))
    job.ClearField("resources_allocated")
    if record.keep_ms:
        job.expires_at.FromMicroseconds(record.now_us + record.keep_ms * 1000)
    change = _change(record, job, "rest")
    return replace(change, events=[*change.events, events.end(job, events.at(record.now_us))], uses="release")


def _next(record: JobRecord, status: "jobs_pb2.JobStatus.ValueType", reason: str) -> jobs_pb2.Job:
    job = jobs_pb2.Job()
    job.CopyFrom(record.job)
    job.status, job.status_reason = status, reason
    job.revision += 1
    job.ClearField("queue_position")
    return job


def _change(record: JobRecord, job: jobs_pb2.Job, move: Any = "stay") -> Change:
    stamp = events.at(record.now_us)
    return Change(job, [events.state(job, stamp)], move, crashes=record.crashes, ran_ms=record.ran_ms)


def _cannot(record: JobRecord, reason: str, advice: str) -> FailedPreconditionError:
    job = record.job
    stands = jobs_pb2.JobStatus.Name(job.status).removeprefix("JOB_STATUS_")
    message = f"job {job.job_uuid!r} is {stands}: {advice}"
    return FailedPreconditionError(message, reason=reason, metadata={"job_uuid": job.job_uuid, "status": stands})


def _first(reason: str) -> str:
    return reason.removesuffix("; it makes a checkpoint first")


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _struct(values: dict[str, Any]) -> Struct:
    found = Struct()
    found.update(values)
    return found
