"""Runs imports and scans in processes that may be killed."""

import os
from dataclasses import asdict
from typing import Any

from services.core.errors import InvalidArgumentError
from services.core.worker_pool import WorkerDiedError, WorkerPool
from services.post_training.datasets import importing, scanning
from services.post_training.datasets.answers import error_of

_MODULE = "services.post_training.datasets.worker"
_ANSWER_BYTES = 64 << 20
# What downloads need of the service's environment.
_PASSED = ("HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
_FIXED = {
    # What is read is in a folder of ours, and downloads are our own.
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_XET": "1",
    # Arenas of other allocators take address space that nobody uses.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


class Workers:
    """The processes that read rows."""

    def __init__(self, most: int, seconds: float, memory_bytes: int) -> None:
        """Starts nothing yet.

        Args:
            most: Most processes.
            seconds: Longest time that one task may take.
            memory_bytes: Most memory of one process.
        """
        self._seconds = seconds
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ} | _FIXED
        self._pool = WorkerPool(
            _MODULE,
            most=most,
            seconds=seconds,
            memory_bytes=memory_bytes,
            answer_bytes=_ANSWER_BYTES,
            environment=environment,
        )

    async def start(self) -> None:
        """Makes ready; a process is started when there is something to do."""
        await self._pool.start()

    async def close(self) -> None:
        """Ends the processes. Call it when no task runs."""
        await self._pool.close()

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

    async def _run(self, name: str, arguments: dict[str, Any], field: str) -> dict[str, Any]:
        try:
            answer = await self._pool.ask({"name": name, "arguments": arguments})
        except TimeoutError as error:
            message = f"takes longer than datasets.import_seconds ({self._seconds:g} s) to read; give it in parts"
            raise _unreadable(field, message) from error
        except WorkerDiedError as error:
            message = "crashes the program that reads it: it is broken, or needs far too much memory"
            raise _unreadable(field, message) from error
        if "error" in answer:
            raise error_of(answer["error"])
        if "gone" in answer:
            raise FileNotFoundError(answer["gone"])
        if "broken" in answer:
            raise _unreadable(field, f"cannot be read ({answer['broken']}): it is broken, or something else")
        result: dict[str, Any] = answer["result"]
        return result


def _unreadable(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError.of(field, message, reason="DATASET_UNREADABLE")
