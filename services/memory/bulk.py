"""Inserting any number of documents: read, prepared and written at the same time, each reported when it is safe.

    requests -> assembling -> [incoming] -> preparing (several) -> [prepared] -> writing -> [events] -> responses

Every queue in brackets is bounded, so that memory stays what it is however many documents come: a slow store holds back the reading.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from google.rpc import status_pb2
from pydantic import BaseModel, ConfigDict, Field

from caravan.memory.v1 import memory_pb2
from services.core.errors import CaravanError, DeadlineExceededError, InvalidArgumentError, UnavailableError
from services.memory.assembling import Arrived, Assembler
from services.memory.banks import Bank
from services.memory.changes import Changes, Planned
from services.memory.checks import check_name
from services.memory.extraction.media_types import known as known_type
from services.memory.ports import Store
from services.memory.records import DocumentWrite
from services.memory.sources import of_data
from services.memory.telemetry import documents_written

_PROGRESS_SECONDS = 1.0
_ATTEMPTS = 5

StatusOf = Callable[[CaravanError], status_pb2.Status]


class BulkSettings(BaseModel):
    """How bulk insertions run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: int = Field(default=8, ge=1, description="Most bulk insertions at a time; more are refused.")
    preparing: int = Field(
        default=8, ge=1, description="Most documents of one that are extracted and embedded at a time."
    )
    held_bytes: int = Field(
        default=64 << 20, ge=1 << 20, description="Most content of one that waits; a larger document waits alone."
    )
    write_chunks: int = Field(
        default=2048, ge=1, description="Most chunks of one write; a larger document is written alone."
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A document that can be written, or is refused."""

    arrived: Arrived
    planned: Planned | None = None
    error: CaravanError | None = None


class BulkInsertion:
    """One bulk insertion into one bank."""

    def __init__(  # noqa: PLR0913 - the parts of a pipeline
        self,
        bank: Bank,
        store: Store,
        changes: Changes,
        assembler: Assembler,
        settings: BulkSettings,
        status_of: StatusOf,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begins nothing yet.

        Args:
            bank: The bank.
            store: Where it is kept.
            changes: Plans what is written.
            assembler: Puts documents together of what comes.
            settings: How it runs.
            status_of: Says an error in a response.
            clock: Seconds since the epoch.
        """
        self._bank = bank
        self._store = store
        self._changes = changes
        self._assembler = assembler
        self._settings = settings
        self._status_of = status_of
        self._clock = clock
        self._progress = memory_pb2.BulkInsertProgress()
        self._incoming: asyncio.Queue[Arrived | None] = asyncio.Queue(settings.preparing)
        self._prepared: asyncio.Queue[_Prepared | None] = asyncio.Queue(settings.preparing * 8)
        self._events: asyncio.Queue[memory_pb2.BulkInsertDocumentsResponse | None] = asyncio.Queue(256)
        self._changed = asyncio.Condition()
        self._held = 0
        self._underway: set[str] = set()

    async def run(
        self, requests: AsyncIterator[memory_pb2.BulkInsertDocumentsRequest]
    ) -> AsyncGenerator[memory_pb2.BulkInsertDocumentsResponse, None]:
        """Inserts what comes, and yields what becomes of it.

        Args:
            requests: The requests, the first included.

        Raises:
            InvalidArgumentError: The requests make no documents.
            CaravanError: The bank was dropped, or store or embedding model fail: all documents would.
        """
        work = asyncio.create_task(self._work(requests))
        ticks = asyncio.create_task(self._tick())
        try:
            while (event := await self._events.get()) is not None:
                yield event
            await work
            yield memory_pb2.BulkInsertDocumentsResponse(progress=self._progress)
            yield memory_pb2.BulkInsertDocumentsResponse(complete=self._progress)
        finally:
            for task in (work, ticks):
                task.cancel()
            await asyncio.gather(work, ticks, return_exceptions=True)

    async def _work(self, requests: AsyncIterator[memory_pb2.BulkInsertDocumentsRequest]) -> None:
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(requests))
                group.create_task(self._prepare_all())
                group.create_task(self._write_all())
        except BaseExceptionGroup as errors:
            failure = errors.exceptions[0]
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
        await self._events.put(None)
        if failure is not None:
            raise failure

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            told = memory_pb2.BulkInsertProgress()
            told.CopyFrom(self._progress)
            await self._events.put(memory_pb2.BulkInsertDocumentsResponse(progress=told))

    # Reading.

    async def _read(self, requests: AsyncIterator[memory_pb2.BulkInsertDocumentsRequest]) -> None:
        async for request in requests:
            before = self._assembler.received
            arrived = self._assembler.add(request)
            self._progress.bytes_received += self._assembler.received - before
            if arrived is not None:
                await self._admit(arrived)
                await self._incoming.put(arrived)
        self._assembler.end()
        await self._incoming.put(None)

    async def _admit(self, arrived: Arrived) -> None:
        """Waits until there is room for a document, and until the one of its name that came before is done."""
        most = self._settings.held_bytes
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    (not self._held or self._held + arrived.size <= most) and arrived.document_id not in self._underway
                )
            )
            self._held += arrived.size
            self._underway.add(arrived.document_id)
            self._progress.documents_received += 1

    async def _done(self, arrived: Arrived) -> None:
        async with self._changed:
            self._held -= arrived.size
            self._underway.discard(arrived.document_id)
            self._changed.notify_all()

    # Preparing.

    async def _prepare_all(self) -> None:
        free = asyncio.Semaphore(self._settings.preparing)
        async with asyncio.TaskGroup() as group:
            while (arrived := await self._incoming.get()) is not None:
                await free.acquire()
                task = group.create_task(self._prepare(arrived))
                task.add_done_callback(lambda _: free.release())
        await self._prepared.put(None)

    async def _prepare(self, arrived: Arrived) -> None:
        prepared: _Prepared
        try:
            prepared = _Prepared(arrived, planned=await self._plan(arrived))
        except InvalidArgumentError as error:
            prepared = _Prepared(arrived, error=error)
        except (UnavailableError, DeadlineExceededError) as error:
            if arrived.document.WhichOneof("source") != "url":
                raise
            # The address that this document names, most likely.
            prepared = _Prepared(arrived, error=error)
        await self._prepared.put(prepared)

    async def _plan(self, arrived: Arrived) -> Planned:
        if arrived.error is not None:
            raise arrived.error
        check_name(arrived.document_id, "document.document_id")
        source = None
        if arrived.data is not None:
            mime_type = known_type(arrived.document.mime_type) or ""
            source = await asyncio.to_thread(lambda data: of_data(bytes(data), mime_type), arrived.data)
        known = await self._store.get_documents(self._bank.store_id, [arrived.document_id], content=False)
        return await self._changes.insertion(
            self._bank,
            arrived.document,
            known.get(arrived.document_id),
            "document",
            now=self._clock(),
            ttl=self._assembler.ttl,
            source=source,
        )

    # Writing.

    async def _write_all(self) -> None:
        more = True
        left: _Prepared | None = None
        while more or left is not None:
            batch, chunks = ([left], _size(left)) if left is not None else ([], 0)
            left = None
            # What is there goes together; nobody waits for a full batch.
            while more and (not batch or not self._prepared.empty()):
                prepared = await self._prepared.get()
                if prepared is None:
                    more = False
                elif batch and chunks + _size(prepared) > self._settings.write_chunks:
                    left = prepared
                    break
                else:
                    batch.append(prepared)
                    chunks += _size(prepared)
            await self._write(batch)

    async def _write(self, batch: Sequence[_Prepared]) -> None:
        writes = [one.planned.write for one in batch if one.planned is not None and one.planned.write is not None]
        results = await self._written(writes)
        for one in batch:
            if one.error is not None:
                result = memory_pb2.DocumentResult(
                    document_id=one.arrived.document_id,
                    outcome=memory_pb2.DOCUMENT_OUTCOME_REFUSED,
                    error=self._status_of(one.error),
                )
                self._progress.documents_refused += 1
            else:
                result = results.get(one.arrived.document_id) or await self._alone(one)
                self._progress.documents_done += 1
                if result.outcome != memory_pb2.DOCUMENT_OUTCOME_UNCHANGED and _size(one):
                    self._progress.chunks_inserted += result.chunk_count
            await self._done(one.arrived)
            await self._events.put(memory_pb2.BulkInsertDocumentsResponse(document=result))

    async def _written(
        self, writes: Sequence[DocumentWrite], *, last: bool = False
    ) -> dict[str, memory_pb2.DocumentResult]:
        """Writes documents; returns the results, none when one of them has lost a race and this is not the last attempt."""
        if not writes:
            return {}
        try:
            results = await self._store.write_documents(self._bank.store_id, writes)
        except CaravanError as error:
            if last or not _lost_race(error):
                raise
            return {}
        documents_written(self._bank, writes)
        return {result.document_id: result for result in results}

    async def _alone(self, one: _Prepared) -> memory_pb2.DocumentResult:
        """Writes one document that is unchanged, or was in a write that lost a race."""
        planned = one.planned
        for attempt in range(_ATTEMPTS):
            assert planned is not None
            if planned.unchanged is not None:
                return planned.unchanged
            assert planned.write is not None
            if written := await self._written([planned.write], last=attempt == _ATTEMPTS - 1):
                return written[one.arrived.document_id]
            planned = await self._plan(one.arrived)
        raise AssertionError


def _size(prepared: _Prepared) -> int:
    """Number of chunks to be written."""
    write = prepared.planned.write if prepared.planned is not None else None
    return len(write.batch.chunks) if write is not None and write.batch is not None else 0


def _lost_race(error: CaravanError) -> bool:
    return error.reason in ("STALE_REVISION", "DOCUMENT_NOT_FOUND")
