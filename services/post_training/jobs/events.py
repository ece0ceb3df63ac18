"""Events of jobs, as messages."""

import re
import time

from google.protobuf import json_format, timestamp_pb2

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, post_training_pb2, training_pb2

MAX_LINE = 4096
"""Longest log line that is kept, in characters."""

_CUT = " [cut]"
_LEVELS = (
    (re.compile(r"\b(ERROR|CRITICAL|FATAL|Traceback)\b|\w+Error:"), training_pb2.LOG_LEVEL_ERROR),
    (re.compile(r"\bWARN(ING)?\b|\w+Warning:"), training_pb2.LOG_LEVEL_WARN),
    (re.compile(r"\bDEBUG\b"), training_pb2.LOG_LEVEL_DEBUG),
)
# C0 and C1 controls, but for the tab: a line is one line, and no terminal's commands.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

KINDS = {
    "state": post_training_pb2.JOB_EVENT_KIND_STATE,
    "progress": post_training_pb2.JOB_EVENT_KIND_PROGRESS,
    "metrics": post_training_pb2.JOB_EVENT_KIND_METRICS,
    "log": post_training_pb2.JOB_EVENT_KIND_LOG,
    "checkpoint": post_training_pb2.JOB_EVENT_KIND_CHECKPOINT,
    "trial": post_training_pb2.JOB_EVENT_KIND_TRIAL,
    "end": post_training_pb2.JOB_EVENT_KIND_END,
}
"""Kind of each member of `JobEvent.event`."""


def now() -> timestamp_pb2.Timestamp:
    """Returns this machine's time."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromNanoseconds(time.time_ns())
    return stamp


def at(microseconds: int) -> timestamp_pb2.Timestamp:
    """Returns a time of microseconds since the epoch."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromMicroseconds(microseconds)
    return stamp


def state(job: jobs_pb2.Job, when: timestamp_pb2.Timestamp) -> jobs_pb2.JobEvent:
    """Returns the event that a job stands where it stands now."""
    change = jobs_pb2.JobStateEvent(status=job.status, reason=job.status_reason)
    return jobs_pb2.JobEvent(timestamp=when, state=change)


def end(job: jobs_pb2.Job, when: timestamp_pb2.Timestamp) -> jobs_pb2.JobEvent:
    """Returns a job's last event; the job in it has no request."""
    whole = jobs_pb2.Job()
    whole.CopyFrom(job)
    if name := whole.WhichOneof("request"):
        whole.ClearField(name)
    return jobs_pb2.JobEvent(timestamp=when, end=jobs_pb2.JobEndEvent(job=whole))


def log(
    line: str, level: "training_pb2.LogLevel.ValueType" = training_pb2.LOG_LEVEL_INFO, rank: int = 0
) -> jobs_pb2.JobEvent:
    """Returns the event of a log line, cut when it is long."""
    text = _CONTROLS.sub("\ufffd", line[:MAX_LINE] + (_CUT if len(line) > MAX_LINE else ""))
    return jobs_pb2.JobEvent(timestamp=now(), log=jobs_pb2.JobLogEvent(level=level, line=text, rank=rank))


def checkpoint(made: checkpoints_pb2.Checkpoint) -> jobs_pb2.JobEvent:
    """Returns the event of a checkpoint."""
    return jobs_pb2.JobEvent(timestamp=now(), checkpoint=jobs_pb2.JobCheckpointEvent(checkpoint=made))


def trial(job: jobs_pb2.Job, metric: float | None = None) -> jobs_pb2.JobEvent:
    """Returns the event that a trial of a search stands somewhere.

    Args:
        job: The trial.
        metric: Value that the search compares. None: not known yet.
    """
    event = jobs_pb2.JobTrialEvent(
        trial_job_uuid=job.job_uuid, status=job.status, parameters=job.trial_parameters, metric=metric
    )
    return jobs_pb2.JobEvent(timestamp=now(), trial=event)


def spoken(text: str, *, error: bool) -> jobs_pb2.JobEvent | None:
    """Returns what a training says by a line: an event of its own, or a log line; None for an empty one.

    Args:
        text: The line.
        error: It came on the standard error output.
    """
    if not text.strip():
        return None
    if not error and text.startswith("{"):
        try:
            event = json_format.Parse(text, jobs_pb2.JobEvent(), ignore_unknown_fields=True)
        except (json_format.ParseError, ValueError, RecursionError):
            return log(text)
        if event.WhichOneof("event") is not None:
            return _bounded(event)
    return log(text, _level(text) if error else training_pb2.LOG_LEVEL_INFO)


def _bounded(event: jobs_pb2.JobEvent) -> jobs_pb2.JobEvent:
    event.sequence = 0
    if not event.HasField("timestamp"):
        event.timestamp.CopyFrom(now())
    if event.HasField("log"):
        level = event.log.level or training_pb2.LOG_LEVEL_INFO
        bounded = log(event.log.line, level, event.log.rank)
        bounded.timestamp.CopyFrom(event.timestamp)
        return bounded
    return event


def _level(text: str) -> "training_pb2.LogLevel.ValueType":
    return next((level for pattern, level in _LEVELS if pattern.search(text)), training_pb2.LOG_LEVEL_INFO)
