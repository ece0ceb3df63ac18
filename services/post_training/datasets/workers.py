"""Runs tasks in processes that may be killed: a broken or hostile file is a refusal, never an outage."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import asdict
from typing import Any

import structlog

from services.core.errors import InvalidArgumentError
from services.post_training.datasets import importing, scanning
from services.post_training.datasets.answers import error_of

_MODULE = "services.post_training.datasets.worker"
_STOP_SECONDS = 2.0
_ANSWER_BYTES = 64 << 20
# What a process sees of the service's environment: nothing that holds a secret.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
_OFFLINE = ("HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
_FIXED = {
    # What is read is in a folder of ours, and downloads are our own.
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_XET": "1",
    # Arenas of other allocators take address space that nobody uses.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
}

_log = structlog.get_logger(__name__)


class Workers:
    """A few processes, started when they are needed and replaced when they die or have grown large."""

    def __init__(self, most: int, seconds: float, memory_bytes: int) -> None:
        """Starts nothing yet.

        Args:
            most: Most processes.
            seconds: Longest time that one task may take.
            memory_bytes: Most memory of one process.
        """
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._free = asyncio.Semaphore(most)
        self._idle: list[Process] = []

    async def import_rows(self, task: importing.Import) -> importing.Imported:
        """Reads, checks and writes rows; errors as `importing.run`'s.

        Args:
            task: What to do.
        """
        answer = await self._run("import", asdict(task), task.field)
        schema = {name: (kind, nullable) for name, (kind, nullable) in answer.pop("schema").items()}
        return importing.Imported(**answer, schema=schema)

    async def scan(self, task: scanning.Scan, field: str) -> scanning.Scanned:
        """Looks for rows that fit; errors as `scanning.run`'s.

        Args:
            task: What to look for.
            field: Path of the request's field that asks for it, for errors.
        """
        return scanning.Scanned(**await self._run("scan", asdict(task), field))

    async def close(self) -> None:
        """Ends the processes. Call it when no task runs."""
        for worker in self._idle:
            if worker.stdin is not None:
                worker.stdin.close()
        for worker in self._idle:
            try:
                await asyncio.wait_for(worker.wait(), _STOP_SECONDS)
            except TimeoutError:
                await _kill(worker)
        self._idle.clear()

    async def _run(self, name: str, arguments: dict[str, Any], field: str) -> dict[str, Any]:
        async with self._free:
            worker = await self._worker()
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await _asked(worker, {"name": name, "arguments": arguments})
            except TimeoutError as error:
                await _kill(worker)
                message = f"takes longer than datasets.import_seconds ({self._seconds:g} s) to read; give it in parts"
                raise InvalidArgumentError.of(field, message, reason="DATASET_UNREADABLE") from error
            except (OSError, EOFError, ValueError) as error:
                await _kill(worker)
                _log.warning("dataset_worker_died", exit_code=worker.returncode)
                message = "crashes the program that reads it: it is broken, or needs far too much memory"
                raise InvalidArgumentError.of(field, message, reason="DATASET_UNREADABLE") from error
            except BaseException:
                await asyncio.shield(_kill(worker))
                raise
            if answer["worn"]:
                await _kill(worker)
            else:
                self._idle.append(worker)
        return _result(answer, field)

    async def _worker(self) -> Process:
        while self._idle:
            worker = self._idle.pop()
            if worker.returncode is None:
                return worker
        command = (sys.executable, "-P", "-m", _MODULE, str(self._memory_bytes), str(os.getpid()))
        environment = {name: os.environ[name] for name in (*_ENVIRONMENT, *_OFFLINE) if name in os.environ} | _FIXED
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env=environment, limit=_ANSWER_BYTES
        )


async def _asked(worker: Process, task: dict[str, Any]) -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(json.dumps(task).encode() + b"\n")
    await worker.stdin.drain()
    line = await worker.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    return answer


def _result(answer: dict[str, Any], field: str) -> dict[str, Any]:
    if "error" in answer:
        raise error_of(answer["error"])
    if "gone" in answer:
        raise FileNotFoundError(answer["gone"])
    if "broken" in answer:
        message = f"cannot be read ({answer['broken']}): it is broken, or something else"
        raise InvalidArgumentError.of(field, message, reason="DATASET_UNREADABLE")
    result: dict[str, Any] = answer["result"]
    return result


async def _kill(worker: Process) -> None:
    if worker.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
    await worker.wait()
