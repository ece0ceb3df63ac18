"""Metrics of jobs, by OpenTelemetry: how many wait and run, how long they took, how often they were begun again."""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from caravan.post_training.v1 import jobs_pb2
from services.post_training.jobs.records import Lane

Counts = Mapping[Lane, int]


class JobMetrics:
    """Records what becomes of jobs. Costs nothing to speak of while nobody collects.

    Attributes:
        waiting: Number of jobs that wait in each queue, those that are delayed too: the store's, so every process reports the same.
    """

    def __init__(self, running: Callable[[], Counts], meter: metrics.Meter | None = None) -> None:
        """Makes the instruments.

        Args:
            running: Tells how many jobs of each queue run in this process; called from an exporter's thread.
            meter: Where they are made. None: with OpenTelemetry's own provider.
        """
        meter = meter or metrics.get_meter("caravan.post_training")
        self.waiting: Counts = {}
        meter.create_observable_gauge(
            "caravan.jobs.waiting", [lambda _: _observed(self.waiting)], "{job}", "Jobs that wait in the queues"
        )
        meter.create_observable_gauge(
            "caravan.jobs.running", [_observing(running)], "{job}", "Jobs that run in this process"
        )
        self._duration = meter.create_histogram(
            "caravan.job.duration",
            "s",
            "Time that ended jobs ran, over all attempts since they were put into the queue",
        )
        self._retries = meter.create_counter(
            "caravan.job.retries", "{retry}", "Times that crashed jobs were put back into the queue"
        )

    def ended(self, job: jobs_pb2.Job, ran_ms: int) -> None:
        """Records a job that ended in this process.

        Args:
            job: The job as it is now.
            ran_ms: Milliseconds that it ran.
        """
        attributes = {"caravan.job.kind": _kind(job), "caravan.job.status": _status(job)}
        self._duration.record(ran_ms / 1000, attributes)

    def retried(self, job: jobs_pb2.Job, reason: str) -> None:
        """Records a job that is begun again.

        Args:
            job: The job.
            reason: Reason of the error that ended the last attempt.
        """
        self._retries.add(1, {"caravan.job.kind": _kind(job), "error.type": reason})


def _observing(counts: Callable[[], Counts]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: _observed(counts())


def _observed(counts: Counts) -> list[Observation]:
    return [Observation(count, {"caravan.job.queue": lane}) for lane, count in counts.items()]


def _kind(job: jobs_pb2.Job) -> str:
    return jobs_pb2.JobKind.Name(job.kind).removeprefix("JOB_KIND_").lower()


def _status(job: jobs_pb2.Job) -> str:
    return jobs_pb2.JobStatus.Name(job.status).removeprefix("JOB_STATUS_").lower()
