"""Trainings on this machine: each one a process group of its own, held back by limits, and gone when this process is."""

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from caravan.post_training.v1 import jobs_pb2, training_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from services.post_training.executors import processes
from services.post_training.executors.lines import LineSplitter
from services.post_training.executors.settings import LocalSettings
from services.post_training.jobs.ports import Executor, Exit, Launch, Line, Running
from services.post_training.jobs.records import training_of
from services.post_training.spec import trainer_command, trainer_environment

_log = structlog.get_logger(__name__)

_LOCK_FILE = "lock"
_LOCK_AGAIN_SECONDS = 0.1
_CHUNK = 1 << 16
_WAITING_LINES = 1024
# What torch maps without using it; the limit on what is used is kept by looking.
_DATA_SLACK = 4 << 30
# Seconds that output gets to end once the processes have.
_OUTPUT_SECONDS = 2.0


class LocalExecutor(Executor):
    """Runs trainings in processes of this machine."""

    lane = "local"

    def __init__(
        self, settings: LocalSettings, command: Callable[[Path, int], Sequence[str]] = trainer_command
    ) -> None:
        """Runs nothing yet.

        Args:
            settings: Limits.
            command: Makes the command of a spec and a number of processes.
        """
        self._settings, self._command = settings, command

    def check(self, executor: training_pb2.ExecutorConfig) -> int:
        """See Executor."""
        if not self._settings.slots:
            message = "no training runs in the service's own processes here: set executor to another one"
            raise FailedPreconditionError(message, reason="NO_LOCAL_EXECUTOR")
        wanted, most = executor.local.num_processes or 1, self._settings.max_processes
        if wanted > most:
            raise InvalidArgumentError.of("executor.local.num_processes", f"must be at most {most} on this machine")
        return wanted

    def resources(self, job: jobs_pb2.Job) -> dict[str, Any]:
        """See Executor."""
        executor = _executor_of(job)
        memory = executor.max_memory_bytes or self._settings.memory_bytes
        found: dict[str, Any] = {"processes": executor.local.num_processes or 1}
        return {**found, "memory_bytes": memory} if memory else found

    async def start(self, launch: Launch) -> Running:
        """See Executor."""
        lock = await self._lock(launch.folder)
        try:
            command = self._command(launch.spec, launch.num_processes)
            environment = trainer_environment(num_processes=launch.num_processes, parent=os.getpid())
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                cwd=launch.folder,
                start_new_session=True,
                # The processes hold the lock for as long as one of them lives, whoever started them.
                pass_fds=(lock,),
                limit=_CHUNK,
            )
        except OSError as error:
            message = f"the training's process cannot be started ({error.strerror}); it is tried again"
            raise UnavailableError(message, reason="CANNOT_START") from error
        finally:
            os.close(lock)
        memory = launch.max_memory_bytes or self._settings.memory_bytes
        _hold_back(process.pid, self._settings.nice, memory)
        return LocalTraining(process, self._settings, memory)

    async def _lock(self, folder: Path) -> int:
        """Waits until no process of an earlier attempt works in the folder: it may still be writing its last checkpoint."""
        lock = await asyncio.to_thread(_open_lock, folder)
        try:
            async with asyncio.timeout(self._settings.stop_seconds):
                while True:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        await asyncio.sleep(_LOCK_AGAIN_SECONDS)
                    else:
                        return lock
        except TimeoutError:
            os.close(lock)
            message = "processes of the job's last attempt still run and do not end; it is tried again"
            raise UnavailableError(message, reason="LAST_ATTEMPT_RUNS") from None
        except BaseException:
            os.close(lock)
            raise


