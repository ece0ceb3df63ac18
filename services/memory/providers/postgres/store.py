"""`PostgresStore`: the port over PostgreSQL with pgvector."""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from caravan.memory.v1 import filters_pb2, keyvalue_pb2, memory_pb2, query_pb2
from services.core.errors import AbortedError, DeadlineExceededError
from services.core.readiness import Readiness
from services.memory.ports import Store
from services.memory.providers.postgres import receipts, upkeep
from services.memory.providers.postgres.banks import Bank, Banks
from services.memory.providers.postgres.chunks import Chunks
from services.memory.providers.postgres.config import PostgresConfig
from services.memory.providers.postgres.database import Database
from services.memory.providers.postgres.documents import Documents
from services.memory.providers.postgres.graph import Graph
from services.memory.providers.postgres.search import VectorSearch, Wanted
from services.memory.providers.postgres.values import Values
from services.memory.providers.postgres.word_search import WordSearch
from services.memory.records import (
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


class PostgresStore(Store):
    """Banks in a database that any number of replicas share. The promises are `Store`'s."""

    def __init__(
        self,
        config: PostgresConfig,
        clock: Callable[[], float] = time.time,
        readiness: Readiness | None = None,
    ) -> None:
        """Makes the store; nothing is connected yet.

        Args:
            config: Where the database is and how to use it.
            clock: Tells the present time in seconds since the epoch.
            readiness: Told when the server goes and when it comes back.
        """
        self._clock = clock
        self._database = Database(config, readiness or Readiness())
        self._banks = Banks(self._database)
        self._documents = Documents(self._database)
        self._chunks = Chunks(self._database)
        self._vector_search = VectorSearch(self._database, config.search_width)
        self._word_search = WordSearch(self._database)
        self._values = Values(self._database)
        self._graph = Graph(self._database)

    async def start(self) -> None:
        """Connects, and makes the tables or brings them to this version."""
        await self._database.start()
        with suppress(DeadlineExceededError):
            await self._banks.clear_dropped(lock_seconds=0.5)

    async def stop(self) -> None:
        """Closes all connections."""
        await self._database.stop()

    async def open_bank(self, spec: BankSpec) -> None:
        """Makes a bank, or attaches to the one that is there."""
        await self._banks.open(spec, self._now())

    async def close_bank(self, bank_id: str) -> None:
        """Forgets that the bank is open here."""
        self._banks.forget(bank_id)

    async def drop_bank(self, bank_id: str) -> None:
        """Deletes a bank with everything in it."""
        await self._banks.drop(bank_id)

    async def statistics(self, bank_id: str) -> memory_pb2.BankStatistics:
        """Tells how full a bank is."""
        return await self._on(bank_id, lambda bank: upkeep.statistics(self._database, bank))

    async def purge(self, bank_id: str, limit: int) -> int:
        """Deletes what has expired; returns how many."""
        return await self._on(bank_id, lambda bank: upkeep.purge(self._database, bank, limit, self._now()))

    async def write_documents(
        self, bank_id: str, writes: Sequence[DocumentWrite], receipt: Receipt | None = None
    ) -> list[memory_pb2.DocumentResult]:
        """Writes documents with their chunks and facts."""
        return await self._on(bank_id, lambda bank: self._documents.write(bank, writes, receipt, self._now()))

    async def get_documents(
        self, bank_id: str, document_ids: Sequence[str], *, content: bool = True
    ) -> dict[str, DocumentRecord]:
        """Returns those of the documents that exist."""
        return await self._on(
            bank_id, lambda bank: self._documents.get(bank, document_ids, self._now(), content=content)
        )

    async def list_documents(
        self, bank_id: str, *, after: str, limit: int, where: filters_pb2.MetadataFilter | None = None
    ) -> list[memory_pb2.StoredDocument]:
        """Returns documents in the order of their identifiers."""
        return await self._on(bank_id, lambda bank: self._documents.list(bank, after, limit, where, self._now()))

    async def delete_documents(self, bank_id: str, selection: Selection, receipt: Receipt | None = None) -> int:
        """Deletes documents; returns how many."""
        return await self._on(bank_id, lambda bank: self._documents.delete(bank, selection, receipt, self._now()))

    async def insert_chunks(
        self, bank_id: str, batch: ChunkBatch, expires_at: float | None, receipt: Receipt | None = None
    ) -> None:
        """Inserts chunks that stand for themselves."""
        await self._on(bank_id, lambda bank: self._chunks.insert(bank, batch, expires_at, receipt, self._now()))

    async def delete_chunks(self, bank_id: str, chunk_ids: Sequence[str], receipt: Receipt | None = None) -> int:
        """Deletes chunks; returns how many there were."""
        return await self._on(bank_id, lambda bank: self._chunks.delete(bank, chunk_ids, receipt, self._now()))

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
        """Finds the chunks whose vectors are most like one."""
        return await self._on(
            bank_id,
            lambda bank: self._vector_search.find(
                bank, Wanted(vector, k, where, self._now()), exact=exact, width=width
            ),
        )

    async def search_words(
        self, bank_id: str, query: WordQuery, k: int, *, where: filters_pb2.MetadataFilter | None = None
    ) -> list[Match]:
        """Finds the chunks that hold a query's words."""
        return await self._on(bank_id, lambda bank: self._word_search.find(bank, query, k, self._now(), where=where))

    async def get_chunks(
        self, bank_id: str, keys: Sequence[int], *, embeddings: bool = False
    ) -> dict[int, query_pb2.Chunk]:
        """Returns those of the chunks that still exist."""
        return await self._on(bank_id, lambda bank: self._chunks.get(bank, keys, self._now(), embeddings=embeddings))

    async def get_values(self, bank_id: str, keys: Sequence[str]) -> dict[str, keyvalue_pb2.KeyValueEntry]:
        """Returns those of the entries that exist."""
        return await self._on(bank_id, lambda bank: self._values.get(bank, keys, self._now()))

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
        entry = keyvalue_pb2.KeyValueEntry(key=key, value=value)
        return await self._on(
            bank_id,
            lambda bank: self._values.put(bank, entry, expires_at, expected_revision, receipt, self._now()),
        )

    async def delete_value(
        self, bank_id: str, key: str, *, expected_revision: int | None = None, receipt: Receipt | None = None
    ) -> bool:
        """Deletes a key; returns whether it was there."""
        return await self._on(
            bank_id, lambda bank: self._values.delete(bank, key, expected_revision, receipt, self._now())
        )

    async def list_values(
        self, bank_id: str, *, prefix: str, after: str, limit: int, keys_only: bool = False
    ) -> list[keyvalue_pb2.KeyValueEntry]:
        """Returns entries in the order of their keys."""
        return await self._on(
            bank_id,
            lambda bank: self._values.list(bank, prefix, after, limit, self._now(), keys_only=keys_only),
        )

    async def upsert_graph(self, bank_id: str, facts: Facts, receipt: Receipt | None = None) -> GraphCounts:
        """Adds or merges facts; returns how many are new."""
        return await self._on(bank_id, lambda bank: self._graph.upsert(bank, facts, receipt, self._now()))

    async def delete_graph(self, bank_id: str, deletion: GraphDeletion, receipt: Receipt | None = None) -> GraphCounts:
        """Deletes facts; returns how many."""
        return await self._on(bank_id, lambda bank: self._graph.delete(bank, deletion, receipt, self._now()))

    async def get_entities(self, bank_id: str, keys: Sequence[str]) -> dict[str, EntityFact]:
        """Returns those of the entities that exist."""
        return await self._on(bank_id, lambda bank: self._graph.get_entities(bank, keys, self._now()))

    async def list_entities(self, bank_id: str, selection: EntitySelection, limit: int) -> list[EntityFact]:
        """Returns entities in the order of their keys."""
        return await self._on(bank_id, lambda bank: self._graph.list_entities(bank, selection, limit, self._now()))

    async def list_relations(self, bank_id: str, selection: RelationSelection, limit: int) -> list[RelationFact]:
        """Returns relations in their order."""
        return await self._on(bank_id, lambda bank: self._graph.list_relations(bank, selection, limit, self._now()))

    async def graph_revision(self, bank_id: str) -> int:
        """Returns the revision of a bank's graph."""
        return await self._on(bank_id, self._graph.revision)

    async def load_graph(self, bank_id: str) -> GraphSnapshot:
        """Returns the whole graph of a bank."""
        return await self._on(bank_id, lambda bank: self._graph.load(bank, self._now()))

    async def find_receipt(self, bank_id: str, rpc: str, request_id: str) -> KeptReceipt | None:
        """Returns the receipt that an earlier mutation left."""
        return await self._on(
            bank_id,
            lambda bank: self._database.read(
                lambda connection: receipts.find(connection, bank, rpc, request_id, self._now()), bank_id
            ),
        )

    async def _on(self, bank_id: str, work: Callable[[Bank], Awaitable[T]]) -> T:
        """Does something with an open bank; one that another replica has dropped is not open any more."""
        bank = self._banks.get(bank_id)
        try:
            return await work(bank)
        except AbortedError as error:
            if error.reason == "BANK_DROPPED":
                self._banks.forget_dropped(bank)
            raise

    def _now(self) -> float:
        """The present time, in whole microseconds: what is kept is then what is compared."""
        return round(self._clock() * 1_000_000) / 1_000_000
