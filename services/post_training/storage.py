"""The service's folder, shared by its replicas: what is where in it, and writing files that are whole or not there.

    storage_dir/
      spool/                         what is being received or imported; nobody else's business, and swept when it is old
      datasets/<folder>/             rows of one data set; <folder> is a name of our own, never a user's
        <segment>.jsonl              rows that one revision added, one canonical JSON object a line
        <segment>.index              where each row ends: eight bytes a row, little-endian
      jobs/<job_uuid>/               one job: spec.json, checkpoints/<identifier>/, ...

A file is written under a temporary name, synced and renamed; it counts only once the store names it. What the store does not name is a
leftover of a process that died, and is swept after a time of grace.
"""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path

from services.core.errors import FailedPreconditionError, ResourceExhaustedError

# Too large a file counts as well: it is a limit of the process's, or of the file system.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class Storage:
    """Paths in the service's folder. Everything that touches the disk here blocks: call it in a thread."""

    def __init__(self, root: Path) -> None:
        """Names the folders; `prepare` makes them.

        Args:
            root: The service's folder.
        """
        self.root = root.absolute()
        self.spool = self.root / "spool"
        self.datasets = self.root / "datasets"
        self.jobs = self.root / "jobs"

    def prepare(self) -> None:
        """Makes the folders, and checks that they can be written to.

        Raises:
            FailedPreconditionError: They cannot.
            ResourceExhaustedError: The disk is full.
        """
        with full_disk_told():
            try:
                for folder in (self.root, self.spool, self.datasets, self.jobs):
                    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.spool) as probe:
                    probe.write(b"\0")
            except OSError as error:
                if error.errno in _FULL:
                    raise
                message = (
                    f"storage_dir {self.root} cannot be written to ({error.strerror}): set it to a folder that can"
                )
                raise FailedPreconditionError(message, reason="STORAGE_NOT_WRITABLE") from error

    def dataset(self, folder: str) -> Path:
        """Returns the folder of a data set.

        Args:
            folder: Its name, as `new_name` made it.
        """
        return self.datasets / folder

    def job(self, job_uuid: str) -> Path:
        """Returns the folder of a job.

        Args:
            job_uuid: The job; checked by the contract to be fit for a file's name.

        Raises:
            ValueError: It is not.
        """
        if not job_uuid or job_uuid.startswith(".") or "/" in job_uuid or "\0" in job_uuid:
            message = f"{job_uuid!r} cannot name a folder"
            raise ValueError(message)
        return self.jobs / job_uuid

    def new_spool(self) -> Path:
        """Returns a path in the spool that nobody else uses; there is nothing yet."""
        return self.spool / new_name()

    def free_bytes(self) -> int:
        """Returns how much can be written, in bytes."""
        return shutil.disk_usage(self.root).free


def new_name() -> str:
    """Returns a name for a file or folder: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def write_file(path: Path, content: bytes) -> None:
    """Writes a small file whole: a reader sees all of it or none, also after a loss of power.

    Args:
        path: The file; one that is there is replaced.
        content: What is in it.

    Raises:
        ResourceExhaustedError: The disk is full; nothing has changed.
    """
    part = path.with_name(f".{path.name}.{new_name()}.part")
    with full_disk_told():
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_all(file: RawIOBase, data: bytes | bytearray) -> None:
    """Writes bytes to a file without a buffer of its own, so that nothing is left to be written when it is closed.

    Args:
        file: The file.
        data: The bytes.
    """
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]


def sync_folder(folder: Path) -> None:
    """Makes what was created, renamed or removed in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes a file or a folder with everything in it; what is not there needs no removing.

    Args:
        path: The file or folder; a symbolic link is removed itself.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Makes a full disk, a quota or a limit of file sizes that is hit inside a ResourceExhaustedError."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise no_room() from error
        raise


def is_full(error: OSError) -> bool:
    """Tells whether an error means that there is no room on the disk."""
    return error.errno in _FULL


def no_room() -> ResourceExhaustedError:
    """Returns the error for a disk without room."""
    message = (
        "there is no room left on the service's disk: delete data sets, jobs or checkpoints, or give storage_dir more"
    )
    return ResourceExhaustedError(message, retry_after=60.0, subject="storage_dir", reason="DISK_FULL")
