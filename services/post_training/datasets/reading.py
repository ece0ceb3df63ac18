"""Reads rows of a revision: by their numbers, in pages, filtered, or all of them as fast as they are taken."""

import json
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import struct_pb2

from caravan.datasets.v1 import datasetio_pb2
from services.core.errors import NotFoundError
from services.core.paging import DEFAULT_PAGE, last_of, token_after
from services.post_training.datasets import filters, scanning, segments
from services.post_training.datasets.appending import no_dataset
from services.post_training.datasets.ports import DatasetStore, Record, Revision
from services.post_training.datasets.revisions import Revisions, missing_revision
from services.post_training.datasets.spooling import in_thread
from services.post_training.datasets.workers import Workers
from services.post_training.storage import Storage

_MOST_IN_PAGE = 10_000
_BATCH_ROWS, _BATCH_BYTES = 1000, 1 << 18
# What is looked through in a thread: telling a process costs more.
_SMALL = 1 << 20
# What a message has beside its rows.
_SLACK_BYTES = 65_536
_RECEIVED_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class RowsBatch:
    """Some rows."""

    revision: int
    """Revision that is read."""
    first_row: int
    """Number of the first of them."""
    texts: list[str]
    """The rows as JSON texts."""


@dataclass(frozen=True, slots=True)
class RowsFiles:
    """A revision's rows as files, for processes that read them without the service."""

    dataset_id: str
    """The data set."""
    revision: int
    """The revision."""
    sha256: str
    """Digest of the rows; see `canonical`."""
    format: int
    """What the rows are for, a value of DatasetFormat."""
    row_count: int
    """Number of rows."""
    paths: tuple[Path, ...]
    """The files, in the order of their rows: one JSON object a line."""
    row_counts: tuple[int, ...]
    """Number of rows in each."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A revision that is read."""

    record: Record
    revisions: Sequence[Revision]

    @property
    def number(self) -> int:
        return self.revisions[-1].number

    @property
    def row_count(self) -> int:
        return self.revisions[-1].row_count

    def segments(self) -> list[tuple[str, int]]:
        """The segments with the number of rows in each."""
        counts = [revision.row_count for revision in self.revisions]
        return [
            (revision.segment, count - before)
            for revision, count, before in zip(self.revisions, counts, [0, *counts], strict=False)
        ]