class LocalTraining(Running):
    """A training's process group."""

    def __init__(self, process: Process, settings: LocalSettings, memory_bytes: int) -> None:
        """Follows a process that was just started.

        Args:
            process: Leader of its process group.
            settings: Limits.
            memory_bytes: Memory that each of its processes may use. 0: no limit.
        """
        self._process, self._settings, self._memory_bytes = process, settings, memory_bytes
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue(_WAITING_LINES)
        self._out_of_memory = False
        self._peak = 0
        self._members: dict[int, str] = {}
        assert process.stdout is not None
        assert process.stderr is not None
        self._reading = [
            asyncio.create_task(self._read(process.stdout, error=False)),
            asyncio.create_task(self._read(process.stderr, error=True)),
        ]
        self._ending = asyncio.create_task(self._end())
        self._watching = asyncio.create_task(self._watch())
        self._killing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Number of the group's leader, and of the group."""
        return self._process.pid

    async def lines(self) -> AsyncIterator[Line]:
        """See Running."""
        while (line := await self._lines.get()) is not None:
            yield line

    async def stop(self) -> None:
        """See Running."""
        processes.signal_group(self.pid, signal.SIGTERM)
        if self._killing is None:
            self._killing = asyncio.create_task(self._kill_later())

    async def kill(self) -> None:
        """See Running."""
        members = await asyncio.to_thread(processes.tree, self.pid, self._members)
        processes.signal_group(self.pid, signal.SIGKILL)
        await asyncio.to_thread(processes.kill, members)

    async def wait(self) -> Exit:
        """See Running."""
        # Whoever waits reads no more: what is still said must not hold the end up.
        draining = asyncio.create_task(self._drain())
        await asyncio.shield(self._ending)
        for task in (draining, self._watching, self._killing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        code = self._process.returncode
        return Exit(code if code is not None else -int(signal.SIGKILL), self._out_of_memory, self._peak)

    async def _drain(self) -> None:
        while await self._lines.get() is not None:
            pass

    async def _end(self) -> None:
        waiting = asyncio.create_task(self._process.wait())
        # asyncio's own loop waits for the output to end as well, which somebody left behind may hold open.
        while self._process.returncode is None:
            await asyncio.wait((waiting,), timeout=self._settings.watch_seconds)
        # Whoever is left has lost its leader.
        processes.signal_group(self.pid, signal.SIGKILL)
        await asyncio.to_thread(processes.kill, self._members)
        _, open_ = await asyncio.wait(self._reading, timeout=_OUTPUT_SECONDS)
        for task in open_:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        waiting.cancel()
        await self._lines.put(None)

    async def _read(self, stream: asyncio.StreamReader, *, error: bool) -> None:
        splitter = LineSplitter()
        while chunk := await stream.read(_CHUNK):
            for text in splitter.feed(chunk):
                await self._lines.put(Line(text, error))
        if rest := splitter.rest():
            await self._lines.put(Line(rest, error))

    async def _watch(self) -> None:
        while True:
            self._members = await asyncio.to_thread(processes.tree, self.pid, self._members)
            used = await asyncio.to_thread(lambda: max(map(processes.used_bytes, self._members), default=0))
            self._peak = max(self._peak, used)
            if self._memory_bytes and used > self._memory_bytes:
                _log.warning("training_out_of_memory", pid=self.pid, used=used, limit=self._memory_bytes)
                self._out_of_memory = True
                await self.kill()
                return
            await asyncio.sleep(self._settings.watch_seconds)

    async def _kill_later(self) -> None:
        await asyncio.sleep(self._settings.stop_seconds)
        _log.warning("training_does_not_stop", pid=self.pid, seconds=self._settings.stop_seconds)
        await self.kill()


def _open_lock(folder: Path) -> int:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    return os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _hold_back(pid: int, nice: int, memory_bytes: int) -> None:
    """Sets limits that whatever the process starts inherits."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        if memory_bytes:
            most = memory_bytes + _DATA_SLACK
            resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))


def _executor_of(job: jobs_pb2.Job) -> training_pb2.ExecutorConfig:
    training = training_of(job)
    return training.executor if training is not None else training_pb2.ExecutorConfig()
