"""Documents: inserting, changing, reading, deleting."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from caravan.memory.v1 import memory_pb2
from services.core.errors import AbortedError, NotFoundError
from services.core.paging import last_of, page_size, token_after
from services.memory.banks import Bank
from services.memory.changes import Changes, Planned
from services.memory.checks import check_name, check_unique
from services.memory.chunking import Window
from services.memory.filters import check_filter
from services.memory.idempotency import Once
from services.memory.ports import Store
from services.memory.records import DocumentRecord, Receipt, Selection
from services.memory.responses import Responses
from services.memory.telemetry import documents_written

# Documents of one call whose text is extracted and embedded at a time.
_AT_ONCE = 8
# How often a change that lost a race is tried again before the caller is told.
_ATTEMPTS = 5
# Documents without content that are read at a time to begin with.
_PORTION = 64


class Documents:
    """The documents of all banks."""

    def __init__(
        self, store: Store, changes: Changes, once: Once, responses: Responses, clock: Callable[[], float] = time.time
    ) -> None:
        """Keeps the parts.

        Args:
            store: Where they are kept.
            changes: Plans what is written of them.
            once: Runs mutations with receipts.
            responses: How large responses may be.
            clock: Seconds since the epoch.
        """
        self._store = store
        self._changes = changes
        self._once = once
        self._responses = responses
        self._clock = clock

    async def insert(
        self,
        bank: Bank,
        request: Any,
        *,
        window: Window | None = None,
        response_class: type[Any] = memory_pb2.InsertDocumentsResponse,
    ) -> Any:
        """Inserts documents.

        Args:
            bank: The bank.
            request: An InsertDocumentsRequest, or one with the same fields.
            window: How to cut them. None: as the bank does.
            response_class: Class of the response; it has `results`.
        """
        documents = request.documents
        check_unique([document.document_id for document in documents], "documents[{}].document_id")
        ttl = request.ttl_seconds if request.HasField("ttl_seconds") else None

        async def plan() -> list[Planned]:
            now = self._clock()
            known = await self._known(bank, documents)
            insertion = self._changes.insertion
            return await _all(
                partial(
                    insertion,
                    bank,
                    document,
                    known.get(document.document_id),
                    f"documents[{place}]",
                    now=now,
                    ttl=ttl,
                    window=window,
                )
                for place, document in enumerate(documents)
            )

        return await self._write(bank, request, plan, response_class)

    async def update(
        self, bank: Bank, request: memory_pb2.UpdateDocumentsRequest
    ) -> memory_pb2.UpdateDocumentsResponse:
        """Changes documents."""
        updates = request.documents
        check_unique([update.document_id for update in updates], "documents[{}].document_id")

        async def plan() -> list[Planned]:
            now = self._clock()
            known = await self._known(bank, updates)
            for update in updates:
                if update.document_id not in known:
                    raise _no_document(bank, update.document_id)
            return await _all(
                partial(self._changes.update, bank, update, known[update.document_id], f"documents[{place}]", now=now)
                for place, update in enumerate(updates)
            )

        response: memory_pb2.UpdateDocumentsResponse = await self._write(
            bank, request, plan, memory_pb2.UpdateDocumentsResponse
        )
        return response

    async def get(self, bank: Bank, request: memory_pb2.GetDocumentsRequest) -> memory_pb2.GetDocumentsResponse:
        """Gets documents."""
        identifiers = list(dict.fromkeys(request.document_ids))
        whole = not request.metadata_only

        async def read(some: Sequence[str]) -> dict[str, DocumentRecord]:
            return await self._store.get_documents(bank.store_id, some, content=whole)

        found = await self._responses.every(
            identifiers,
            read,
            lambda record: record.document.ByteSize(),
            "ask for fewer documents at a time, or for metadata_only; a search returns parts of a document that is too large by itself",
            portion=1 if whole else _PORTION,
        )
        return memory_pb2.GetDocumentsResponse(
            documents=[found[identifier].document for identifier in identifiers if identifier in found],
            missing_document_ids=[identifier for identifier in identifiers if identifier not in found],
        )

    async def list(self, bank: Bank, request: memory_pb2.ListDocumentsRequest) -> memory_pb2.ListDocumentsResponse:
        """Lists documents."""
        where = request.filter if request.HasField("filter") else None
        if where is not None:
            check_filter(where, "filter")
        first = (last_of(request.page_token, request, str) or [""])[0]

        async def read(last: memory_pb2.StoredDocument | None, limit: int) -> Sequence[memory_pb2.StoredDocument]:
            after = first if last is None else last.document_id
            return await self._store.list_documents(bank.store_id, after=after, limit=limit, where=where)

        found, more = await self._responses.page(read, page_size(request), memory_pb2.StoredDocument.ByteSize)
        page = memory_pb2.ListDocumentsResponse(data=found)
        if more:
            page.next_page_token = token_after(request, page.data[-1].document_id)
        return page

    async def delete(
        self, bank: Bank, request: memory_pb2.DeleteDocumentsRequest
    ) -> memory_pb2.DeleteDocumentsResponse:
        """Deletes documents."""
        selection = Selection(everything=True)
        if request.document_ids:
            for place, identifier in enumerate(request.document_ids):
                check_name(identifier, f"document_ids[{place}]")
            selection = Selection(document_ids=list(dict.fromkeys(request.document_ids)))
        elif request.HasField("filter"):
            check_filter(request.filter, "filter")
            selection = Selection(filter=request.filter)

        async def work(receipt: Receipt | None) -> int:
            return await self._store.delete_documents(bank.store_id, selection, receipt)

        return await self._once.run(
            bank,
            request,
            memory_pb2.DeleteDocumentsResponse,
            lambda count: memory_pb2.DeleteDocumentsResponse(deleted_count=count),
            work,
        )

    async def statistics(self, bank: Bank) -> memory_pb2.GetBankStatisticsResponse:
        """Tells how full a bank is."""
        return memory_pb2.GetBankStatisticsResponse(statistics=await self._store.statistics(bank.store_id))

    async def _known(self, bank: Bank, documents: Sequence[Any]) -> dict[str, Any]:
        for place, document in enumerate(documents):
            check_name(document.document_id, f"documents[{place}].document_id")
        identifiers = [document.document_id for document in documents]
        return await self._store.get_documents(bank.store_id, identifiers, content=False)

    async def _write(self, bank: Bank, request: Any, plan: Callable[[], Any], response_class: type[Any]) -> Any:
        """Writes what is planned; plans anew when somebody else was faster and the caller has not said what must be there."""
        planned: list[Planned] = []

        def respond(written: list[memory_pb2.DocumentResult]) -> Any:
            results = iter(written)
            return response_class(
                results=[one.unchanged if one.unchanged is not None else next(results) for one in planned]
            )

        async def work(receipt: Receipt | None) -> list[memory_pb2.DocumentResult]:
            for attempt in range(_ATTEMPTS):
                planned[:] = await plan()
                writes = [one.write for one in planned if one.write is not None]
                if not writes and receipt is None:
                    return []
                try:
                    written = await self._store.write_documents(bank.store_id, writes, receipt)
                except (AbortedError, NotFoundError) as error:
                    if error.reason not in ("STALE_REVISION", "DOCUMENT_NOT_FOUND") or attempt == _ATTEMPTS - 1:
                        raise
                else:
                    documents_written(bank, writes)
                    return written
            raise AssertionError

        return await self._once.run(bank, request, response_class, respond, work)


async def _all(plans: Iterable[Callable[[], Awaitable[Planned]]]) -> list[Planned]:
    """Makes plans, a few at a time, in their order; the first that fails ends the others."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(plan: Callable[[], Awaitable[Planned]]) -> Planned:
        async with free:
            return await plan()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(plan)) for plan in plans]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _no_document(bank: Bank, document_id: str) -> NotFoundError:
    message = f"memory bank {bank.bank_id!r} has no document {document_id!r}"
    return NotFoundError(message, resource_type="document", resource_name=document_id, reason="DOCUMENT_NOT_FOUND")
