"""What a training says: one line on stdout for each event, the protojson of a JobEvent without sequence."""

import fcntl
import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf import duration_pb2, json_format
from google.rpc import status_pb2

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, training_pb2

if TYPE_CHECKING:
    from typing import TypeAlias

    Status: TypeAlias = jobs_pb2.JobStatus.ValueType
    Level: TypeAlias = training_pb2.LogLevel.ValueType
else:
    Status = Level = int

_LONGEST_LINE = 8000
_LEVELS: tuple[tuple[int, Level], ...] = (
    (logging.ERROR, training_pb2.LOG_LEVEL_ERROR),
    (logging.WARNING, training_pb2.LOG_LEVEL_WARN),
    (logging.INFO, training_pb2.LOG_LEVEL_INFO),
    (0, training_pb2.LOG_LEVEL_DEBUG),
)


class Events:
    """Writes events. Lines of several processes, which share one pipe, do not mix."""

    def __init__(
        self,
        job_uuid: str,
        *,
        rank: int = 0,
        processes: int = 1,
        least_level: int = training_pb2.LOG_LEVEL_INFO,
        descriptor: int = 1,
    ) -> None:
        """Makes a writer.

        Args:
            job_uuid: The job.
            rank: Number of this process.
            processes: Number of processes that write to the same pipe.
            least_level: Least severe lines that are told, a number of `LogLevel`.
            descriptor: Where lines go.
        """
        self.rank = rank
        self._job_uuid = job_uuid
        self._least_level = least_level
        self._descriptor = descriptor
        # An inherited descriptor shares its lock with the process that it came from; one that was opened here does not.
        self._lock = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY) if processes > 1 else None

    def progress(self, progress: jobs_pb2.TrainingProgress) -> None:
        """Says how far the training has come."""
        self._write(jobs_pb2.JobEvent(progress=progress))

    def metrics(self, step: int, epoch: float, values: Mapping[str, float], *, evaluation: bool = False) -> None:
        """Says what was measured.

        Args:
            step: Steps that are done.
            epoch: Epochs that are done.
            values: What was measured, by name.
            evaluation: It comes from an evaluation.
        """
        event = jobs_pb2.JobMetricsEvent(step=step, epoch=epoch, metrics=values, evaluation=evaluation)
        self._write(jobs_pb2.JobEvent(metrics=event))

    def log(self, level: int, line: str) -> None:
        """Says something.

        Args:
            level: How severe it is, as in `logging`.
            line: What is said.
        """
        kind = next(kind for least, kind in _LEVELS if level >= least)
        if kind >= self._least_level:
            event = jobs_pb2.JobLogEvent(level=kind, line=line[:_LONGEST_LINE], rank=self.rank)
            self._write(jobs_pb2.JobEvent(log=event))

    def checkpoint(self, checkpoint: checkpoints_pb2.Checkpoint) -> None:
        """Says that a checkpoint was made."""
        self._write(jobs_pb2.JobEvent(checkpoint=jobs_pb2.JobCheckpointEvent(checkpoint=checkpoint)))

    def end(self, status: Status, reason: str, error: status_pb2.Status | None = None) -> None:
        """Says that the training ended.

        Args:
            status: How: COMPLETED, FAILED, or PAUSED when it was stopped from outside and can go on.
            reason: Why, for people to read.
            error: What went wrong.
        """
        job = jobs_pb2.Job(job_uuid=self._job_uuid, status=status, status_reason=reason, error=error)
        self._write(jobs_pb2.JobEvent(end=jobs_pb2.JobEndEvent(job=job)))

    def _write(self, event: jobs_pb2.JobEvent) -> None:
        event.job_uuid = self._job_uuid
        event.timestamp.GetCurrentTime()
        text = json_format.MessageToJson(event, indent=None, preserving_proto_field_name=True)
        left = memoryview(text.encode() + b"\n")
        sys.stdout.flush()
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except BrokenPipeError:
            # Nobody listens any more; the parent's death is told by a signal, and the checkpoints count.
            return
        finally:
            if self._lock is not None:
                fcntl.flock(self._lock, fcntl.LOCK_UN)


def duration(seconds: float) -> duration_pb2.Duration:
    """Returns a span of time as a message."""
    return duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


class EventHandler(logging.Handler):
    """Tells what libraries log as events."""

    def __init__(self, events: Events, level: int) -> None:
        """Makes a handler; see `logging.Handler`."""
        super().__init__(level)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """Tells a record."""
        self._events.log(record.levelno, self.format(record))
