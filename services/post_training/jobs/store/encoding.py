"""How jobs are written into Redis, and read from it."""

from collections.abc import Mapping, Sequence
from typing import Any

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2
from services.core.errors import NotFoundError
from services.post_training import keys
from services.post_training.jobs.records import DatasetUse, JobRecord, Lane, Use, request_of

MICROSECONDS = 1_000_000
# Ranks are doubles, exact below 2^53: 201 priorities, each with 70 years from 2020 on in steps that are shorter than a creation.
_EPOCH_US = 1_577_836_800_000_000
_STEP_US = 50
_RANKS_A_PRIORITY = 44_000_000_000_000

_KEPT_ELSEWHERE = ("checkpoints", "child_job_uuids", "progress", "queue_position", "last_sequence")


def job_bytes(job: jobs_pb2.Job) -> bytes:
    """Returns what is kept of a job in one piece: all but what has a place of its own.

    Args:
        job: The job.
    """
    kept = jobs_pb2.Job()
    kept.CopyFrom(job)
    for name in (*_KEPT_ELSEWHERE, "request"):
        kept.ClearField(name)  # type: ignore[arg-type]
    return kept.SerializeToString(deterministic=True)


def request_bytes(job: jobs_pb2.Job) -> bytes:
    """Returns a job's request, in a job that has nothing else."""
    return request_of(job).SerializeToString(deterministic=True)


def progress_bytes(progress: jobs_pb2.TrainingProgress | None) -> bytes:
    """Returns how far a job has come, in a job that has nothing else; nothing for None."""
    return jobs_pb2.Job(progress=progress).SerializeToString() if progress is not None else b""


def event_bytes(event: jobs_pb2.JobEvent) -> bytes:
    """Returns an event without its number and its job, which the store knows."""
    kept = jobs_pb2.JobEvent()
    kept.CopyFrom(event)
    kept.sequence = 0
    kept.job_uuid = ""
    return kept.SerializeToString()


def event_of(job_uuid: str, entry: Sequence[Any]) -> jobs_pb2.JobEvent:
    """Returns an event of a stream's entry.

    Args:
        job_uuid: The job.
        entry: Name and fields of the entry.
    """
    name, values = entry
    event = jobs_pb2.JobEvent.FromString(values[1])
    event.sequence = int(name.partition(b"-")[0])
    event.job_uuid = job_uuid
    if event.HasField("end"):
        event.end.job.last_sequence = event.sequence
    return event


def rank(priority: int, created_us: int) -> int:
    """Returns a job's place in its queue: those of higher priority first, then the oldest.

    Args:
        priority: -100 to 100.
        created_us: When it was created, microseconds since the epoch.
    """
    return (100 - priority) * _RANKS_A_PRIORITY + (created_us - _EPOCH_US) // _STEP_US


def labels_field(labels: Mapping[str, str]) -> str:
    """Returns labels as one text in which each can be looked for."""
    return "".join(label_text(key, value) for key, value in sorted(labels.items())) + "\0"


def label_text(key: str, value: str) -> str:
    """Returns how a label begins in the text of all."""
    return f"\0{key}={value}"


def wanted_label(key: str, value: str) -> str:
    """Returns what is looked for in the text of all labels."""
    return f"{label_text(key, value)}\0"


def use_keys(uses: Sequence[Use]) -> list[str]:
    """Returns the keys of what a job uses: for each one a hash and the set of its users."""
    found: list[str] = []
    for use in uses:
        if isinstance(use, DatasetUse):
            there = keys.dataset_revisions(use.dataset_id) if use.revision else keys.dataset(use.dataset_id)
            found += [there, keys.dataset_users(use.dataset_id)]
        else:
            found += [keys.job_checkpoints(use.job_uuid), keys.job_users(use.job_uuid)]
    return found


def use_arguments(job_uuid: str, uses: Sequence[Use]) -> list[str | int]:
    """Returns their number, and for each one the hash's field and the user's name.

    Args:
        job_uuid: The user.
        uses: What it uses.
    """
    found: list[str | int] = [len(uses)]
    for use in uses:
        if isinstance(use, DatasetUse):
            found += [str(use.revision) if use.revision else "revision", job_uuid]
        else:
            found += [use.identifier, f"{use.identifier}|{job_uuid}"]
    return found


def missing(use: Use) -> NotFoundError:
    """Returns the error for something that a job uses and that is not there."""
    if isinstance(use, DatasetUse):
        name = f"{use.dataset_id}@{use.revision}" if use.revision else use.dataset_id
        message = f"data set {use.dataset_id!r} has no revision {use.revision}: it was deleted; ListDatasets lists those there are"
        return NotFoundError(message, resource_type="dataset", resource_name=name)
    message = f"job {use.job_uuid!r} has no checkpoint {use.identifier!r}; GetJobArtifacts lists those it has"
    name = f"{use.job_uuid}/{use.identifier}"
    return NotFoundError(message, resource_type="checkpoint", resource_name=name)


def no_job(job_uuid: str) -> NotFoundError:
    """Returns the error for a job that there is not."""
    message = f"there is no job {job_uuid!r}; ListJobs lists those there are"
    return NotFoundError(message, resource_type="job", resource_name=job_uuid)


def record_of(reply: Sequence[Any]) -> JobRecord:
    """Returns a job of what `read.lua` answers."""
    shown, request, digest, lane, token, crashes, ran, keep, told, place, checkpoints, metrics, children, now = reply
    job = jobs_pb2.Job.FromString(shown + request)
    found = [checkpoints_pb2.Checkpoint.FromString(kept) for kept in checkpoints]
    found.sort(key=_age)
    job.checkpoints.extend(found)
    job.child_job_uuids.extend(child.decode() for child in children)
    if place is not None and job.status == jobs_pb2.JOB_STATUS_SCHEDULED:
        job.queue_position = int(place) + 1
    return JobRecord(
        job=job,
        digest=digest.decode(),
        lane=_lane(lane),
        token=int(token),
        crashes=int(crashes),
        ran_ms=int(ran),
        keep_ms=int(keep),
        told_step=int(told),
        metrics={name.decode(): float(value) for name, value in zip(metrics[::2], metrics[1::2], strict=True)},
        now_us=int(now),
    )


def _age(checkpoint: checkpoints_pb2.Checkpoint) -> tuple[int, int, bool, str]:
    return (
        checkpoint.created_at.ToMicroseconds(),
        checkpoint.iters,
        checkpoint.is_final,
        checkpoint.identifier,
    )


def _lane(kept: bytes) -> Lane:
    lane: Lane = kept.decode()  # type: ignore[assignment]
    return lane
