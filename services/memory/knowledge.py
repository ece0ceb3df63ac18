"""The port of what graph banks know: entities and relations, and the passages that tell of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caravan.memory.v1 import filters_pb2, graph_pb2
from services.memory.banks import Bank
from services.memory.records import ChunkBatch, Facts, Match

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class GraphQuestion:
    """What is looked for in a graph bank."""

    text: str
    """The question. Empty: only `entities` and `vector` count."""

    entities: Sequence[str] = ()
    """Names of entities to start from, beside those that the question names."""

    where: filters_pb2.MetadataFilter | None = None
    """Only passages whose metadata fit. None: all."""

    vector: "NDArray[np.float32] | None" = None
    """The caller's own vector, in a bank with vectors. None: the text's."""


class Knowledge(ABC):
    """What graph banks know."""

    @abstractmethod
    async def facts_of(
        self, bank: Bank, document_id: str, batch: ChunkBatch, given: graph_pb2.GraphFacts | None, field: str
    ) -> Facts:
        """Returns what a document tells of.

        Args:
            bank: The bank, a graph bank.
            document_id: The document.
            batch: Its chunks.
            given: What the caller says that it tells of. None: it is extracted, where the bank has a model for that.
            field: Path of the request's field that holds the document, for errors.

        Raises:
            InvalidArgumentError: What is given contradicts itself.
            FailedPreconditionError: A model of the bank is gone.
            UnavailableError: A model does not answer.
        """

    @abstractmethod
    async def search(self, bank: Bank, question: GraphQuestion, k: int) -> list[Match]:
        """Finds passages through the graph; the score is above 0.

        Args:
            bank: The bank, a graph bank.
            question: What to look for.
            k: Most matches.

        Returns:
            The matches, best first.
        """
