"""An open bank: its database and its index, kept together."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from caravan.memory.v1 import filters_pb2, memory_pb2
from caravan.registry.v1 import memory_banks_pb2
from services.core.errors import CaravanError, FailedPreconditionError
from services.memory.analysis import language
from services.memory.providers.embedded import chunk_rows, loading, receipts, snapshot
from services.memory.providers.embedded.config import EmbeddedConfig
from services.memory.providers.embedded.database import Database, Openings
from services.memory.providers.embedded.failures import dropped, translated
from services.memory.providers.embedded.folder import size_of
from services.memory.providers.embedded.index import BankIndex
from services.memory.providers.embedded.loading import IndexKind
from services.memory.providers.embedded.transaction import Totals, Transaction, timestamp
from services.memory.providers.embedded.vector_index import VectorLayout
from services.memory.records import BankSpec, Match, Receipt, WordQuery

_SNAPSHOT_FROM = 2000
_SNAPSHOT_GROWTH = 2
_DEAD_FROM = 5000
_DEAD_SHARE = 0.5

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all banks of a store share."""

    config: EmbeddedConfig
    """The store's configuration."""
    clock: Callable[[], float]
    """The time in seconds since the epoch."""
    openings: Openings
    """Keeps the number of open files within its bound."""
    stagers: Executor
    """Threads that put vectors into graphs while others write the database."""


