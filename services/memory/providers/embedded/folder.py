"""The folder of a store: who owns it, which version wrote it, and where each bank is."""

import fcntl
import hashlib
import os
import shutil
import uuid
from pathlib import Path
from typing import IO

from services.core.errors import FailedPreconditionError, UnavailableError

FORMAT = "caravan embedded memory store, format 1\n"


class StoreFolder:
    """A folder that one process at a time may use. All methods block."""

    def __init__(self, path: Path) -> None:
        """Names the folder; `acquire` makes it ours."""
        self.path = path
        self._banks = path / "banks"
        self._dropped = path / "dropped"
        self._lock: IO[str] | None = None

    def acquire(self) -> None:
        """Takes the folder and removes what an interrupted drop has left.

        Raises:
            FailedPreconditionError: Another process has it, or another version wrote it.
            UnavailableError: It cannot be used.
        """
        try:
            for folder in (self._banks, self._dropped):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "LOCK").open("a+")
            self._own()
            self._check_format()
            for left in self._dropped.iterdir():
                shutil.rmtree(left, ignore_errors=True)
        except OSError as error:
            message = f"the memory store cannot use its folder {self.path}: {error.strerror}"
            raise UnavailableError(message, reason="STORE_UNAVAILABLE") from error

    def release(self) -> None:
        """Lets others take the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def bank(self, bank_id: str) -> Path:
        """Returns the folder of a bank; it need not exist."""
        return self._banks / hashlib.sha256(bank_id.encode()).hexdigest()[:40]

    def put_aside(self, bank_id: str) -> Path | None:
        """Makes a bank's folder disappear in one step; returns where it is now, to be removed. None: there was none."""
        grave = self._dropped / uuid.uuid4().hex
        try:
            self.bank(bank_id).rename(grave)
        except FileNotFoundError:
            return None
        sync_folder(self._banks)
        return grave

    def _own(self) -> None:
        assert self._lock is not None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "unknown"
            self.release()
            raise FailedPreconditionError(
                f"another process (pid {owner}) uses the memory store in {self.path}; stop it, or give this one a folder of its own. "
                "Several replicas share a database server instead (remote::pgvector)",
                reason="STORE_IN_USE",
            ) from error
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def _check_format(self) -> None:
        path = self.path / "FORMAT"
        if not path.exists():
            path.write_text(FORMAT)
        elif path.read_text() != FORMAT:
            message = f"{self.path} was written by another version of the memory store ({path.read_text().strip()})"
            self.release()
            raise FailedPreconditionError(message, reason="STORE_FORMAT")


def sync_folder(path: Path) -> None:
    """Makes renames in a folder survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size_of(path: Path) -> int:
    """Returns the size of the files right in a folder and in its own folders, in bytes."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(folder) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total
