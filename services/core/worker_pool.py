"""Processes for work that may crash, hang or take too much memory: broken or hostile input is a refusal, never an outage."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from services.core.errors import FailedPreconditionError, ResourceExhaustedError
from services.core.scratch import Scratch

_STOP_SECONDS = 2.0
# What a process sees of the service's environment: nothing that holds a secret.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
# An answer that is read at once, without a thread.
_SMALL = 65_536

_log = structlog.get_logger(__name__)


class WorkerDiedError(Exception):
    """The process ended instead of answering; it has been replaced."""


@dataclass(frozen=True, slots=True)
class _Worker:
    """One process."""

    process: Process
    """The process."""
    home: Path
    """The only folder of its own."""


class WorkerPool:
    """A few processes of one kind, started when they are needed and replaced when they die or have grown large.

    They die with the service, see nothing of its environment that could be secret, and leave nothing in the file system.
    """

    def __init__(
        self,
        module: str,
        *,
        most: int,
        seconds: float,
        memory_bytes: int,
        answer_bytes: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            module: What a process runs; it calls `services.core.worker_loop.serve`.
            most: Most processes.
            seconds: Longest time that an answer may take.
            memory_bytes: Most memory of one process.
            answer_bytes: Largest answer.
            environment: More variables for the processes.
        """
        self._module = module
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._answer_bytes = answer_bytes
        self._environment = dict(environment or {})
        self._scratch = Scratch()
        self._free = asyncio.Semaphore(most)
        self._idle: list[_Worker] = []
        self._ending: set[asyncio.Task[int]] = set()

    async def start(self) -> None:
        """Makes room for what processes write, and removes what those of a service that was killed have left.

        Raises:
            FailedPreconditionError: There is no folder for temporary files.
        """
        try:
            await asyncio.to_thread(self._scratch.open)
        except OSError as error:
            message = f"no folder for temporary files can be made ({error.strerror}): set TMPDIR to one that can be written to"
            raise FailedPreconditionError(message, reason="NO_TEMPORARY_FOLDER") from error

    async def close(self) -> None:
        """Ends the processes. Call it when nobody waits for an answer."""
        idle, self._idle = self._idle, []
        for worker in idle:
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        for worker in idle:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(worker.process.wait(), _STOP_SECONDS)
            await self._end(worker)
        await asyncio.gather(*self._ending)
        await asyncio.to_thread(self._scratch.close)

    async def ask(self, request: Mapping[str, Any], content: bytes = b"") -> dict[str, Any]:
        """Asks a process, as soon as one is free. A caller that is cancelled takes the process's work with it.

        Args:
            request: What JSON can hold.
            content: Bytes that go with it.

        Raises:
            TimeoutError: It took too long, and was ended.
            WorkerDiedError: The process died over it.
            ResourceExhaustedError: The machine gives no process.
        """
        async with self._free:
            worker = await self._worker()
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await _asked(worker.process, request, content)
            except TimeoutError:
                await self._end(worker)
                raise
            except (OSError, EOFError, ValueError) as error:
                code = await self._end(worker)
                _log.warning("worker_died", module=self._module, exit_code=code)
                raise WorkerDiedError(self._module) from error
            except BaseException:
                await self._end(worker)
                raise
            if answer.pop("worn"):
                await self._end(worker)
            else:
                self._idle.append(worker)
            return answer

    async def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if _lives(worker.process):
                return worker
            await self._end(worker)
        try:
            return await self._started()
        except OSError as error:
            message = f"no process can be started for it ({error.strerror}); try again, or give the service more"
            raise ResourceExhaustedError(message, retry_after=5.0, subject="processes", reason="NO_WORKER") from error

    async def _started(self) -> _Worker:
        command = (sys.executable, "-P", "-m", self._module, str(self._memory_bytes), str(os.getpid()))
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        home = self._scratch.new_folder()
        environment = kept | self._environment | {"HOME": str(home), "TMPDIR": str(home), "OMP_NUM_THREADS": "1"}
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=environment, limit=self._answer_bytes
            )
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        return _Worker(process, home)

    async def _end(self, worker: _Worker) -> int:
        """Ends a process and removes what it has written, to the last, also when the caller is cancelled; returns its exit code."""
        task = asyncio.create_task(_ended(worker))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return await asyncio.shield(task)


def _lives(process: Process) -> bool:
    """Tells whether a process lives, also when the event loop has not heard of its end yet."""
    if process.returncode is not None:
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


async def _ended(worker: _Worker) -> int:
    if worker.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            worker.process.kill()
    code = await worker.process.wait()
    await asyncio.to_thread(shutil.rmtree, worker.home, ignore_errors=True)
    return code


async def _asked(process: Process, request: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"request": request, "size": len(content)}).encode() + b"\n")
    process.stdin.write(content)
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = await asyncio.to_thread(json.loads, line) if len(line) > _SMALL else json.loads(line)
    return answer
