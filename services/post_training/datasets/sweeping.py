"""Removes what processes that died have left on the disk: files in the spool, and rows that the store does not name.

Rows are worth more than room. So nothing is removed before it is old, and nothing at all while the store and the folder do not know each
other: a store that came back empty, or another one, must not cost a single row.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from services.core.errors import CaravanError
from services.post_training.datasets.ports import DatasetStore
from services.post_training.datasets.segments import name_of
from services.post_training.datasets.spooling import in_thread
from services.post_training.storage import Storage, new_name, remove, write_file

_IDENTITY = "identity"
# Of a segment.
_FILES = 2
_log = structlog.get_logger(__name__)


class Sweeping:
    """Looks for leftovers from time to time."""

    def __init__(
        self,
        storage: Storage,
        store: DatasetStore,
        *,
        seconds: float,
        grace_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Looks for nothing yet.

        Args:
            storage: Where to look.
            store: Names what is wanted.
            seconds: Seconds between two looks.
            grace_seconds: Seconds that what nobody names is left alone.
            clock: Seconds since the epoch.
        """
        self._storage = storage
        self._store = store
        self._seconds = seconds
        self._grace = grace_seconds
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Makes store and folder known to each other, before there is a row, and begins to look.

        Raises:
            UnavailableError: The store does not answer.
        """
        await self._knows()
        self._task = asyncio.create_task(self._run(), name="sweep-datasets")

    async def stop(self) -> None:
        """Ends looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def sweep(self) -> int:
        """Removes leftovers; returns how many files and folders.

        Raises:
            UnavailableError: The store does not answer.
        """
        count = await in_thread(self._sweep_spool)
        if not await self._knows():
            _log.warning("sweep_refused", folder=str(self._storage.datasets), why="the store does not know this folder")
            return count
        old = await in_thread(self._old_folders)
        owners = await self._store.owners(old)
        for folder in old:
            owner = owners.get(folder)
            if owner is None:
                _log.info("swept", folder=folder)
                await in_thread(remove, self._storage.dataset(folder))
                count += 1
            else:
                count += await self._sweep_segments(folder, owner)
        return count

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
            except (CaravanError, OSError) as error:
                _log.warning("sweep_failed", why=str(error))
            await asyncio.sleep(self._seconds)

    async def _knows(self) -> bool:
        """Tells whether store and folder belong together; a folder without data sets goes with any store."""
        path = self._storage.datasets / _IDENTITY
        mine = await in_thread(_text_of, path)
        known = await self._store.claim_storage("") if mine else ""
        folders = await in_thread(_folders, self._storage.datasets)
        if mine or folders:
            return mine == known != ""
        known = await self._store.claim_storage(new_name())
        await in_thread(write_file, path, known.encode())
        return True

    async def _sweep_segments(self, folder: str, owner: str) -> int:
        """Removes segments of appends that never happened."""
        old = await in_thread(self._old_files, self._storage.dataset(folder))
        record = await self._store.find(owner) if old else None
        if record is None or record.folder != folder or len(old) == _FILES * record.current.number:
            return 0
        # Asked after the files were listed: what was named meanwhile is not removed.
        revisions = await self._store.revisions(record, 1, record.current.number)
        named = {revision.segment for revision in revisions or ()}
        leftovers = [path for path in old if revisions is not None and name_of(path.name) not in named]
        for path in leftovers:
            _log.info("swept", file=str(path.relative_to(self._storage.datasets)))
            await in_thread(remove, path)
        return len(leftovers)

    def _sweep_spool(self) -> int:
        old = [path for path in self._storage.spool.iterdir() if self._is_old(path)]
        for path in old:
            remove(path)
        return len(old)

    def _old_folders(self) -> list[str]:
        return [path.name for path in _folders(self._storage.datasets) if self._is_old(path) or self._old_files(path)]

    def _old_files(self, folder: Path) -> list[Path]:
        return [path for path in folder.iterdir() if self._is_old(path)]

    def _is_old(self, path: Path) -> bool:
        """Tells whether nothing in a file or folder was touched for the time of grace."""
        begins = self._clock() - self._grace
        try:
            inside = path.rglob("*") if path.is_dir() else ()
            return all(one.lstat().st_mtime < begins for one in (path, *inside))
        except FileNotFoundError:
            return False


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]
