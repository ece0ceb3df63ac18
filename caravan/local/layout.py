"""The data directory of a stack."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from caravan.local.problems import StackError

FREE_BYTES = 256 << 20


@dataclass(frozen=True)
class Layout:
    """Where things are."""

    root: Path
    """The data directory."""

    @property
    def logs(self) -> Path:
        """Directory of the logs."""
        return self.root / "logs"

    @property
    def configs(self) -> Path:
        """Directory of the settings that the processes are started with."""
        return self.root / "config"

    @property
    def store(self) -> Path:
        """Directory of the store's data."""
        return self.root / "store"


@contextmanager
def claim(root: Path) -> Iterator[Layout]:
    """Makes the data directory and holds it for as long as the stack runs.

    Args:
        root: The directory.

    Raises:
        StackError: Somebody else holds it, it cannot be written, or the disk is full.
    """
    root = root.absolute()
    with told_apart(root):
        for folder in (root, root / "logs", root / "config", root / "store"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _need_space(root)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _hold(lock, root)
        yield Layout(root)
    finally:
        os.close(lock)


@contextmanager
def told_apart(where: Path) -> Iterator[None]:
    """Turns what goes wrong on a disk into words.

    Args:
        where: What is written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"no space left for {where}: free some, or choose another directory with --data"
        else:
            message = f"cannot write to {where}: {error.strerror}; choose another directory with --data"
        raise StackError(message) from error


def _need_space(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < FREE_BYTES:
        needed = f"{FREE_BYTES >> 20} MiB are needed"
        message = (
            f"only {free >> 20} MiB are free for {root}, {needed}: free some, or choose another directory with --data"
        )
        raise StackError(message)


def _hold(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        who = f" (process {holder})" if holder else ""
        message = f"another `caravan up`{who} runs in {root}: stop it, or choose another directory with --data"
        raise StackError(message) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
