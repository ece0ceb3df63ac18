"""Files that come in: written to the spool in large pieces, bounded, and digested on the way."""

import asyncio
import hashlib
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from services.core.errors import ResourceExhaustedError
from services.post_training.storage import full_disk_told, remove, write_all

P = ParamSpec("P")
R = TypeVar("R")
_PIECE = 1 << 20


class SpoolFile:
    """A file that grows by what comes. Leaving the context closes it; who made the path removes it."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Opens nothing yet.

        Args:
            path: Where to.
            max_bytes: Most bytes.
        """
        self.path = path
        self.size = 0
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._held = bytearray()
        self._file: RawIOBase | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of everything, in hexadecimal, once it is flushed."""
        return self._digest.hexdigest()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            await in_thread(self._file.close)

    async def write(self, data: bytes) -> None:
        """Appends bytes.

        Raises:
            ResourceExhaustedError: The file becomes too large, or the disk is full.
        """
        self.size += len(data)
        if self.size > self._max_bytes:
            message = f"the file has more than datasets.max_bytes ({self._max_bytes}); give it in parts"
            raise ResourceExhaustedError(message, subject="datasets.max_bytes", reason="DATASET_TOO_LARGE")
        self._held += data
        if len(self._held) >= _PIECE:
            await self.flush()

    async def flush(self) -> None:
        """Writes what is held back.

        Raises:
            ResourceExhaustedError: The disk is full.
        """
        held, self._held = bytes(self._held), bytearray()
        await in_thread(self._write, held)

    def _write(self, data: bytes) -> None:
        with full_disk_told():
            if self._file is None:
                # Not buffered: nothing is left to be written when it is closed.
                self._file = self.path.open("xb", buffering=0)
            write_all(self._file, data)
        self._digest.update(data)


async def in_thread(function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Runs a function in a thread; when the caller is cancelled, that waits until the function is done, so that its files can be removed.

    Args:
        function: The function.
        arguments: Its arguments.
        named: Its named arguments.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


async def remove_in_thread(*paths: Path) -> None:
    """Removes files and folders."""

    def remove_all() -> None:
        for path in paths:
            remove(path)

    await in_thread(remove_all)
