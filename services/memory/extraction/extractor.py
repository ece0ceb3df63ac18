"""Extracts text in processes that may be killed."""

import asyncio
from typing import Any

from services.core.errors import InvalidArgumentError
from services.core.worker_pool import WorkerDiedError, WorkerPool
from services.memory.extraction import media_types
from services.memory.extraction.extracted import Extracted, Heading, UnreadableError
from services.memory.extraction.plain import plain

_MODULE = "services.memory.extraction.worker"
# Longest answer: the longest text, each code point as a JSON escape.
_ANSWER_BYTES = 1 << 30
# Small texts are decoded here: sending them to a process and back costs more.
_SMALL = 65_536


class Extractor:
    """Reads documents of every media type."""

    def __init__(self, workers: int, seconds: float, memory_bytes: int) -> None:
        """Starts nothing yet.

        Args:
            workers: Most processes.
            seconds: Longest time that one document may take.
            memory_bytes: Most memory of one process.
        """
        self._seconds = seconds
        self._pool = WorkerPool(
            _MODULE, most=workers, seconds=seconds, memory_bytes=memory_bytes, answer_bytes=_ANSWER_BYTES
        )

    async def start(self) -> None:
        """Makes ready; a process is started when there is something to read."""
        await self._pool.start()

    async def close(self) -> None:
        """Ends the processes. Call it when no extraction runs."""
        await self._pool.close()

    async def extract(self, content: bytes, mime_type: str, field: str) -> Extracted:
        """Extracts the text of a document.

        Args:
            content: The document.
            mime_type: One of `media_types.READ`.
            field: Path of the request's field that holds the document, for errors.

        Raises:
            InvalidArgumentError: It is broken, holds no text, or takes too much time or memory.
            ResourceExhaustedError: The machine gives no process to read it in.
        """
        try:
            if mime_type == media_types.TEXT and len(content) <= _SMALL:
                extracted = plain(content)
            else:
                extracted = await self._in_worker(content, mime_type)
        except UnreadableError as error:
            raise InvalidArgumentError.of(field, str(error), reason="DOCUMENT_UNREADABLE") from error
        if not extracted.text.strip():
            raise InvalidArgumentError.of(field, "holds no text, so it could never be found", reason="DOCUMENT_EMPTY")
        return extracted

    async def _in_worker(self, content: bytes, mime_type: str) -> Extracted:
        try:
            answer = await self._pool.ask({"mime_type": mime_type}, content)
        except TimeoutError as error:
            raise UnreadableError(f"takes longer than {self._seconds:g} s to read; send it in parts") from error
        except WorkerDiedError as error:
            raise UnreadableError(f"cannot be read as {mime_type}: it is broken, or far too large") from error
        if "error" in answer:
            raise UnreadableError(answer["error"])
        # There may be very many headings.
        return await asyncio.to_thread(_extracted, answer)


def _extracted(answer: dict[str, Any]) -> Extracted:
    return Extracted(answer["text"], answer["pages"], [Heading(*heading) for heading in answer["headings"]])
