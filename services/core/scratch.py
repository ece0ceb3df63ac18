"""A folder for what child processes write and nobody misses: gone with the process that made it, however that ends.

It lies where the system keeps temporary files, and its process holds a lock on it, which the kernel lets go when the process dies. Whoever
opens one of their own sweeps those that nobody holds. (systemd-tmpfiles leaves locked folders alone, however old.) Opening and closing may
take long: call them in a thread.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "caravan-scratch-"


class Scratch:
    """The folder of one process, with folders in it."""

    def __init__(self) -> None:
        """Makes nothing yet."""
        self._root: Path | None = None
        self._lock = -1

    def open(self) -> None:
        """Makes the folder, and removes those that dead processes have left."""
        _sweep(Path(tempfile.gettempdir()))
        while self._root is None:
            self._lock, self._root = _locked(Path(tempfile.mkdtemp(prefix=PREFIX)))

    def new_folder(self) -> Path:
        """Makes a folder that is empty and nobody else's. The scratch folder must be open."""
        assert self._root is not None
        return Path(tempfile.mkdtemp(dir=self._root))

    def close(self) -> None:
        """Removes the folder with all that is in it."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            os.close(self._lock)
            self._root = None


def _locked(path: Path) -> tuple[int, Path | None]:
    """Locks a folder that was just made. No folder: another process has swept it before it was locked."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return -1, None
    if _take(lock) and path.exists():
        return lock, path
    os.close(lock)
    return -1, None


def _sweep(place: Path) -> None:
    """Removes the folders of this user's processes that live no more."""
    for path in place.glob(f"{PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            # Gone meanwhile, or none of ours.
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid() and _take(lock):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
