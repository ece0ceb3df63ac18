"""The embedded store: banks in a folder, as `services.memory.ports.Store` promises them."""

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from caravan.memory.v1 import filters_pb2, keyvalue_pb2, memory_pb2, query_pb2
from services.memory.ports import Store
from services.memory.providers.embedded import (
    chunk_rows,
    document_rows,
    graph_rows,
    pair_rows,
    purging,
    receipts,
)
from services.memory.providers.embedded.allocation import give_back_large_arrays
from services.memory.providers.embedded.bank import OpenBank, Surroundings
from services.memory.providers.embedded.config import EmbeddedConfig
from services.memory.providers.embedded.database import Openings
from services.memory.providers.embedded.failures import not_open
from services.memory.providers.embedded.folder import StoreFolder
from services.memory.providers.embedded.transaction import Transaction
from services.memory.records import (
    BankKind,
    BankSpec,
    ChunkBatch,
    DocumentRecord,
    DocumentWrite,
    EntityFact,
    EntitySelection,
    Facts,
    GraphCounts,
    GraphDeletion,
    GraphSnapshot,
    KeptReceipt,
    Match,
    Receipt,
    RelationFact,
    RelationSelection,
    Selection,
    WordQuery,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")


class EmbeddedStore(Store):
    """Banks in a folder of this process: SQLite for what is true, indexes in memory for what is searched."""

    def __init__(self, config: EmbeddedConfig, clock: Callable[[], float] = time.time) -> None:
        """Makes the store; `start` opens it.

        Args:
            config: Where banks are and how much runs at a time.
            clock: The time in seconds since the epoch.
        """
        self._config = config
        self._clock = clock
        self._folder = StoreFolder(config.folder)
        self._banks: dict[str, OpenBank] = {}
        # One call at a time opens, closes or writes a bank.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._compacting: set[str] = set()
        self._reading = 0
        self._readers = ThreadPoolExecutor(config.search_threads, thread_name_prefix="memory-read")
        self._writers = ThreadPoolExecutor(config.write_threads, thread_name_prefix="memory-write")
        self._builders = ThreadPoolExecutor(1, thread_name_prefix="memory-build")
        self._stagers = ThreadPoolExecutor(config.write_threads, thread_name_prefix="memory-stage")
        self._around = Surroundings(config, clock, Openings(config.max_open_databases), self._stagers)

    async def start(self) -> None:
        """Takes the folder, and removes what an interrupted drop has left."""
        give_back_large_arrays()
        await self._in(self._writers, self._folder.acquire)

    async def stop(self) -> None:
        """Ends what runs behind the calls, keeps snapshots, and lets others take the folder."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        for bank_id in list(self._banks):
            await self.close_bank(bank_id)
        for executor in (self._readers, self._writers, self._builders, self._stagers):
            await asyncio.to_thread(executor.shutdown)
        await asyncio.to_thread(self._folder.release)

    # Banks.

    async def open_bank(self, spec: BankSpec) -> None:
        """Makes a bank, or attaches to the one that is there and loads its index."""

        async def opened() -> None:
            known = self._banks.get(spec.bank_id)
            if known is None or known.spec != spec:
                folder = self._folder.bank(spec.bank_id)
                bank = await self._in(self._writers, lambda: OpenBank(spec, folder, self._around))
                self._banks[spec.bank_id] = bank

        await self._in_turn(spec.bank_id, opened)

    async def close_bank(self, bank_id: str) -> None:
        """Frees what an open bank holds in memory."""

        async def closed() -> None:
            bank = self._banks.pop(bank_id, None)
            if bank is not None:
                await self._in(self._writers, bank.close)

        await self._in_turn(bank_id, closed)

    async def drop_bank(self, bank_id: str) -> None:
        """Deletes a bank with everything in it."""

        async def gone() -> None:
            bank = self._banks.pop(bank_id, None)
            await self._in(self._writers, lambda: self._drop(bank_id, bank))

        await self._in_turn(bank_id, gone)

    def _drop(self, bank_id: str, bank: OpenBank | None) -> None:
        grave = self._folder.put_aside(bank_id)
        if bank is not None:
            bank.drop()
        if grave is not None:
            shutil.rmtree(grave, ignore_errors=True)

    async def statistics(self, bank_id: str) -> memory_pb2.BankStatistics:
        """Tells how full a bank is."""
        bank = self._bank(bank_id)
        return await self._in_reader(bank.statistics)

    async def purge(self, bank_id: str, limit: int) -> int:
        """Deletes what has expired; returns how many."""
        return await self._write(bank_id, lambda tx: purging.purge(tx, limit))

    # Documents.

    async def write_documents(
        self, bank_id: str, writes: Sequence[DocumentWrite], receipt: Receipt | None = None
    ) -> list[memory_pb2.DocumentResult]:
        """Writes documents with their chunks and facts."""
        graph = self._bank(bank_id).spec.kind is BankKind.GRAPH
        return await self._write(bank_id, lambda tx: document_rows.write(tx, writes, graph=graph), receipt)

    async def get_documents(
        self, bank_id: str, document_ids: Sequence[str], *, content: bool = True
    ) -> dict[str, DocumentRecord]:
        """Returns documents by identifier."""
        return await self._read(
            bank_id, lambda connection, now: document_rows.get(connection, document_ids, now, content=content)
        )

    async def list_documents(
        self, bank_id: str, *, after: str, limit: int, where: filters_pb2.MetadataFilter | None = None
    ) -> list[memory_pb2.StoredDocument]:
        """Returns a page of documents."""
        return await self._read(
            bank_id, lambda connection, now: document_rows.page(connection, after, limit, where, now)
        )

    async def delete_documents(self, bank_id: str, selection: Selection, receipt: Receipt | None = None) -> int:
        """Deletes documents; returns how many."""
        return await self._write(bank_id, lambda tx: document_rows.delete(tx, selection), receipt)

    # Chunks.

    async def insert_chunks(
        self, bank_id: str, batch: ChunkBatch, expires_at: float | None, receipt: Receipt | None = None
    ) -> None:
        """Inserts chunks that stand for themselves."""

        def insert(tx: Transaction) -> None:
            document_rows.drop_expired(tx, sorted({chunk.document_id for chunk in batch.chunks}))
            chunk_rows.insert_free(tx, batch, expires_at)

        await self._write(bank_id, insert, receipt)

    async def delete_chunks(self, bank_id: str, chunk_ids: Sequence[str], receipt: Receipt | None = None) -> int:
        """Deletes chunks; returns how many there were."""
        return await self._write(bank_id, lambda tx: purging.delete_chunks(tx, chunk_ids), receipt)

    async def search_vectors(
        self,
        bank_id: str,
        vector: "NDArray[np.float32]",
        k: int,
        *,
        where: filters_pb2.MetadataFilter | None = None,
        exact: bool = False,
        width: int | None = None,
    ) -> list[Match]:
        """Finds the chunks with the nearest vectors."""
        bank = self._bank(bank_id)
        index = bank.index
        if not self._reading:
            # Nobody else wants the time, and handing a search of a fraction of a millisecond to a thread takes as long as the search.
            found = index.search_vectors_at_once(vector, k, bank.now(), where=where, exact=exact, width=width)
            if found is not None:
                return found
        return await self._in_reader(
            lambda: index.search_vectors(vector, k, bank.now(), where=where, exact=exact, width=width)
        )

    async def search_words(
        self, bank_id: str, query: WordQuery, k: int, *, where: filters_pb2.MetadataFilter | None = None
    ) -> list[Match]:
        """Finds the chunks with a query's words."""
        bank = self._bank(bank_id)
        return await self._in_reader(lambda: bank.search_words(query, k, where))

    async def get_chunks(
        self, bank_id: str, keys: Sequence[int], *, embeddings: bool = False
    ) -> dict[int, query_pb2.Chunk]:
        """Returns chunks by key."""
        return await self._read(
            bank_id, lambda connection, now: chunk_rows.get(connection, keys, now, embeddings=embeddings)
        )

    # Values.

    async def get_values(self, bank_id: str, keys: Sequence[str]) -> dict[str, keyvalue_pb2.KeyValueEntry]:
        """Returns entries by key."""
        return await self._read(bank_id, lambda connection, now: pair_rows.get(connection, keys, now))

    async def put_value(
        self,
        bank_id: str,
        key: str,
        value: keyvalue_pb2.TypedValue,
        *,
        expires_at: float | None = None,
        expected_revision: int | None = None,
        receipt: Receipt | None = None,
    ) -> keyvalue_pb2.KeyValueEntry:
        """Sets the value of a key."""

        def put(tx: Transaction) -> keyvalue_pb2.KeyValueEntry:
            return pair_rows.put(tx, key, value, expires_at=expires_at, expected_revision=expected_revision)

        return await self._write(bank_id, put, receipt)

    async def delete_value(
        self, bank_id: str, key: str, *, expected_revision: int | None = None, receipt: Receipt | None = None
    ) -> bool:
        """Deletes a key; returns whether it was there."""
        return await self._write(bank_id, lambda tx: pair_rows.delete(tx, key, expected_revision), receipt)

    async def list_values(
        self, bank_id: str, *, prefix: str, after: str, limit: int, keys_only: bool = False
    ) -> list[keyvalue_pb2.KeyValueEntry]:
        """Returns a page of entries."""
        return await self._read(
            bank_id,
            lambda connection, now: pair_rows.page(connection, (prefix, after), limit, now, keys_only=keys_only),
        )

    # The graph.

    async def upsert_graph(self, bank_id: str, facts: Facts, receipt: Receipt | None = None) -> GraphCounts:
        """Adds entities and relations, or merges them into those that are there."""
        return await self._write(bank_id, lambda tx: graph_rows.tell(tx, facts, None, ()), receipt)

    async def delete_graph(self, bank_id: str, deletion: GraphDeletion, receipt: Receipt | None = None) -> GraphCounts:
        """Deletes entities and relations; returns how many."""
        return await self._write(bank_id, lambda tx: graph_rows.delete(tx, deletion), receipt)

    async def get_entities(self, bank_id: str, keys: Sequence[str]) -> dict[str, EntityFact]:
        """Returns entities by key."""
        return await self._read_graph(bank_id, lambda connection, _: graph_rows.entities_of(connection, keys))

    async def list_entities(self, bank_id: str, selection: EntitySelection, limit: int) -> list[EntityFact]:
        """Returns a page of entities."""
        return await self._read_graph(
            bank_id, lambda connection, _: graph_rows.page_of_entities(connection, selection, limit)
        )

    async def list_relations(self, bank_id: str, selection: RelationSelection, limit: int) -> list[RelationFact]:
        """Returns a page of relations."""
        return await self._read_graph(
            bank_id, lambda connection, _: graph_rows.page_of_relations(connection, selection, limit)
        )

    async def graph_revision(self, bank_id: str) -> int:
        """Returns the revision of a bank's graph."""
        return await self._read(bank_id, lambda connection, _: graph_rows.revision(connection))

    async def load_graph(self, bank_id: str) -> GraphSnapshot:
        """Returns the whole graph of a bank."""
        return await self._read_graph(bank_id, lambda connection, _: graph_rows.snapshot(connection))

    # Receipts.

    async def find_receipt(self, bank_id: str, rpc: str, request_id: str) -> KeptReceipt | None:
        """Returns the receipt that an earlier mutation left."""
        return await self._read(bank_id, lambda connection, now: receipts.find(connection, rpc, request_id, now))

    # How it is run.

    def _bank(self, bank_id: str) -> OpenBank:
        bank = self._banks.get(bank_id)
        if bank is None:
            raise not_open(bank_id)
        return bank

    async def _read(self, bank_id: str, action: Callable[[Any, float], T]) -> T:
        bank = self._bank(bank_id)
        return await self._in_reader(lambda: bank.read(action))

    async def _read_graph(self, bank_id: str, action: Callable[[Any, float], T]) -> T:
        """Reads the graph, after what expired documents alone told of is gone."""
        if await self._read(bank_id, purging.has_expired_documents):
            await self._write(bank_id, purging.purge_documents)
        return await self._read(bank_id, action)

    async def _write(self, bank_id: str, action: Callable[[Transaction], T], receipt: Receipt | None = None) -> T:
        bank = self._bank(bank_id)

        async def written() -> T:
            result = await self._in(self._writers, lambda: bank.write(action, receipt))
            if bank.wants_upkeep:
                self._begin(self._keep_up(bank))
            if bank.wants_compaction and bank_id not in self._compacting:
                self._compacting.add(bank_id)
                self._begin(self._compact(bank))
            return result

        return await self._in_turn(bank_id, written)

    async def _keep_up(self, bank: OpenBank) -> None:
        async def kept() -> None:
            if self._banks.get(bank.spec.bank_id) is bank and bank.wants_upkeep:
                await self._in(self._writers, bank.keep_up)

        await self._in_turn(bank.spec.bank_id, kept)

    async def _compact(self, bank: OpenBank) -> None:
        async def adopted() -> None:
            if self._banks.get(bank.spec.bank_id) is bank:
                await self._in(self._writers, lambda: bank.adopt(index))

        try:
            index = await self._in(self._builders, bank.rebuilt)
            await self._in_turn(bank.spec.bank_id, adopted)
        finally:
            self._compacting.discard(bank.spec.bank_id)

    async def _in_turn(self, bank_id: str, action: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs what changes a bank after those before it, and, once begun, to its end even if the caller goes away."""
        turn = self._turns.get(bank_id)
        if turn is None:
            turn = self._turns[bank_id] = asyncio.Lock()
        await turn.acquire()

        async def run() -> T:
            try:
                return await action()
            finally:
                turn.release()

        return await asyncio.shield(self._begin(run()))

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts work that goes on without its caller; errors of work that nobody waits for are its own log's business."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _in_reader(self, action: Callable[[], T]) -> T:
        self._reading += 1
        try:
            return await self._in(self._readers, action)
        finally:
            self._reading -= 1

    @staticmethod
    async def _in(executor: Executor, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, action)
