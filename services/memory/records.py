"""What the domain and the stores hand each other. Where a generated message says it all, it is the record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from caravan.memory.v1 import filters_pb2, graph_pb2, memory_pb2, query_pb2
from caravan.registry.v1 import memory_banks_pb2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class BankKind(Enum):
    """Kinds of bank, by the names of `MemoryBankParams`' members."""

    VECTOR = "vector"
    KEYWORD = "keyword"
    KEYVALUE = "keyvalue"
    GRAPH = "graph"


@dataclass(frozen=True, slots=True)
class BankSpec:
    """What a bank is. It never changes."""

    bank_id: str
    """Identifier in the store: the bank's `provider_memory_bank_id`."""

    params: memory_banks_pb2.MemoryBankParams
    """Kind and parameters, every default filled in."""

    dimension: int | None = None
    """Length of the vectors. None: the bank has none."""

    @property
    def kind(self) -> BankKind:
        """Kind of the bank."""
        return BankKind(self.params.WhichOneof("params"))

    @property
    def has_words(self) -> bool:
        """Whether chunks are found by their words: in every bank of chunks, so that vector banks can be searched both ways."""
        return self.kind is not BankKind.KEYVALUE

    @property
    def language(self) -> str:
        """ISO 639-1 code of the language of stemming and stop words."""
        return self.params.keyword.language or "en"

    @property
    def metric(self) -> memory_banks_pb2.VectorMetric.ValueType:
        """How vectors are compared; never UNSPECIFIED."""
        return self.params.vector.metric or memory_banks_pb2.VECTOR_METRIC_COSINE

    @property
    def index(self) -> memory_banks_pb2.VectorIndex.ValueType:
        """How vectors are searched; never UNSPECIFIED."""
        return self.params.vector.index or memory_banks_pb2.VECTOR_INDEX_HNSW


@dataclass(frozen=True, slots=True, eq=False)
class ChunkBatch:
    """Chunks to be written, with their vectors."""

    chunks: Sequence[query_pb2.Chunk]
    """The chunks without `embedding`. `chunk_id`, `document_id`, `content` and `token_count` are set, `location` where it is known.
    `metadata` is the chunk's own: a document's chunks have none, the document's is added when they are read. Words are those of the
    content's texts."""

    vectors: "NDArray[np.float32] | None" = None
    """Vectors in the chunks' order, shape (chunks, dimension), finite; with the cosine metric none is zero. None: the bank has no
    vectors."""


@dataclass(frozen=True, slots=True, eq=False)
class EntityFact:
    """An entity as one source tells of it."""

    key: str
    """`services.memory.facts.entity_key` of its name; identifies it in the bank."""

    entity: graph_pb2.Entity
    """The entity; `document_ids` tells the sources."""

    vector: "NDArray[np.float32] | None" = None
    """Vector of its name and description. None: matched by words, or the one that it has stays."""


@dataclass(frozen=True, slots=True, eq=False)
class RelationFact:
    """A relation as one source tells of it. Subject, type and object identify it in the bank."""

    subject_key: str
    """`entity_key` of the subject."""

    object_key: str
    """`entity_key` of the object."""

    relation: graph_pb2.Relation
    """The relation; `document_ids` tells the sources."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Entities and relations to be written."""

    entities: Sequence[EntityFact] = ()
    """The entities, each key once."""

    relations: Sequence[RelationFact] = ()
    """The relations, each once. Their ends are in `entities` or in the bank."""

    mentions: Sequence[tuple[int, str]] = ()
    """Which chunk of the document tells of which entity: index in the write's `ChunkBatch`, entity key."""


@dataclass(frozen=True, slots=True, eq=False)
class DocumentWrite:
    """One document to be inserted, replaced or changed."""

    document: memory_pb2.StoredDocument
    """The document as it is to be. The store sets `revision`, `inserted_at` (kept from the one before) and `updated_at`."""

    recipe: str
    """How the chunks were made of the content; the domain's business, kept and given back."""

    batch: ChunkBatch | None = None
    """Its chunks, instead of all it has. None: they stay, and so does `content`, which `document` then leaves out; the document must
    exist."""

    facts: Facts | None = None
    """What it tells of, in a graph bank, instead of what it told. None: that stays, unless `batch` is set."""

    expected_revision: int | None = None
    """Refuses the write unless the document has this revision. 0: unless it does not exist. None: whatever it has."""


