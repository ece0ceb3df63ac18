"""The banks that can be used now, and how a registration becomes one."""

from collections.abc import Iterator
from dataclasses import dataclass

from caravan.registry.v1 import memory_banks_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from services.memory.chunking import DEFAULT_CHUNK_SIZE, Window
from services.memory.ports import WORD_LANGUAGES, EmbeddingModel, Tokenizer
from services.memory.records import BankKind, BankSpec


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank that is open."""

    bank_id: str
    """Identifier in the registry; requests name it."""

    spec: BankSpec
    """What it is, in the store."""

    default_ttl: float | None
    """Life of what is inserted without one of its own, in seconds. None: for ever."""

    model: EmbeddingModel | None
    """The model that its texts are embedded by. None: they are not."""

    tokenizer: Tokenizer
    """What its texts are cut by."""

    window: Window
    """How they are cut."""

    @property
    def store_id(self) -> str:
        """Identifier in the store."""
        return self.spec.bank_id


class BankTable:
    """The banks by their identifier in the registry."""

    def __init__(self) -> None:
        """Begins with none."""
        self._banks: dict[str, Bank] = {}

    def __iter__(self) -> Iterator[Bank]:
        """Walks through the banks there are now."""
        return iter(list(self._banks.values()))

    def add(self, bank: Bank) -> None:
        """Adds a bank, or puts it in the place of the one with its identifier."""
        self._banks[bank.bank_id] = bank

    def remove(self, bank_id: str) -> Bank | None:
        """Takes a bank out; returns it if it was there."""
        return self._banks.pop(bank_id, None)

    def find(self, bank_id: str) -> Bank | None:
        """Returns a bank if it is here."""
        return self._banks.get(bank_id)

    def require(self, bank_id: str, *kinds: BankKind) -> Bank:
        """Returns a bank.

        Args:
            bank_id: Identifier in the registry.
            kinds: Kinds that it may be of. None: any.

        Raises:
            NotFoundError: It is not here.
            FailedPreconditionError: It is of another kind.
        """
        bank = self._banks.get(bank_id)
        if bank is None:
            message = f"there is no memory bank {bank_id!r} here; ListMemoryBanks names those there are"
            raise NotFoundError(message, resource_type="memory_bank", resource_name=bank_id, reason="BANK_NOT_FOUND")
        if kinds and bank.spec.kind not in kinds:
            wanted = " or ".join(kind.value for kind in kinds)
            message = f"memory bank {bank_id!r} is a {bank.spec.kind.value} bank, and this needs a {wanted} bank"
            raise FailedPreconditionError(message, reason="WRONG_BANK_KIND")
        return bank


CHUNKED = (BankKind.VECTOR, BankKind.KEYWORD, BankKind.GRAPH)
"""Kinds of bank that hold documents."""


def embedding_model_of(params: memory_banks_pb2.MemoryBankParams) -> str:
    """Returns the embedding model that a registration names; empty: none."""
    return params.vector.embedding_model or params.graph.embedding_model


def spec_of(store_id: str, params: memory_banks_pb2.MemoryBankParams, model: EmbeddingModel | None) -> BankSpec:
    """Returns what a registered bank is, with every default filled in.

    Args:
        store_id: Identifier in the store.
        params: Kind and parameters as registered.
        model: Its embedding model. None: it has none.

    Raises:
        InvalidArgumentError: The parameters do not fit each other, the model, or what is supported.
    """
    filled = memory_banks_pb2.MemoryBankParams()
    filled.CopyFrom(params)
    dimension = model.dimension if model is not None else None
    match BankKind(params.WhichOneof("params")):
        case BankKind.VECTOR:
            vector = filled.vector
            dimension = vector.embedding_dimension or dimension
            if model is not None and dimension is not None and dimension > model.dimension:
                raise InvalidArgumentError.of(
                    "params.vector.embedding_dimension",
                    f"is {dimension} and the vectors of {model.model_id!r} have {model.dimension} components; leave it out",
                    reason="WRONG_DIMENSION",
                )
            vector.embedding_dimension = dimension or 0
            vector.metric = vector.metric or memory_banks_pb2.VECTOR_METRIC_COSINE
            vector.index = vector.index or memory_banks_pb2.VECTOR_INDEX_HNSW
            _fill_window(vector, "vector")
        case BankKind.KEYWORD:
            filled.keyword.language = filled.keyword.language or "en"
            if filled.keyword.language not in WORD_LANGUAGES:
                known = ", ".join(sorted(WORD_LANGUAGES))
                raise InvalidArgumentError.of("params.keyword.language", f"must be one of {known}")
            _fill_window(filled.keyword, "keyword")
        case _:
            pass
    return BankSpec(store_id, filled, dimension)


def window_of(spec: BankSpec) -> Window:
    """Returns how a bank's texts are cut."""
    match spec.kind:
        case BankKind.VECTOR:
            return Window(spec.params.vector.chunk_size_in_tokens, spec.params.vector.overlap_size_in_tokens)
        case BankKind.KEYWORD:
            return Window(spec.params.keyword.chunk_size_in_tokens, spec.params.keyword.overlap_size_in_tokens)
        case _:
            return Window.of(DEFAULT_CHUNK_SIZE)


def _fill_window(
    params: memory_banks_pb2.VectorMemoryBankParams | memory_banks_pb2.KeywordMemoryBankParams, member: str
) -> None:
    size = params.chunk_size_in_tokens if params.HasField("chunk_size_in_tokens") else DEFAULT_CHUNK_SIZE
    overlap = params.overlap_size_in_tokens if params.HasField("overlap_size_in_tokens") else None
    window = Window.of(size, overlap)
    if window.overlap >= window.size:
        raise InvalidArgumentError.of(
            f"params.{member}.overlap_size_in_tokens", f"must be less than chunk_size_in_tokens, which is {window.size}"
        )
    params.chunk_size_in_tokens, params.overlap_size_in_tokens = window.size, window.overlap
