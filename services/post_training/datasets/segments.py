"""Files of rows: a segment holds the rows that one revision added, and an index says where each of them ends.

What is here blocks: call it in a thread or a worker process.
"""

import os
import sys
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from services.core.errors import ResourceExhaustedError
from services.post_training.storage import full_disk_told, sync_folder, write_all

ROWS_SUFFIX, INDEX_SUFFIX, PART_SUFFIX = ".jsonl", ".index", ".part"
_ENTRY = 8
_BUFFER = 1 << 20
_INDEX_BUFFER = 65_536


def rows_path(folder: Path, segment: str) -> Path:
    """Returns the path of a segment's rows."""
    return folder / f"{segment}{ROWS_SUFFIX}"


def index_path(folder: Path, segment: str) -> Path:
    """Returns the path of a segment's index."""
    return folder / f"{segment}{INDEX_SUFFIX}"


class SegmentWriter:
    """Writes a segment. It is there once `finish` has returned; without that, leaving the context removes what was written."""

    def __init__(self, folder: Path, segment: str, max_rows: int, max_bytes: int) -> None:
        """Writes nothing yet.

        Args:
            folder: Folder of the data set; made when it is not there.
            segment: Name of the segment.
            max_rows: Most rows.
            max_bytes: Most bytes.
        """
        self.rows = 0
        self.bytes = 0
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._folder = folder
        self._made_folder = False
        self._finals = (rows_path(folder, segment), index_path(folder, segment))
        self._parts = tuple(path.with_name(path.name + PART_SUFFIX) for path in self._finals)
        self._held = bytearray()
        self._ends = array("Q")
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with full_disk_told():
            if not self._folder.exists():
                self._folder.mkdir(mode=0o750, exist_ok=True)
                self._made_folder = True
            self._rows_file, self._index_file = (
                self._open.enter_context(part.open("wb", buffering=0)) for part in self._parts
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        for part in self._parts:
            part.unlink(missing_ok=True)

    def add(self, line: bytes) -> None:
        """Adds a row.

        Args:
            line: Its JSON, without a line end.

        Raises:
            ResourceExhaustedError: There are too many rows or bytes, or the disk is full.
        """
        self.rows += 1
        self.bytes += len(line) + 1
        if self.rows > self._max_rows:
            raise _too_much(
                f"more rows than datasets.max_rows allows it ({self._max_rows} are left)", "datasets.max_rows"
            )
        if self.bytes > self._max_bytes:
            raise _too_much(
                f"more bytes of rows than datasets.max_bytes allows it ({self._max_bytes} are left)",
                "datasets.max_bytes",
            )
        self._held += line
        self._held += b"\n"
        self._ends.append(self.bytes)
        if len(self._held) >= _BUFFER or len(self._ends) >= _INDEX_BUFFER:
            self._flush()

    def finish(self) -> None:
        """Makes the segment last.

        Raises:
            ResourceExhaustedError: The disk is full.
        """
        self._flush()
        with full_disk_told():
            for file in (self._rows_file, self._index_file):
                os.fsync(file.fileno())
            for part, final in zip(self._parts, self._finals, strict=True):
                part.replace(final)
            sync_folder(self._folder)
            if self._made_folder:
                sync_folder(self._folder.parent)

    def _flush(self) -> None:
        if sys.byteorder != "little":
            self._ends.byteswap()
        with full_disk_told():
            write_all(self._rows_file, self._held)
            write_all(self._index_file, self._ends.tobytes())
        self._held.clear()
        del self._ends[:]


def discard(folder: Path, segment: str) -> None:
    """Removes a segment that nobody names, and what a process that was killed has written of it."""
    for path in (rows_path(folder, segment), index_path(folder, segment)):
        path.unlink(missing_ok=True)
        path.with_name(path.name + PART_SUFFIX).unlink(missing_ok=True)


def name_of(file_name: str) -> str:
    """Returns the segment that a file belongs to."""
    return file_name.partition(".")[0]


def read(folder: Path, segment: str, first: int, count: int, max_bytes: int) -> list[bytes]:
    """Reads rows of a segment.

    Args:
        folder: Folder of the data set.
        segment: Name of the segment.
        first: Number of the first row in the segment.
        count: Most rows; they are there.
        max_bytes: Most bytes of them together, but for the first row, which may have more.

    Returns:
        The rows without their line ends, at least one when `count` is not 0.

    Raises:
        FileNotFoundError: The data set is gone.
    """
    if count <= 0:
        return []
    with index_path(folder, segment).open("rb", buffering=0) as index:
        # The end of the row before is where the first one begins.
        skipped = first * _ENTRY - _ENTRY
        kept = os.pread(index.fileno(), (count + 1) * _ENTRY, max(0, skipped))
    ends = array("Q", kept)
    if sys.byteorder != "little":
        ends.byteswap()
    begin = ends.pop(0) if first else 0
    ends = ends[:count]
    while len(ends) > 1 and ends[-1] - begin > max_bytes:
        # Halved first: a page of long rows may be much shorter than asked for.
        half = ends[len(ends) // 2]
        ends = ends[: len(ends) // 2 + 1] if half - begin > max_bytes and len(ends) > 2 else ends[:-1]
    with rows_path(folder, segment).open("rb", buffering=0) as file:
        text = _read_all(file.fileno(), ends[-1] - begin, begin)
    rows, start = [], begin
    for end in ends:
        rows.append(text[start - begin : end - begin - 1])
        start = end
    return rows


def lines(folder: Path, segment: str) -> Iterator[bytes]:
    """Yields all rows of a segment without their line ends.

    Raises:
        FileNotFoundError: The data set is gone.
    """
    with rows_path(folder, segment).open("rb", buffering=_BUFFER) as file:
        for line in file:
            yield line[:-1]


def _read_all(descriptor: int, size: int, offset: int) -> bytes:
    parts = []
    while size > 0:
        part = os.pread(descriptor, size, offset)
        if not part:
            break
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)


def _too_much(what: str, subject: str) -> ResourceExhaustedError:
    return ResourceExhaustedError(f"the data set would have {what}", subject=subject, reason="DATASET_TOO_LARGE")