class OpenBank:
    """One bank. All methods block; one thread at a time may call those that write."""

    def __init__(self, spec: BankSpec, folder: Path, around: Surroundings) -> None:
        """Opens the bank in a folder, or makes it there.

        Args:
            spec: What it is.
            folder: Its folder.
            around: What all banks share.

        Raises:
            FailedPreconditionError: It is another one.
        """
        self.spec = spec
        self.folder = folder
        self._around = around
        self._dropped = threading.Event()
        self._staging: Future[None] | None = None
        self._texts: Sequence[str] = ()
        self._altered: list[str] = []
        with translated():
            folder.mkdir(parents=True, exist_ok=True)
            durable = around.config.durability == "power"
            self.database = Database(folder, durable=durable, openings=around.openings)
            try:
                self._attach()
            except BaseException:
                self.database.close()
                raise

    def _attach(self) -> None:
        with self.database.transaction() as connection:
            row = connection.execute("SELECT params, dimension FROM bank").fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO bank (bank_id, params, dimension, updated_at) VALUES (?, ?, ?, ?)",
                    (self.spec.bank_id, self._params(), self.spec.dimension, self._around.clock()),
                )
            elif row[1] != self.spec.dimension or not _same(row[0], self.spec.params):
                raise FailedPreconditionError(
                    f"memory bank {self.spec.bank_id!r} is here already with other parameters, which never change; register the new one "
                    "under another provider_memory_bank_id, or unregister the old one first",
                    reason="BANK_DIFFERS",
                )
        self._kind = IndexKind(self._layout(), language(self.spec.language) if self.spec.has_words else None)
        with self.database.reading() as connection:
            self.totals = _totals(connection)
            self.index = loading.load(connection, self.folder, self._kind, self._around.clock())
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
        keys = self.index.keys()
        self._last_key = max(row[0] if row else 0, int(keys[-1]) if len(keys) else 0)
        self._kept_size = self.index.size
        self._kept_dead = 0

    def _params(self) -> bytes:
        return self.spec.params.SerializeToString(deterministic=True)

    def _layout(self) -> VectorLayout | None:
        if self.spec.dimension is None:
            return None
        config = self._around.config
        return VectorLayout(
            dimension=self.spec.dimension,
            metric=self.spec.metric,
            graph=self.spec.index == memory_banks_pb2.VECTOR_INDEX_HNSW,
            links=config.hnsw_links,
            construction_width=config.hnsw_construction_width,
            threads=config.index_threads,
        )

    # Reading.

    def read(self, action: Callable[[Any, float], T]) -> T:
        """Runs what reads the database: it gets a connection that sees one moment, and the time."""
        try:
            with translated(), self.database.reading() as connection:
                return action(connection, self._around.clock())
        except CaravanError as error:
            if self._dropped.is_set():
                raise dropped(self.spec.bank_id) from error
            raise

    def now(self) -> float:
        """Returns the time."""
        return self._around.clock()

    def search_words(self, query: WordQuery, k: int, where: filters_pb2.MetadataFilter | None) -> list[Match]:
        """Finds chunks by words; see `Store.search_words`."""
        index = self.index

        def texts(ordinals: Sequence[int]) -> list[str]:
            keys = index.keys()[list(ordinals)].tolist()
            found = self.read(lambda connection, _: chunk_rows.texts(connection, keys))
            return [found.get(key, "") for key in keys]

        return index.search_words(query, k, self.now(), where=where, texts=texts)

    def statistics(self) -> memory_pb2.BankStatistics:
        """Tells how full the bank is."""
        updated_at = self.read(lambda connection, _: connection.execute("SELECT updated_at FROM bank").fetchone()[0])
        totals = self.totals
        with translated():
            disk_bytes = size_of(self.folder)
        return memory_pb2.BankStatistics(
            document_count=totals.documents + totals.pairs,
            chunk_count=totals.chunks,
            token_count=totals.tokens,
            memory_bytes=self.index.memory_bytes,
            disk_bytes=disk_bytes,
            entity_count=totals.entities,
            relation_count=totals.relations,
            updated_at=timestamp(updated_at),
        )

    # Writing.

    def write(self, action: Callable[[Transaction], T], receipt: Receipt | None = None) -> T:
        """Runs what writes in one transaction; the index follows when it is committed.

        Raises:
            AbortedError: The bank was dropped, or there is such a receipt.
            ResourceExhaustedError: There is no room.
        """
        if self._dropped.is_set():
            raise dropped(self.spec.bank_id)
        now = self._around.clock()
        try:
            with translated(), self.database.transaction() as connection:
                tx = Transaction(connection, now, self._new_keys, self._stage)
                receipts.check(tx, receipt)
                result = action(tx)
                receipts.keep(tx, receipt, result)
                tx.execute("UPDATE bank SET updated_at = ?", now)
                self._staged()
        except BaseException:
            self._unstage()
            raise
        self.index.publish(tx.changes, now)
        self.totals += tx.totals
        self._altered += tx.changes.altered_documents
        return result

    def _new_keys(self, count: int) -> range:
        first = self._last_key + 1
        self._last_key += count
        return range(first, first + count)

    def _stage(self, keys: Sequence[int], vectors: Sequence[NDArray[np.float32]], texts: Sequence[str]) -> None:
        """Gives new chunks their places in the index. Vectors go in in another thread while this one writes the database."""
        if not keys:
            return
        index = self.index
        index.reserve(keys)
        if index.vectors is not None:
            self._staging = self._around.stagers.submit(index.vectors.add, np.concatenate(vectors))
        if index.words is not None:
            self._texts = texts

    def _staged(self) -> None:
        """Ends what `_stage` has begun."""
        texts, self._texts = self._texts, ()
        if texts and self.index.words is not None:
            self.index.words.add(texts)
        staging, self._staging = self._staging, None
        if staging is not None:
            staging.result()

    def _unstage(self) -> None:
        """After a failure: fills the places in the index all the same. They stay empty for everybody until the index is built again."""
        try:
            self._staged()
        finally:
            if not self.index.complete:
                _log.warning("the index of memory bank %r was left half done and is built again", self.spec.bank_id)
                with self.database.reading() as connection:
                    self.index = loading.build(connection, self._kind, self._around.clock())

    # Upkeep.

    @property
    def wants_upkeep(self) -> bool:
        """Whether the index has grown so much that it should be tuned or kept on disk."""
        vectors = self.index.vectors
        return self._snapshot_due or (vectors is not None and vectors.wants_tuning)

    @property
    def wants_compaction(self) -> bool:
        """Whether so much of the index is dead that it should be built again."""
        # What has expired and is not purged is dead in a new index too.
        return self.index.dead - self._kept_dead > max(_DEAD_FROM, _DEAD_SHARE * self.index.size)

    @property
    def _snapshot_due(self) -> bool:
        return self.index.size >= max(_SNAPSHOT_FROM, _SNAPSHOT_GROWTH * self._kept_size)

    def keep_up(self) -> None:
        """Tunes the index, and keeps it on disk when it has grown. Nobody may write meanwhile."""
        if self.index.vectors is not None:
            self.index.vectors.tune()
        if self._snapshot_due:
            self._snapshot()

    def rebuilt(self) -> BankIndex:
        """Builds the index again, without what is dead. Others may write meanwhile; `adopt` catches up with them."""
        self._altered = []
        return self.read(lambda connection, now: loading.build(connection, self._kind, now))

    def adopt(self, index: BankIndex) -> None:
        """Puts a rebuilt index in the place of the one there is. Nobody may write meanwhile."""
        altered = list(dict.fromkeys(self._altered))
        self.read(lambda connection, now: loading.catch_up(connection, index, now, altered=altered))
        self.index = index
        self._kept_dead = index.dead
        self._snapshot()

    def _snapshot(self) -> None:
        self._kept_size = self.index.size
        if not self._dropped.is_set():
            index = self.index
            snapshot.write(self.folder, index.keys(), index.vectors, index.words, self._kind.layout)

    def close(self) -> None:
        """Closes the bank; a snapshot makes it quick to open again."""
        if self.index.size != self._kept_size and self.index.size >= _SNAPSHOT_FROM:
            self._snapshot()
        self.database.close()

    def drop(self) -> None:
        """Says that the bank is gone: calls that run fail or end as if before."""
        self._dropped.set()
        self.database.close()


def _same(kept: bytes, params: memory_banks_pb2.MemoryBankParams) -> bool:
    return memory_banks_pb2.MemoryBankParams.FromString(kept) == params


def _totals(connection: Any) -> Totals:
    counted = {
        "documents": "SELECT count(*) FROM documents",
        "chunks": "SELECT count(*) FROM chunks",
        "tokens": "SELECT coalesce(sum(tokens), 0) FROM chunks",
        "pairs": "SELECT count(*) FROM pairs",
        "entities": "SELECT count(*) FROM entities",
        "relations": "SELECT count(*) FROM relations",
    }
    return Totals(**{name: connection.execute(statement).fetchone()[0] for name, statement in counted.items()})
