"""Jobs that make data."""

import asyncio
import time

from caravan.post_training.v1 import jobs_pb2
from caravan.synthetic_data.v1 import synthetic_data_pb2
from services.post_training.jobs import events
from services.post_training.jobs.ports import Assignment, Completed, Failed, LeaseLostError, Report, Stopped, Work
from services.post_training.synthesis.synthesis import Synthesis


class SynthesisWork(Work):
    """Makes data in the service's own process; what is made is in the job's folder, and a later attempt goes on from it."""

    def __init__(self, synthesis: Synthesis) -> None:
        """Uses it.

        Args:
            synthesis: Makes data.
        """
        self._synthesis = synthesis

    async def run(self, assignment: Assignment, report: Report) -> Completed | Stopped | Failed:
        """Does a job, or stops it when that is wished; see Work."""
        progress = _Progress(report)
        request = assignment.record.job.synthetic_data
        work = asyncio.create_task(
            self._synthesis.run_job(request, assignment.folder, progress.tell), name=f"make-data-{request.job_uuid}"
        )
        waits = [asyncio.create_task(event.wait()) for event in (assignment.lease.wish, assignment.lease.lost)]
        try:
            await asyncio.wait((work, *waits), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
                await report.settle()
                return Completed()
        finally:
            for task in (work, *waits):
                task.cancel()
            await asyncio.gather(work, *waits, return_exceptions=True)
        if assignment.lease.lost.is_set():
            raise LeaseLostError
        return Stopped(progress.said)


class _Progress:
    """Tells what a generation tells as a job's events."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._first: tuple[float, int] | None = None
        self.said = "no answers were made"

    async def tell(self, event: synthetic_data_pb2.StreamGenerateResponse) -> None:
        """Tells an event."""
        if event.HasField("progress"):
            await self._report.say(jobs_pb2.JobEvent(timestamp=events.now(), progress=self._how_far(event.progress)))
        elif event.HasField("complete"):
            await self._tell_end(event.complete)

    def _how_far(self, progress: synthetic_data_pb2.GenerationProgress) -> jobs_pb2.TrainingProgress:
        now, made, total = time.monotonic(), progress.generated, progress.total
        self.said = f"{made} of {total} answers are made; they are kept"
        told = jobs_pb2.TrainingProgress(rows=made)
        since, before = self._first = self._first or (now, made)
        if made > before:
            told.eta.FromMilliseconds(round(1000 * (total - made) * (now - since) / (made - before)))
        return told

    async def _tell_end(self, complete: synthetic_data_pb2.GenerationComplete) -> None:
        statistics = complete.statistics
        metrics = {"generated": float(statistics.generated), "kept": float(statistics.kept)}
        for name in ("min_score", "max_score", "mean_score", "mean_kept_score"):
            if statistics.HasField(name):
                metrics[name] = getattr(statistics, name)
        where = f"as data set {complete.output_dataset_id!r} (seed {statistics.seed})"
        line = f"{statistics.kept} of {statistics.generated} answers are kept, {where}"
        progress = jobs_pb2.TrainingProgress(rows=statistics.generated)
        for event in (
            jobs_pb2.JobEvent(timestamp=events.now(), progress=progress),
            jobs_pb2.JobEvent(timestamp=events.now(), metrics=jobs_pb2.JobMetricsEvent(metrics=metrics)),
            events.log(line),
        ):
            await self._report.say(event)
