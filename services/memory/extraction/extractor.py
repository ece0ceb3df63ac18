"""Extracts text in processes that may be killed: a broken or hostile document is a refusal, never an outage."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process

import structlog

from services.core.errors import InvalidArgumentError
from services.memory.extraction import media_types
from services.memory.extraction.extracted import Extracted, Heading, UnreadableError
from services.memory.extraction.plain import plain

_MODULE = "services.memory.extraction.worker"
_STOP_SECONDS = 2.0
# Longest answer: the longest text, each code point as a JSON escape.
_ANSWER_BYTES = 1 << 30
# Small texts are decoded here: sending them to a process and back costs more.
_SMALL = 65_536

_log = structlog.get_logger(__name__)


class Extractor:
    """A few worker processes, started when they are needed and replaced when they die."""

    def __init__(self, workers: int, seconds: float, memory_bytes: int) -> None:
        """Starts nothing yet.

        Args:
            workers: Most processes.
            seconds: Longest time that one document may take.
            memory_bytes: Most memory of one process.
        """
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._free = asyncio.Semaphore(workers)
        self._idle: list[Process] = []

    async def extract(self, content: bytes, mime_type: str, field: str) -> Extracted:
        """Extracts the text of a document.

        Args:
            content: The document.
            mime_type: One of `media_types.READ`.
            field: Path of the request's field that holds the document, for errors.

        Raises:
            InvalidArgumentError: It is broken, holds no text, or takes too much time or memory.
        """
        try:
            if mime_type == media_types.TEXT and len(content) <= _SMALL:
                extracted = plain(content)
            else:
                async with self._free:
                    extracted = await self._in_worker(content, mime_type)
        except UnreadableError as error:
            raise InvalidArgumentError.of(field, str(error), reason="DOCUMENT_UNREADABLE") from error
        if not extracted.text.strip():
            raise InvalidArgumentError.of(field, "holds no text, so it could never be found", reason="DOCUMENT_EMPTY")
        return extracted

    async def close(self) -> None:
        """Ends the processes. Call it when no extraction runs."""
        for worker in self._idle:
            if worker.stdin is not None:
                worker.stdin.close()
        for worker in self._idle:
            try:
                await asyncio.wait_for(worker.wait(), _STOP_SECONDS)
            except TimeoutError:
                await _kill(worker)
        self._idle.clear()

    async def _in_worker(self, content: bytes, mime_type: str) -> Extracted:
        worker = await self._worker()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._ask(worker, content, mime_type)
        except TimeoutError as error:
            await _kill(worker)
            raise UnreadableError(f"takes longer than {self._seconds:g} s to read; send it in parts") from error
        except (OSError, EOFError, ValueError) as error:
            await _kill(worker)
            _log.warning("extraction_worker_died", mime_type=mime_type, exit_code=worker.returncode)
            raise UnreadableError(f"cannot be read as {mime_type}: it is broken, or far too large") from error
        except BaseException:
            await asyncio.shield(_kill(worker))
            raise
        self._idle.append(worker)
        if isinstance(answer, str):
            raise UnreadableError(answer)
        return answer

    async def _worker(self) -> Process:
        while self._idle:
            worker = self._idle.pop()
            if worker.returncode is None:
                return worker
        command = (sys.executable, "-m", _MODULE, str(self._memory_bytes))
        return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_ANSWER_BYTES)

    async def _ask(self, worker: Process, content: bytes, mime_type: str) -> Extracted | str:
        """Hands a document to a worker; returns what it has extracted, or what is wrong with the document."""
        assert worker.stdin is not None
        assert worker.stdout is not None
        request = {"mime_type": mime_type, "size": len(content), "cpu_seconds": self._seconds}
        worker.stdin.write(json.dumps(request).encode() + b"\n" + content)
        await worker.stdin.drain()
        line = await worker.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return await asyncio.to_thread(_read, line)


def _read(line: bytes) -> Extracted | str:
    answer = json.loads(line)
    if "error" in answer:
        return str(answer["error"])
    return Extracted(answer["text"], answer["pages"], [Heading(*heading) for heading in answer["headings"]])


async def _kill(worker: Process) -> None:
    if worker.returncode is None:
        worker.kill()
    await worker.wait()
