"""Runs imports where they belong, and lets only so many in at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from services.core.errors import ResourceExhaustedError
from services.post_training.datasets import importing
from services.post_training.datasets.canonical import NO_ROWS
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.datasets.sources import Material
from services.post_training.datasets.spooling import SpoolFile, in_thread, remove_in_thread
from services.post_training.datasets.workers import Workers
from services.post_training.storage import Storage

# What is read in a thread: sending it to a process and back costs more.
_SMALL = 65_536


@dataclass(frozen=True, slots=True)
class Destination:
    """Where rows go, and what they follow."""

    folder: Path
    """Folder of the data set."""
    segment: str
    """Name of the segment to write."""
    format: int
    """Number of the format to check for."""
    schema: importing.SchemaFacts | None
    """Types of the columns. None: the rows tell."""
    prefix: str = ""
    """What stands before `rows[n]` in the paths of errors."""
    row_count: int = 0
    """Rows before these."""
    size_bytes: int = 0
    """Bytes of the rows before."""
    sha256: str = NO_ROWS.hex()
    """Digest of the rows before."""


class Imports:
    """The imports of this process."""

    def __init__(self, settings: DatasetsSettings, storage: Storage, workers: Workers) -> None:
        """Runs nothing yet.

        Args:
            settings: How many at a time, and what data sets may be.
            storage: Has the spool.
            workers: Run what is large.
        """
        self._settings = settings
        self._storage = storage
        self._workers = workers
        self._running = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Holds a place while a data set comes in.

        Raises:
            ResourceExhaustedError: All are taken.
        """
        if self._running >= self._settings.concurrency:
            message = f"{self._running} data sets come in already, which is the most; try again when one is in"
            raise ResourceExhaustedError(
                message, retry_after=5.0, subject="datasets.concurrency", reason="TOO_MANY_IMPORTS"
            )
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def run(self, material: Material, to: Destination) -> importing.Imported:
        """Imports rows; errors as `importing.run`'s.

        Args:
            material: Where they are.
            to: Where they go.
        """
        settings = self._settings
        task = importing.Import(
            kind=material.kind,
            path=str(material.path),
            field=material.field,
            prefix=to.prefix,
            folder=str(to.folder),
            segment=to.segment,
            format=to.format,
            digest=to.sha256,
            max_rows=settings.max_rows - to.row_count,
            max_bytes=settings.max_bytes - to.size_bytes,
            max_row_bytes=settings.max_row_bytes,
            max_columns=settings.max_columns,
            file_name=material.file_name,
            file_format=material.file_format,
            schema=to.schema,
            huggingface=material.huggingface,
        )
        if material.content is None:
            return await self._workers.import_rows(task)
        return await self._run_request(task, material.content)

    async def _run_request(self, task: importing.Import, content: bytes) -> importing.Imported:
        if len(content) <= _SMALL:
            return await in_thread(importing.run, task, content)
        path = self._storage.new_spool()
        try:
            async with SpoolFile(path, len(content)) as spool:
                await spool.write(content)
                await spool.flush()
            return await self._workers.import_rows(replace(task, path=str(path)))
        finally:
            await remove_in_thread(path)
