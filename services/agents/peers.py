"""The ports to the other services that a turn needs."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from typing import Protocol

from caravan.inference.v1 import inference_pb2
from caravan.memory.v1 import keyvalue_pb2, memory_pb2, query_pb2
from caravan.safety.v1 import safety_pb2
from caravan.types.v1 import types_pb2


class Inference(Protocol):
    """Models."""

    def answer(
        self, request: inference_pb2.StreamChatCompletionRequest
    ) -> AsyncGenerator[inference_pb2.StreamChatCompletionResponse, None]:
        """Answers a conversation. Closing the generator cancels the inference."""


class Shields(Protocol):
    """Shields."""

    async def judge(
        self, shield_ids: Sequence[str], messages: Sequence[types_pb2.Message]
    ) -> safety_pb2.RunShieldsResponse:
        """Judges messages by several shields."""

    def judge_growing(
        self, shield_id: str, messages: Sequence[types_pb2.Message], texts: AsyncIterable[str]
    ) -> AsyncIterator[safety_pb2.StreamShieldResponse]:
        """Judges an assistant's text by one shield while it grows; `messages` is the conversation that it answers."""


class Memory(Protocol):
    """Memory banks."""

    async def search(
        self, bank_ids: Sequence[str], query: str, params: query_pb2.QueryParams
    ) -> memory_pb2.QueryBanksResponse:
        """Searches banks and merges the hits."""

    async def values(self, bank_id: str, keys: Sequence[str]) -> Sequence[keyvalue_pb2.KeyValueEntry]:
        """Reads keys of a key-value bank; those that do not exist are left out."""

    async def make_bank(self, bank_id: str) -> None:
        """Registers a vector bank for a session's documents; one that is there already is no error."""

    async def drop_bank(self, bank_id: str) -> None:
        """Drops a session's bank; one that is gone is no error."""

    async def insert(self, bank_id: str, documents: Sequence[memory_pb2.Document]) -> None:
        """Inserts documents; what is there already, the same, changes nothing."""