@dataclass(frozen=True, slots=True, eq=False)
class DocumentRecord:
    """One document as it is kept."""

    document: memory_pb2.StoredDocument
    """The document."""

    recipe: str
    """As it was written."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Some documents of a bank. Exactly one of the fields is set."""

    document_ids: Sequence[str] = ()
    """Those with these identifiers."""

    filter: filters_pb2.MetadataFilter | None = None
    """Those whose metadata fit."""

    everything: bool = False
    """All of them, and all chunks that stand for themselves."""


@dataclass(frozen=True, slots=True)
class Match:
    """One chunk that a search has found."""

    key: int
    """The store's name of the chunk. It is never given to another one, also not to the chunk's successor."""

    score: float
    """Raw score of the search; higher is better, always finite."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a keyword query: letters, digits and marks only."""

    text: str
    """The word as it was written."""

    prefix: bool = False
    """Whether words that begin with it fit too. It is then neither stemmed nor a stop word."""


@dataclass(frozen=True, slots=True)
class WordQuery:
    """A parsed keyword query."""

    words: Sequence[Word] = ()
    """Words, each of which adds to the score. Without phrases a chunk must hold one of them."""

    phrases: Sequence[tuple[str, ...]] = ()
    """Words that must stand one after the other. A chunk must hold every phrase."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Makes a repeated mutation return the first one's result."""

    rpc: str
    """Name of the RPC."""

    request_id: str
    """The caller's."""

    fingerprint: bytes
    """Tells this request from others that have the same request_id."""

    respond: Callable[[Any], Message]
    """Makes the RPC's response of what the write returns. The store calls it inside the transaction and keeps the serialized response."""


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt as it is kept."""

    fingerprint: bytes
    """As it was written."""

    response: bytes
    """The serialized response."""


@dataclass(frozen=True, slots=True)
class GraphCounts:
    """What a change of a graph did."""

    entities: int = 0
    """Number of entities that were added, or deleted."""

    relations: int = 0
    """Number of relations that were added, or deleted."""


@dataclass(frozen=True, slots=True, eq=False)
class GraphSnapshot:
    """The whole graph of a bank at one moment."""

    revision: int
    """Revision of the graph."""

    entities: Sequence[EntityFact] = ()
    """The entities in the order of their keys, `document_ids` filled."""

    relations: Sequence[RelationFact] = ()
    """The relations, `document_ids` filled."""

    mentions: Sequence[tuple[int, str]] = ()
    """Which chunk tells of which entity: chunk key (as in `Match`), entity key."""

    valid_until: float | None = None
    """When the first of it expires, in seconds since the epoch. None: never."""


@dataclass(frozen=True, slots=True)
class EntitySelection:
    """Some entities of a graph, in the order of their keys."""

    after: str = ""
    """Only those whose key is greater."""

    prefix: str = ""
    """Only those whose key begins with this."""

    entity_type: str = ""
    """Only those of this type. Empty: all."""

    document_id: str = ""
    """Only those that this document tells of. Empty: all."""


@dataclass(frozen=True, slots=True)
class RelationSelection:
    """Some relations of a graph, in the order of (subject key, relation type, object key)."""

    after: tuple[str, str, str] | None = None
    """Only those that come later."""

    entity_key: str | None = None
    """Only those of this entity. None: all."""

    outgoing: bool = True
    """With `entity_key`: those that go out from it."""

    incoming: bool = True
    """With `entity_key`: those that lead to it."""

    relation_types: Sequence[str] = ()
    """Only those of these types. Empty: all."""

    document_id: str = ""
    """Only those that this document tells of. Empty: all."""


@dataclass(frozen=True, slots=True)
class GraphDeletion:
    """Entities and relations to be deleted."""

    entity_keys: Sequence[str] = ()
    """Entities, with their relations."""

    relations: Sequence[tuple[str, str, str]] = ()
    """Relations by (subject key, relation type, object key); an empty type stands for every type."""
