"""Trainings: processes started, followed, stopped and judged, and their results put into service."""

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

import structlog

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, training_pb2
from services.core.errors import (
    AbortedError,
    CaravanError,
    DeadlineExceededError,
    InternalError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.core.status import error_from_status
from services.post_training.jobs import events
from services.post_training.jobs.job_store import JobStore
from services.post_training.jobs.keeping import Keeping
from services.post_training.jobs.ports import (
    Assignment,
    Completed,
    Executor,
    Exit,
    Failed,
    Launch,
    LeaseLostError,
    Preparer,
    Registrar,
    Report,
    Running,
    Stopped,
    Work,
)
from services.post_training.jobs.records import training_of
from services.post_training.jobs.transitions import final_checkpoint, newest_resumable
from services.post_training.spec import CHECKPOINTS_FOLDER
from services.post_training.storage import Storage

_log = structlog.get_logger(__name__)

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# What a training says that may be otherwise the next time.
_PASSING = frozenset({"INTERNAL", "UNAVAILABLE", "ABORTED"})


class TrainingWork(Work):
    """Trains in the processes of an executor."""

    def __init__(
        self,
        executor: Executor,
        preparer: Preparer,
        registrar: Registrar,
        store: JobStore,
        storage: Storage,
        reserve_bytes: int,
    ) -> None:
        """Trains nothing yet.

        Args:
            executor: Runs processes.
            preparer: Makes what they are given.
            registrar: Puts results into service.
            store: The jobs.
            storage: Their folders.
            reserve_bytes: Space on the disk that a training must leave free when it starts.
        """
        self._executor, self._preparer, self._registrar = executor, preparer, registrar
        self._store, self._storage, self._reserve = store, storage, reserve_bytes
        self._keeping = Keeping(store, storage)

    def resources(self, job: jobs_pb2.Job) -> dict[str, Any]:
        """See Work."""
        return self._executor.resources(job)

    async def run(self, assignment: Assignment, report: Report) -> Completed | Stopped | Failed:
        """See Work."""
        training = _Training(assignment, report, self._keeping)
        final = final_checkpoint(assignment.record.job)
        if final is None:
            await asyncio.to_thread(self._require_room, assignment.record.job)
            running = await self._start(assignment)
            outcome = await training.follow(running)
            final = training.final
            if not isinstance(outcome, Completed):
                return outcome
            if final is None:
                message = "the training ended without a result; the job's log says more"
                return Failed(InternalError(message), again=True)
        return Completed(await self._put_into_service(assignment, final, report))

    async def _start(self, assignment: Assignment) -> Running:
        job = assignment.record.job
        request = training_of(job)
        assert request is not None
        num_processes = self._executor.check(request.executor)
        prepared = await self._preparer.prepare(assignment, num_processes)
        memory = request.executor.max_memory_bytes
        launch = Launch(job, prepared.spec, assignment.folder, prepared.num_processes, memory)
        return await self._executor.start(launch)

    def _require_room(self, job: jobs_pb2.Job) -> None:
        free, needed = self._storage.free_bytes(), job.estimate.disk_bytes + self._reserve
        if free < needed:
            message = (
                f"the training needs about {needed >> 20} MiB on the service's disk and {free >> 20} MiB are free: "
                "delete data sets, jobs or checkpoints, or give storage_dir more"
            )
            raise ResourceExhaustedError(message, subject="storage_dir", reason="DISK_FULL")

    async def _put_into_service(self, assignment: Assignment, final: checkpoints_pb2.Checkpoint, report: Report) -> str:
        job = assignment.record.job
        request = training_of(job)
        if request is None or not request.HasField("auto_register"):
            return ""
        await report.say(events.log(f"puts checkpoint {final.identifier} into service"))
        await report.settle()
        model_id = await self._registrar.register(job, final)
        final.registered_model_id = model_id
        await self._store.add_checkpoint(job.job_uuid, final, None)
        return model_id


class _Training:
    """One run of a training's processes."""

    def __init__(self, assignment: Assignment, report: Report, keeping: Keeping) -> None:
        self._assignment, self._report, self._keeping = assignment, report, keeping
        self._job = assignment.record.job
        request = training_of(self._job)
        assert request is not None
        self._request = request
        self._least_level = request.logger_config.log_level or training_pb2.LOG_LEVEL_INFO
        self._known = {checkpoint.identifier: checkpoint for checkpoint in self._job.checkpoints}
        self._end: jobs_pb2.Job | None = None
        self._overtime = False
        self._last_words = ""
        self.final: checkpoints_pb2.Checkpoint | None = None

    async def follow(self, running: Running) -> Completed | Stopped | Failed:
        """Follows processes to their end."""
        async with self._attended(running):
            async for line in running.lines():
                event = events.spoken(line.text, error=line.error)
                if event is not None:
                    await self._take(event)
            ended = await running.wait()
        if self._assignment.lease.lost.is_set():
            raise LeaseLostError
        return self._judge(ended)

    @contextlib.asynccontextmanager
    async def _attended(self, running: Running) -> AsyncIterator[None]:
        """Passes on what is wished of the training; nothing of it is left when this is left."""
        attending = [asyncio.create_task(self._attend(running)), asyncio.create_task(self._end_if_lost(running))]
        ended = False
        try:
            yield
            ended = True
        finally:
            for task in attending:
                task.cancel()
            await asyncio.gather(*attending, return_exceptions=True)
            if not ended:
                await running.kill()
                await running.wait()

    async def _attend(self, running: Running) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._time_left()):
                await self._assignment.lease.wish.wait()
        self._overtime = not self._assignment.lease.wish.is_set()
        await running.stop()

    async def _end_if_lost(self, running: Running) -> None:
        await self._assignment.lease.lost.wait()
        await running.kill()

    def _time_left(self) -> float | None:
        executor = self._request.executor
        if not executor.HasField("max_duration"):
            return None
        return max(0.0, executor.max_duration.ToTimedelta().total_seconds() - self._assignment.record.ran_ms / 1000)

    async def _take(self, event: jobs_pb2.JobEvent) -> None:
        match event.WhichOneof("event"):
            case "end":
                self._end = event.end.job
            case "checkpoint":
                await self._take_checkpoint(event)
            case "log":
                if event.log.level >= training_pb2.LOG_LEVEL_ERROR or event.log.rank == 0:
                    self._last_words = event.log.line or self._last_words
                if event.log.level >= self._least_level:
                    await self._report.say(event)
            case "progress" | "metrics":
                await self._report.say(event)
            case _:
                # States and trials are told by the service.
                pass

    async def _take_checkpoint(self, event: jobs_pb2.JobEvent) -> None:
        made = event.checkpoint.checkpoint
        if not _IDENTIFIER.fullmatch(made.identifier):
            _log.warning("checkpoint_without_name", job_uuid=self._job.job_uuid)
            return
        made.post_training_job_id = self._job.job_uuid
        made.path = str(self._assignment.folder / CHECKPOINTS_FOLDER / made.identifier)
        if not made.HasField("created_at"):
            made.created_at.CopyFrom(event.timestamp)
        if made.is_final:
            self.final = made
        known = self._known.get(made.identifier)
        if known is not None and known.sha256 == made.sha256:
            return
        self._known[made.identifier] = made
        await self._report.say(event)
        await self._report.settle()
        keep = self._request.training_config.checkpoints_to_keep or 3
        await self._keeping.prune(self._job.job_uuid, keep)

    def _judge(self, ended: Exit) -> Completed | Stopped | Failed:
        status = self._end.status if self._end is not None else jobs_pb2.JOB_STATUS_UNSPECIFIED
        if status == jobs_pb2.JOB_STATUS_COMPLETED:
            return Completed()
        if ended.out_of_memory:
            return Failed(self._out_of_memory(ended), again=False)
        if self._overtime:
            message = f"it ran longer than executor.max_duration allows; {self._point()} is kept, and ResumeJob gives it as much time again"
            return Failed(DeadlineExceededError(message, reason="MAX_DURATION"), again=False)
        if self._assignment.lease.wish.is_set():
            return Stopped(f"{self._point()} is kept")
        if status == jobs_pb2.JOB_STATUS_FAILED and self._end is not None:
            error = error_from_status(self._end.error, {"job_uuid": self._job.job_uuid})
            again = error.reason in _PASSING or isinstance(error, UnavailableError | AbortedError)
            return Failed(error, again=again)
        return Failed(self._crashed(ended), again=True)

    def _point(self) -> str:
        found = newest_resumable(jobs_pb2.Job(checkpoints=self._known.values()))
        return f"checkpoint {found.identifier}" if found else "nothing"

    def _out_of_memory(self, ended: Exit) -> CaravanError:
        message = (
            f"a process of the training used {ended.peak_bytes >> 20} MiB, more than executor.max_memory_bytes allows: "
            "allow more, or need less: a smaller data_config.batch_size with more gradient_accumulation_steps, "
            "a shorter data_config.max_sequence_length, efficiency_config.enable_activation_checkpointing, "
            "or an adapter instead of all weights"
        )
        return ResourceExhaustedError(message, subject="memory", reason="OUT_OF_MEMORY")

    def _crashed(self, ended: Exit) -> CaravanError:
        code = ended.code if ended.code < 0 else 128 - ended.code if ended.code > 128 else 0
        if code:
            how = f"was ended by {_name_of(-code)}"
            if -code == signal.SIGKILL:
                how += " (the machine may be short of memory)"
        elif self._end is not None:
            how = "was told to stop by somebody else than the service"
        else:
            last = f"; its last words: {self._last_words[:300]}" if self._last_words else ""
            how = f"ended with exit code {ended.code} and no result{last}"
        return UnavailableError(f"the training {how}", reason="TRAINING_CRASHED")


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
