"""Checks and estimates trainings in processes of their own: large sets take seconds, which must not hold up the service."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from caravan.post_training.v1 import jobs_pb2
from services.core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.post_training.planning.settings import PlanningSettings
from services.post_training.spec import Kind, RowsSource, TrainingRequest, TrainingSpec, trainer_environment

_LONGEST_LINE = 1 << 24


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training will take."""

    estimate: jobs_pb2.TrainingEstimate
    """The estimate."""


class Planner:
    """Checks and estimates trainings. Its processes are begun when they are needed, and end when they are not."""

    def __init__(self, settings: PlanningSettings) -> None:
        """Begins no process yet.

        Args:
            settings: How much is looked at.
        """
        self._settings = settings
        self._turns = asyncio.Semaphore(settings.workers)
        self._waiting = 0
        self._idle: list[Process] = []
        self._ends: dict[Process, asyncio.TimerHandle] = {}
        self._closed = False

    async def plan(  # noqa: PLR0913, PLR0917 - what a training is made of
        self,
        kind: Kind,
        request: TrainingRequest,
        base: Path,
        rows: RowsSource,
        validation: RowsSource | None,
        num_processes: int,
        continue_from: str = "",
    ) -> Plan:
        """Checks a training and estimates it.

        Args:
            kind: What is trained for.
            request: The request.
            base: Folder of the base model.
            rows: What is trained on.
            validation: What is evaluated on. None: nothing.
            num_processes: Number of processes.
            continue_from: Folder of the adapter or whole model that the training goes on from. Empty: the base model.

        Raises:
            InvalidArgumentError: The training cannot be; the violations name the request's fields.
            FailedPreconditionError: This machine cannot do it.
            ResourceExhaustedError: Too many wait to be checked.
            DeadlineExceededError: The check takes too long.
        """
        spec = TrainingSpec(
            job_uuid="",
            kind=kind,
            request=json_format.MessageToDict(request, preserving_proto_field_name=True),
            base_model=str(base),
            rows=rows,
            validation_rows=validation,
            folder="",
            num_processes=num_processes,
            continue_from=continue_from,
        )
        question = {"spec": json.loads(spec.to_json()), "sampled_rows": self._settings.sampled_rows}
        return _plan(await self._ask(json.dumps(question) + "\n"))

    async def _ask(self, question: str) -> dict[str, Any]:
        async with self._worker() as worker:
            try:
                async with asyncio.timeout(self._settings.seconds):
                    assert worker.stdin is not None
                    assert worker.stdout is not None
                    worker.stdin.write(question.encode())
                    await worker.stdin.drain()
                    line = await worker.stdout.readline()
            except TimeoutError:
                message = f"the check of the training took longer than {self._settings.seconds:g} s"
                raise DeadlineExceededError(message, reason="PLANNING_TIMEOUT") from None
            except (ConnectionError, ValueError):
                line = b""
        if not line:
            raise UnavailableError("the process that checks trainings died; try again", reason="PLANNING_DIED")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator[Process]:
        """A process that nobody else asks; it is kept for the next one unless something goes wrong."""
        if self._waiting >= self._settings.waiting:
            raise ResourceExhaustedError(
                "too many trainings wait to be checked; try again", retry_after=5.0, subject="planning"
            )
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        worker: Process | None = None
        kept = False
        try:
            worker = self._kept() or await self._begin()
            yield worker
            kept = worker.returncode is None and not self._closed
        finally:
            self._turns.release()
            if worker is not None:
                self._keep(worker) if kept else await _end(worker)

    def _kept(self) -> Process | None:
        while self._idle:
            worker = self._idle.pop()
            self._ends.pop(worker).cancel()
            if worker.returncode is None:
                return worker
        return None

    async def _begin(self) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.post_training.planning"),
            stdin=PIPE,
            stdout=PIPE,
            env=trainer_environment(parent=os.getpid()),
            limit=_LONGEST_LINE,
        )

    def _keep(self, worker: Process) -> None:
        self._idle.append(worker)
        loop = asyncio.get_running_loop()
        self._ends[worker] = loop.call_later(self._settings.idle_seconds, self._let_end, worker)

    def _let_end(self, worker: Process) -> None:
        # Its input ends, and so does it; asyncio's watcher collects it.
        self._ends.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)
            assert worker.stdin is not None
            worker.stdin.close()

    async def close(self) -> None:
        """Ends the processes; nothing is asked any more."""
        self._closed = True
        for handle in self._ends.values():
            handle.cancel()
        self._ends.clear()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_end(worker) for worker in idle))


async def _end(worker: Process) -> None:
    if worker.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
    if worker.stdin is not None:
        worker.stdin.close()
    await worker.wait()


def _plan(answer: dict[str, Any]) -> Plan:
    if "precondition" in answer:
        raise FailedPreconditionError(answer["precondition"], reason=answer["reason"])
    if "violations" in answer:
        found = [FieldViolation(field, description) for field, description in answer["violations"]]
        message = "; ".join(f"{violation.field}: {violation.description}" for violation in found)
        raise InvalidArgumentError(message, violations=found, reason=answer["reason"])
    return Plan(json_format.ParseDict(answer["estimate"], jobs_pb2.TrainingEstimate()))
