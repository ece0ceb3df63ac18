"""Runs imports where they belong, and lets only so many in at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from services.core.errors import ResourceExhaustedError
from services.post_training.datasets import importing
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.datasets.spooling import SpoolFile, in_thread, remove_in_thread
from services.post_training.datasets.workers import Workers
from services.post_training.storage import Storage

# What is read in a thread: sending it to a process and back costs more.
_SMALL = 65_536


class Imports:
    """The imports of this process."""

    def __init__(self, settings: DatasetsSettings, storage: Storage, workers: Workers) -> None:
        """Runs nothing yet.

        Args:
            settings: How many at a time.
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

    async def run(self, task: importing.Import) -> importing.Imported:
        """Imports what is in a file; errors as `importing.run`'s.

        Args:
            task: What to do.
        """
        return await self._workers.import_rows(task)

    async def run_request(self, task: importing.Import, content: bytes) -> importing.Imported:
        """Imports the rows of a request; errors as `importing.run`'s.

        Args:
            task: What to do; its path does not count.
            content: The message that has them.
        """
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
