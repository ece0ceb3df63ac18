"""The ports of the memory domain: where banks are kept, and what embeds texts.

The promises of `Store` are in its docstrings, and `tests/conformance/memory` holds every adapter to them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caravan.memory.v1 import filters_pb2, keyvalue_pb2, memory_pb2, query_pb2
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

RECEIPT_SECONDS = 24 * 3600
"""How long receipts are kept."""

WORD_LANGUAGES = frozenset(
    ("ar", "da", "de", "el", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ro", "ru", "sv", "ta", "tr")
)
"""Languages that every store stems, ISO 639-1."""


class Store(ABC):
    """Where banks are kept.

    Of every method:

    - A mutation is one transaction: all of it or nothing. When it returns, it survives the loss of this process, and every later read
      of the bank by whatever replica sees it. When its task is cancelled it is done or not done, never half.
    - Reads never show what has expired: not in hits, not in lists. What has expired is absent, to mutations too: an
      insertion over it is the first one (revision 1).
    - Whoever writes at the same time waits; neither sees the other's half. Reads do not wait for writes.
    - With a `receipt` the response is kept for `RECEIPT_SECONDS` in the same transaction. If there is one of the same `rpc` and
      `request_id` already, nothing is written: AbortedError, reason `RECEIPT_EXISTS`. Receipts belong to a bank.
    - Errors: NotFoundError, reason `BANK_NOT_OPEN` (the bank is not open here); AbortedError, reason `BANK_DROPPED` (it was dropped
      meanwhile); ResourceExhaustedError, reason `NO_ROOM` (disk or database full); UnavailableError (the store does not answer).
      Arguments are valid when they arrive: the domain has checked filters, vectors, sizes and the bank's kind.
    - Nothing blocks the event loop. Methods may be called from one event loop at any concurrency.

    Times are seconds since the epoch by the store's clock, which the adapter's constructor takes as `clock: Callable[[], float] =
    time.time`.
    """

    @abstractmethod
    async def start(self) -> None:
        """Opens the store; after a crash it brings everything acknowledged back.

        Raises:
            FailedPreconditionError: It cannot be opened: another process has it, another version wrote it.
            UnavailableError: The server does not answer.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Closes the store. Called once, when no other method runs, also after a `start` that failed."""

    # Banks.

    @abstractmethod
    async def open_bank(self, spec: BankSpec) -> None:
        """Makes a bank, or attaches to the one that is there. Opening an open bank does nothing.

        Raises:
            FailedPreconditionError: There is one with another kind, other parameters or another dimension; reason `BANK_DIFFERS`.
        """

    @abstractmethod
    async def close_bank(self, bank_id: str) -> None:
        """Frees what an open bank holds in this process; its data stay. Closing what is not open is no error."""

    @abstractmethod
    async def drop_bank(self, bank_id: str) -> None:
        """Deletes a bank, open or not, with everything in it, receipts too. Dropping what does not exist is no error.

        Calls on the bank that run meanwhile end, as if before it or with AbortedError. A bank of the same name made later is empty.
        """

    @abstractmethod
    async def statistics(self, bank_id: str) -> memory_pb2.BankStatistics:
        """Tells how full a bank is, without reading through it: sizes are estimates, and what has expired counts until it is purged."""

    @abstractmethod
    async def purge(self, bank_id: str, limit: int) -> int:
        """Deletes up to `limit` expired documents, chunks, values and receipts, with what belongs to them; returns how many."""

    # Documents.

    @abstractmethod
    async def write_documents(
        self, bank_id: str, writes: Sequence[DocumentWrite], receipt: Receipt | None = None
    ) -> list[memory_pb2.DocumentResult]:
        """Writes documents with their chunks and facts.

        A document that is replaced loses all chunks with its `document_id`, also those that `insert_chunks` gave it; it keeps
        `inserted_at`. A chunk whose `chunk_id` is taken replaces the one before, whosesoever it is.

        Args:
            bank_id: The bank, open.
            writes: The documents, each identifier once.
            receipt: Keeps the response.

        Returns:
            The results in the writes' order: INSERTED with revision 1, or UPDATED with the next revision.

        Raises:
            AbortedError: A document has another revision than expected; reason `STALE_REVISION`, metadata `document_id` and `revision`.
            NotFoundError: A write without chunks is of a document that does not exist; reason `DOCUMENT_NOT_FOUND`.
        """

    @abstractmethod
    async def get_documents(
        self, bank_id: str, document_ids: Sequence[str], *, content: bool = True
    ) -> dict[str, DocumentRecord]:
        """Returns those of the documents that exist, by identifier; without `content` when it is not asked for."""

    @abstractmethod
    async def list_documents(
        self, bank_id: str, *, after: str, limit: int, where: filters_pb2.MetadataFilter | None = None
    ) -> list[memory_pb2.StoredDocument]:
        """Returns up to `limit` documents without content whose identifier is greater than `after`, in the order of code points.

        Args:
            bank_id: The bank, open.
            after: Identifier after which to begin. Empty: the first.
            limit: Most documents.
            where: Only documents that fit; see `services.memory.filters`.
        """

    @abstractmethod
    async def delete_documents(self, bank_id: str, selection: Selection, receipt: Receipt | None = None) -> int:
        """Deletes documents with all chunks that have their `document_id`, and with what they alone told of; returns how many documents.

        Chunks that have a selected `document_id`, or fit the filter, without there being such a document, go too and are not counted.
        """

    # Chunks.

    @abstractmethod
    async def insert_chunks(
        self, bank_id: str, batch: ChunkBatch, expires_at: float | None, receipt: Receipt | None = None
    ) -> None:
        """Inserts chunks that stand for themselves. `receipt.respond` gets None.

        A chunk whose `chunk_id` is taken replaces the one before. Where there is a document of the chunk's `document_id`, the chunk
        goes when the document is replaced or deleted, or expires; the document's `chunk_count` is of its own cutting and stays.
        """

    @abstractmethod
    async def delete_chunks(self, bank_id: str, chunk_ids: Sequence[str], receipt: Receipt | None = None) -> int:
        """Deletes chunks by identifier; returns how many there were."""

    @abstractmethod
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
        """Finds the chunks whose vectors are most like one.

        The score is the cosine, the inner product, or 1 / (1 + Euclidean distance), as the bank's metric says. With the cosine metric the
        vector is not zero, and its length does not count.

        Args:
            bank_id: The bank, open, with vectors.
            vector: What to look for, shape (dimension,), finite.
            k: Most matches, at most 10,000.
            where: Only chunks that fit (`services.memory.filters`), applied before the search: k of them whenever k fit.
            exact: Searches all vectors.
            width: Width of the approximate search; at least `k` is used. None: one that finds 0.95 of the true nearest 10 or more.

        Returns:
            The matches, best first; without filter k of them whenever the bank has k.
        """

    @abstractmethod
    async def search_words(
        self, bank_id: str, query: WordQuery, k: int, *, where: filters_pb2.MetadataFilter | None = None
    ) -> list[Match]:
        """Finds the chunks that hold a query's words; the score is BM25, above 0.

        Text and query are cut into runs of letters, digits and marks, without regard to case; words are stemmed, and stop words left
        out, by the bank's language. A query that holds nothing else finds nothing.

        Args:
            bank_id: The bank, open, with words.
            query: What to look for.
            k: Most matches, at most 10,000.
            where: Only chunks that fit, applied before the search.
        """

    @abstractmethod
    async def get_chunks(
        self, bank_id: str, keys: Sequence[int], *, embeddings: bool = False
    ) -> dict[int, query_pb2.Chunk]:
        """Returns those of the chunks that still exist, by key, as hits show them.

        `metadata` is the document's with the chunk's own over it. `embedding` is filled when it is asked for and the bank has vectors:
        as it was written, but for rounding to half precision at most.
        """

    # Values.

    @abstractmethod
    async def get_values(self, bank_id: str, keys: Sequence[str]) -> dict[str, keyvalue_pb2.KeyValueEntry]:
        """Returns those of the entries that exist, by key."""

    @abstractmethod
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
        """Sets the value of a key; returns the entry. `receipt.respond` gets the entry.

        Args:
            bank_id: The bank, open.
            key: The key.
            value: The value.
            expires_at: When it will be gone. None: never.
            expected_revision: Revision that the key must have. 0: it must not exist. None: whatever it has.
            receipt: Keeps the response.

        Raises:
            AbortedError: It has another revision; reason `STALE_REVISION`, metadata `revision`.
        """

    @abstractmethod
    async def delete_value(
        self, bank_id: str, key: str, *, expected_revision: int | None = None, receipt: Receipt | None = None
    ) -> bool:
        """Deletes a key; returns whether it was there. A deletion of what does not exist is no error, whatever revision is expected.

        Raises:
            AbortedError: It has another revision; reason `STALE_REVISION`, metadata `revision`.
        """

    @abstractmethod
    async def list_values(
        self, bank_id: str, *, prefix: str, after: str, limit: int, keys_only: bool = False
    ) -> list[keyvalue_pb2.KeyValueEntry]:
        """Returns up to `limit` entries whose key begins with `prefix` and is greater than `after`, in the order of UTF-8 bytes."""

    # The graph.

    @abstractmethod
    async def upsert_graph(self, bank_id: str, facts: Facts, receipt: Receipt | None = None) -> GraphCounts:
        """Adds entities and relations, or merges them into those that are there by `services.memory.facts`.

        Each fact's `document_ids` are sources; a fact without any is the caller's own. What documents alone tell of goes with the last
        of them (an entity stays while a relation needs it); what the caller told stays until it is deleted. A document that expires
        takes along what it alone told of. `mentions` is empty here: only documents have chunks.

        Returns:
            How many are new.
        """

    @abstractmethod
    async def delete_graph(self, bank_id: str, deletion: GraphDeletion, receipt: Receipt | None = None) -> GraphCounts:
        """Deletes entities with their relations and mentions, and relations, whoever told of them; returns how many."""

    @abstractmethod
    async def get_entities(self, bank_id: str, keys: Sequence[str]) -> dict[str, EntityFact]:
        """Returns those of the entities that exist, by key, without vectors."""

    @abstractmethod
    async def list_entities(self, bank_id: str, selection: EntitySelection, limit: int) -> list[EntityFact]:
        """Returns up to `limit` entities without vectors, in the order of their keys' code points."""

    @abstractmethod
    async def list_relations(self, bank_id: str, selection: RelationSelection, limit: int) -> list[RelationFact]:
        """Returns up to `limit` relations in the order of the code points of (subject key, relation type, object key)."""

    @abstractmethod
    async def graph_revision(self, bank_id: str) -> int:
        """Returns the revision of a bank's graph; it grows with every change of what `load_graph` returns, but for expiry."""

    @abstractmethod
    async def load_graph(self, bank_id: str) -> GraphSnapshot:
        """Returns the whole graph of a bank, of one moment."""

    # Receipts.

    @abstractmethod
    async def find_receipt(self, bank_id: str, rpc: str, request_id: str) -> KeptReceipt | None:
        """Returns the receipt that an earlier mutation left."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """An embedding model."""

    model_id: str
    """Identifier in the registry."""

    dimension: int
    """Length of its vectors."""

    context_length: int | None
    """Most tokens that it reads of a text. None: not known."""

    source: str
    """What its provider calls it; often a Hugging Face id or a folder, by which its tokenizer is found."""


class Embedder(ABC):
    """What turns texts into vectors."""

    @abstractmethod
    async def describe(self, model_id: str) -> EmbeddingModel:
        """Tells about a model.

        Raises:
            FailedPreconditionError: There is no such model, or it embeds nothing.
            UnavailableError: Nobody can tell now.
        """

    @abstractmethod
    async def embed(self, model: EmbeddingModel, dimension: int, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Returns the texts' vectors, shape (texts, dimension), finite.

        Raises:
            FailedPreconditionError: The model is gone.
            UnavailableError: It does not answer.
        """


class Tokenizer(ABC):
    """Cuts texts into tokens."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is; chunks made by tokenizers of one name are alike."""

    @abstractmethod
    def token_ends(self, text: str) -> "NDArray[np.int64]":
        """Returns for each token of a text the code point after its last one, from 0, never falling; special tokens are none.

        Takes time with long texts: call it in a thread.
        """
