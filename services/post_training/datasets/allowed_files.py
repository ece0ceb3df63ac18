"""Copies files out of the folders that the service may read from, and from nowhere else. Blocks: call it in a thread.

A path is judged by what was opened, not by its text: no link, and no change between the look and the reading, leads out of the folders.
"""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from services.core.errors import FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError
from services.post_training.storage import full_disk_told, write_all

_PIECE = 4 << 20
_MOST_DEPTH = 16


class AllowedFiles:
    """The folders that may be read from."""

    def __init__(self, folders: Sequence[Path], max_bytes: int, max_files: int) -> None:
        """Names the folders.

        Args:
            folders: The folders.
            max_bytes: Most bytes to copy at a time.
            max_files: Most files to copy at a time.
        """
        self._folders = [Path(os.path.realpath(folder)) for folder in folders]
        self._max_bytes, self._max_files = max_bytes, max_files

    def copy_file(self, path: str, target: Path, field: str) -> None:
        """Copies a file.

        Args:
            path: Its path: absolute, or relative to one of the folders.
            target: Where to; there is nothing yet.
            field: Path of the request's field that names it, for errors.

        Raises:
            InvalidArgumentError: It lies outside the folders.
            FailedPreconditionError: There is none, or it cannot be read.
            ResourceExhaustedError: It is too large, or the disk is full.
        """
        with _Opened(self._found(path, field), field) as descriptor:
            self._check(descriptor, field)
            _copy(descriptor, target, self._max_bytes)

    def copy_folder(self, path: str, target: Path, is_wanted: Callable[[str], bool], field: str) -> None:
        """Copies the wanted files of a folder; arguments and errors as for `copy_file`.

        Args:
            path: Path of the folder.
            target: Where to.
            is_wanted: Tells by its path in the folder whether a file is.
            field: Path of the request's field.
        """
        source = self._found(path, field)
        if not source.is_dir():
            raise _missing(field, "is no folder")
        room, count = self._max_bytes, 0
        for found in _files(source):
            relative = found.relative_to(source)
            if not is_wanted(relative.as_posix()):
                continue
            count += 1
            if count > self._max_files:
                message = f"{field}: the folder has more than {self._max_files} files"
                raise ResourceExhaustedError(message, subject="files", reason="DATASET_TOO_LARGE")
            with full_disk_told():
                (target / relative).parent.mkdir(parents=True, exist_ok=True)
            with _Opened(found, field) as descriptor:
                self._check(descriptor, field)
                room -= _copy(descriptor, target / relative, room)

    def _found(self, path: str, field: str) -> Path:
        if not self._folders:
            message = f"{field}: this service reads no files of its own: set datasets.folders, or upload the file"
            raise FailedPreconditionError(message, reason="NO_FOLDERS")
        if "\0" in path:
            raise InvalidArgumentError.of(field, "holds a NUL character")
        places = [Path(path)] if path.startswith("/") else [folder / path for folder in self._folders]
        real = [Path(os.path.realpath(place)) for place in places]
        inside = [place for place in real if self._is_inside(place)]
        if not inside:
            raise _outside(field)
        found = next((place for place in inside if place.exists()), None)
        if found is None:
            raise _missing(field, "does not exist")
        return found

    def _is_inside(self, place: Path) -> bool:
        return any(place.is_relative_to(folder) for folder in self._folders)

    def _check(self, descriptor: int, field: str) -> None:
        if not self._is_inside(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise _outside(field)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _missing(field, "is no regular file")


class _Opened:
    """A file that is open for reading, and never waits for a writer as a pipe would."""

    def __init__(self, path: Path, field: str) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _missing(field, f"cannot be read ({error.strerror})") from error

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _MOST_DEPTH else []
        found += [Path(place) / name for name in sorted(names)]
    return found


def _copy(descriptor: int, target: Path, max_bytes: int) -> int:
    """Copies all that can be read; returns how many bytes."""
    copied = 0
    with full_disk_told(), target.open("xb", buffering=0) as file:
        while piece := os.read(descriptor, _PIECE):
            copied += len(piece)
            if copied > max_bytes:
                message = f"there are more bytes to read than datasets.max_bytes allows ({max_bytes} are left)"
                raise ResourceExhaustedError(message, subject="datasets.max_bytes", reason="DATASET_TOO_LARGE")
            write_all(file, piece)
    return copied


def _outside(field: str) -> InvalidArgumentError:
    return InvalidArgumentError.of(
        field, "lies outside the folders that this service reads from (datasets.folders)", reason="OUTSIDE_FOLDERS"
    )


def _missing(field: str, what: str) -> FailedPreconditionError:
    return FailedPreconditionError(f"{field}: the path {what}", reason="SOURCE_UNREADABLE")
