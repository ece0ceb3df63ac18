"""Searches: jobs whose trials are jobs of their own."""

import asyncio
import contextlib
from collections.abc import Sequence

from caravan.post_training.v1 import jobs_pb2, post_training_pb2, training_pb2
from services.core.errors import CaravanError, FailedPreconditionError, NotFoundError, UnavailableError
from services.post_training.jobs import events, transitions
from services.post_training.jobs.creating import Creating, trial_uuid
from services.post_training.jobs.job_store import JobStore, StaleError
from services.post_training.jobs.jobs import Jobs
from services.post_training.jobs.ports import (
    Assignment,
    Completed,
    Failed,
    LeaseLostError,
    Registrar,
    Report,
    Stopped,
    Work,
)
from services.post_training.jobs.records import JobRecord, TrainingMessage, training_of
from services.post_training.jobs.trials import Trial, metric_of, trials_of

_LOOK_SECONDS = 2.0


class SearchWork(Work):
    """Runs the trials of a search, a few at a time, and names the best."""

    def __init__(self, store: JobStore, jobs: Jobs, creating: Creating, registrar: Registrar) -> None:
        """Searches nothing yet.

        Args:
            store: The jobs.
            jobs: Changes them.
            creating: Creates trials.
            registrar: Puts the best trial's result into service.
        """
        self._store, self._jobs, self._creating, self._registrar = store, jobs, creating, registrar

    async def run(self, assignment: Assignment, report: Report) -> Completed | Stopped | Failed:
        """See Work."""
        request = training_of(assignment.record.job)
        assert request is not None
        search = _Search(assignment, report, request)
        await self._wake_trials(search)
        while not assignment.lease.lost.is_set():
            if assignment.lease.wish.is_set():
                return await self._stop(search)
            ended = await self._round(search)
            if ended is not None:
                return await self._conclude(search, ended)
            await self._wait(assignment)
        raise LeaseLostError

    async def _round(self, search: "_Search") -> list[JobRecord] | None:
        """Looks at all trials and begins those whose turn it is; returns them all once all have ended."""
        found: list[JobRecord] = []
        room = search.parallel
        for trial in search.trials:
            record = await self._find(search, trial)
            if record is None and room > 0:
                record = await self._begin(search, trial)
            if record is None:
                continue
            found.append(record)
            if record.job.status not in transitions.ENDED:
                room -= 1
            await search.tell(record)
        ended = [record for record in found if record.job.status in transitions.ENDED]
        done = len(ended) + len(search.impossible)
        await search.report.say(_progress(done, len(search.trials)))
        await self._name_best(search, best_of(ended, search.metric, maximize=search.maximize))
        return ended if done == len(search.trials) else None

    async def _find(self, search: "_Search", trial: Trial) -> JobRecord | None:
        with contextlib.suppress(NotFoundError):
            return await self._store.read(trial_uuid(search.uuid, trial.number))
        return None

    async def _begin(self, search: "_Search", trial: Trial) -> JobRecord | None:
        """Creates a trial; one that cannot be counts as failed."""
        if trial.number in search.impossible:
            return None
        try:
            uuid = await self._creating.create_trial(search.job, search.request, trial)
        except UnavailableError:
            raise
        except CaravanError as error:
            search.impossible.add(trial.number)
            message = f"trial {trial.number} ({dict(trial.parameters)}) cannot be: {error.message}"
            await search.report.say(events.log(message, training_pb2.LOG_LEVEL_ERROR))
            return None
        return await self._store.read(uuid)

    async def _wake_trials(self, search: "_Search") -> None:
        """Trials that rest or were cancelled with the search go on with it."""
        for trial in search.trials:
            record = await self._find(search, trial)
            if record is None or record.job.status not in (transitions.PAUSED, transitions.CANCELLED):
                continue
            if record.job.status == transitions.CANCELLED and transitions.newest_resumable(record.job) is None:
                # Nothing of it is left to go on from: it begins anew.
                with contextlib.suppress(StaleError):
                    await self._jobs.delete_with_trials(record)
                continue
            resume = post_training_pb2.ResumeJobRequest(job_uuid=record.job.job_uuid, reason="its search goes on")
            with contextlib.suppress(FailedPreconditionError):
                await self._jobs.resume(resume)

    async def _stop(self, search: "_Search") -> Stopped:
        """Ends or pauses the trials with the search; when only the holder stops, they go on."""
        status = (await self._store.read(search.uuid)).job.status
        if status not in (transitions.CANCELLING, transitions.PAUSING):
            return Stopped("its trials go on")
        while not search.assignment.lease.lost.is_set():
            records = [await self._find(search, trial) for trial in search.trials]
            running = [record for record in records if record is not None and _moves(record)]
            for record in records:
                if record is not None:
                    await search.tell(record)
            if not running:
                return Stopped("its trials were stopped")
            for record in running:
                await self._stop_trial(record, cancel=status == transitions.CANCELLING)
            await self._store.changed(_LOOK_SECONDS)
        raise LeaseLostError

    async def _stop_trial(self, record: JobRecord, *, cancel: bool) -> None:
        uuid, reason = record.job.job_uuid, "its search was stopped"
        with contextlib.suppress(FailedPreconditionError, NotFoundError):
            if cancel:
                await self._jobs.cancel(post_training_pb2.CancelJobRequest(job_uuid=uuid, reason=reason))
            else:
                await self._jobs.pause(post_training_pb2.PauseJobRequest(job_uuid=uuid, reason=reason))

    async def _name_best(self, search: "_Search", best: JobRecord | None) -> None:
        if best is None or search.best == best.job.job_uuid:
            return
        search.best = best.job.job_uuid
        await search.report.settle()
        while True:
            record = await self._store.read(search.uuid)
            if record.job.best_child_job_uuid == search.best or record.job.status != transitions.RUNNING:
                return
            try:
                await self._store.change(
                    record, transitions.name_best(record, search.best), lease=search.assignment.lease
                )
            except StaleError:
                continue
            return

    async def _conclude(self, search: "_Search", ended: Sequence[JobRecord]) -> Completed | Failed:
        best = best_of(ended, search.metric, maximize=search.maximize)
        if best is None:
            message = f"no trial completed with a value of {search.metric!r}; the trials' own errors say why"
            return Failed(FailedPreconditionError(message, reason="NO_TRIAL_COMPLETED"), again=False)
        uuid = best.job.job_uuid
        model_id = ""
        final = transitions.final_checkpoint(best.job)
        if search.request.HasField("auto_register") and final is not None:
            model_id = await self._registrar.register(search.job, final)
            final.registered_model_id = model_id
            await self._store.add_checkpoint(uuid, final, None)
        return Completed(model_id, best_child_job_uuid=uuid)

    async def _wait(self, assignment: Assignment) -> None:
        waits = [
            asyncio.create_task(self._store.changed(_LOOK_SECONDS)),
            asyncio.create_task(assignment.lease.wish.wait()),
            asyncio.create_task(assignment.lease.lost.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


class _Search:
    """One run of a search."""

    def __init__(self, assignment: Assignment, report: Report, request: TrainingMessage) -> None:
        self.assignment, self.report, self.request = assignment, report, request
        self.job = assignment.record.job
        self.uuid = self.job.job_uuid
        config = request.hyperparam_search_config
        self.trials = trials_of(request)
        self.parallel = config.max_parallel_trials or 1
        self.metric, self.maximize = metric_of(request), config.maximize
        self.impossible: set[int] = set()
        self.best = self.job.best_child_job_uuid
        self._told: dict[str, int] = {}

    async def tell(self, record: JobRecord) -> None:
        """Says where a trial stands when it begins and when it ends."""
        job = record.job
        stands = job.status if job.status in transitions.ENDED else transitions.RUNNING
        if self._told.get(job.job_uuid) != stands:
            self._told[job.job_uuid] = stands
            await self.report.say(events.trial(job, record.metrics.get(self.metric)))


def best_of(ended: Sequence[JobRecord], metric: str, *, maximize: bool) -> JobRecord | None:
    """Returns the best of the trials that completed with a value; None when there is none.

    Args:
        ended: The trials that have ended.
        metric: What is compared.
        maximize: The greatest value is the best, not the least.
    """
    valued = [one for one in ended if one.job.status == transitions.COMPLETED and metric in one.metrics]
    pick = max if maximize else min
    return pick(valued, key=lambda one: one.metrics[metric], default=None)


def _moves(record: JobRecord) -> bool:
    return record.job.status in (transitions.WAITING, *transitions.HELD)


def _progress(done: int, total: int) -> jobs_pb2.JobEvent:
    progress = jobs_pb2.TrainingProgress(step=done, total_steps=total)
    return jobs_pb2.JobEvent(timestamp=events.now(), progress=progress)