class Reading:
    """Reads rows."""

    def __init__(self, storage: Storage, store: DatasetStore, workers: Workers, *, max_send_bytes: int) -> None:
        """Reads nothing yet.

        Args:
            storage: Where rows are.
            store: What is known of data sets.
            workers: Look through what is large.
            max_send_bytes: Largest message that can be sent.
        """
        self._storage = storage
        self._store = store
        self._workers = workers
        # What every client can receive, whose gRPC takes 4 MiB unless told otherwise.
        self._page_bytes = min(max_send_bytes, _RECEIVED_BYTES) - _SLACK_BYTES
        self._revisions = Revisions(store)

    async def page(self, request: datasetio_pb2.GetRowsPaginatedRequest) -> datasetio_pb2.GetRowsPaginatedResponse:
        """Reads a page; errors as the RPC's.

        Args:
            request: Which page.
        """
        condition = request.filter_condition.strip()
        record = await self._record(request.dataset_id)
        asked = request.revision if request.HasField("revision") else 0
        listing = (record.folder, condition, asked)
        first, number, total = 0, asked or record.current.number, -1
        if request.page_token:
            first, number, total = last_of(request.page_token, listing, int, int, int)
        chosen = await self._chosen(record, number)
        most = min(request.rows_in_page, _MOST_IN_PAGE) or DEFAULT_PAGE
        most = _MOST_IN_PAGE if most < 0 else most
        response = datasetio_pb2.GetRowsPaginatedResponse(revision=number, total_count=chosen.row_count)
        if condition:
            filters.parse(condition, record.dataset.dataset_schema)
            found = await self._scanned(chosen, condition, first, most, count_all=total < 0)
            numbers, after = found.rows, found.next_row
            response.total_count = total = found.total if total < 0 else total
        else:
            total = chosen.row_count
            numbers = list(range(first, min(first + most, total)))
            after = min(first + most, chosen.row_count)
        taken = await self._add(response, chosen, numbers, as_json=request.as_json)
        after = numbers[taken] if taken < len(numbers) else after
        if after < chosen.row_count:
            response.next_page_token = token_after(listing, after, number, total)
        return response

    async def rows(
        self, dataset_id: str, revision: int | None = None, from_row: int = 0, limit: int = 0
    ) -> AsyncIterator[RowsBatch]:
        """Yields rows, reading more only when they are asked for.

        Args:
            dataset_id: The data set.
            revision: The revision. None: the newest.
            from_row: Number of the first row.
            limit: Most rows. 0: all.

        Raises:
            NotFoundError: There is no such data set or revision, or no longer.
            UnavailableError: The store does not answer.
        """
        record = await self._record(dataset_id)
        chosen = await self._chosen(record, record.current.number if revision is None else revision)
        end = min(chosen.row_count, from_row + limit) if limit else chosen.row_count
        while from_row < end:
            wanted = range(from_row, min(end, from_row + _BATCH_ROWS))
            found = await self._read(chosen, wanted, _BATCH_BYTES)
            yield RowsBatch(chosen.number, from_row, [text.decode() for text in found])
            from_row += len(found)

    async def files(self, dataset_id: str, revision: int | None = None) -> RowsFiles:
        """Returns the files of a revision's rows.

        Args:
            dataset_id: The data set. A job that uses it is noted at the data set's key in the store, so that it stays.
            revision: The revision. None: the newest.

        Raises:
            NotFoundError: There is no such data set or revision.
            UnavailableError: The store does not answer.
        """
        record = await self._record(dataset_id)
        chosen = await self._chosen(record, record.current.number if revision is None else revision)
        parts, folder = chosen.segments(), self._storage.dataset(record.folder)
        return RowsFiles(
            dataset_id=dataset_id,
            revision=chosen.number,
            sha256=chosen.revisions[-1].sha256,
            format=record.dataset.format,
            row_count=chosen.row_count,
            paths=tuple(segments.rows_path(folder, name) for name, _ in parts),
            row_counts=tuple(rows for _, rows in parts),
        )

    async def _record(self, dataset_id: str) -> Record:
        record = await self._store.find(dataset_id)
        if record is None:
            raise no_dataset(dataset_id)
        return record

    async def _chosen(self, record: Record, number: int) -> _Chosen:
        if not 1 <= number <= record.current.number:
            raise missing_revision(record.dataset.dataset_id, number, record.current.number)
        return _Chosen(record, await self._revisions.until(record, number))

    async def _scanned(
        self, chosen: _Chosen, condition: str, first: int, limit: int, *, count_all: bool
    ) -> scanning.Scanned:
        folder = str(self._storage.dataset(chosen.record.folder))
        task = scanning.Scan(folder, chosen.segments(), condition, first, limit, count_all)
        try:
            if chosen.revisions[-1].size_bytes <= _SMALL:
                return await in_thread(scanning.run, task)
            return await self._workers.scan(task, filters.FIELD)
        except FileNotFoundError as error:
            raise _gone(chosen) from error

    async def _read(self, chosen: _Chosen, numbers: Sequence[int], max_bytes: int) -> list[bytes]:
        try:
            return await in_thread(_rows, self._storage.dataset(chosen.record.folder), chosen, numbers, max_bytes)
        except FileNotFoundError as error:
            raise _gone(chosen) from error

    async def _add(
        self,
        response: datasetio_pb2.GetRowsPaginatedResponse,
        chosen: _Chosen,
        numbers: Sequence[int],
        *,
        as_json: bool,
    ) -> int:
        """Adds rows to a response until it is full; returns how many."""
        texts = await self._read(chosen, numbers, self._page_bytes)
        if not as_json:
            return await in_thread(_add_structs, response, texts, self._page_bytes)
        response.rows_json.extend(text.decode() for text in texts)
        return len(texts)


def _rows(folder: Path, chosen: _Chosen, numbers: Sequence[int], max_bytes: int) -> list[bytes]:
    """Reads rows by ascending numbers, at least one, and more until there are too many bytes."""
    found: list[bytes] = []
    room, place = max_bytes, 0
    ends = [revision.row_count for revision in chosen.revisions]
    while place < len(numbers) and (room > 0 or not found):
        first = numbers[place]
        index = bisect_right(ends, first)
        begin, end = ends[index - 1] if index else 0, ends[index]
        # Neighbours are read together.
        count = 1
        while place + count < len(numbers) and numbers[place + count] == first + count < end:
            count += 1
        texts = segments.read(folder, chosen.revisions[index].segment, first - begin, count, room)
        size = sum(map(len, texts))
        if found and size > room:
            break
        found += texts
        room -= size
        place += len(texts)
        if len(texts) < count:
            break
    return found


def _add_structs(response: datasetio_pb2.GetRowsPaginatedResponse, texts: Sequence[bytes], max_bytes: int) -> int:
    room = max_bytes
    for place, text in enumerate(texts):
        struct = struct_pb2.Struct()
        struct.update(json.loads(text))
        room -= struct.ByteSize() + 8
        if room < 0 and place:
            return place
        response.rows.append(struct)
    return len(texts)


def _gone(chosen: _Chosen) -> NotFoundError:
    return no_dataset(chosen.record.dataset.dataset_id)
