"""The other services, through the gateway."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, cast

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.memory.v1 import keyvalue_pb2, keyvalue_pb2_grpc, memory_pb2, memory_pb2_grpc, query_pb2
from caravan.registry.v1 import memory_banks_pb2, memory_banks_pb2_grpc, models_pb2, models_pb2_grpc
from caravan.safety.v1 import safety_pb2, safety_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, FailedPreconditionError, NotFoundError
from services.core.gateway import Gateway

_DRAIN_SECONDS = 5.0


class GrpcInference:
    """Models."""

    def __init__(self, gateway: Gateway, timeout: float) -> None:
        """Reaches them through a gateway.

        Args:
            gateway: The gateway.
            timeout: Longest time in seconds for one answer.
        """
        self._gateway = gateway
        self._stub: inference_pb2_grpc.InferenceServiceAsyncStub = inference_pb2_grpc.InferenceServiceStub(
            gateway.channel
        )
        self._timeout = timeout
        self._draining: set[asyncio.Task[None]] = set()

    async def answer(
        self, request: inference_pb2.StreamChatCompletionRequest
    ) -> AsyncGenerator[inference_pb2.StreamChatCompletionResponse, None]:
        """Answers a conversation. Nobody waits for the status that comes after the last event: it says nothing new."""
        stream = cast(
            "AsyncGenerator[inference_pb2.StreamChatCompletionResponse, None]",
            self._gateway.stream(self._stub.StreamChatCompletion, request, timeout=self._timeout),
        )
        last = None
        try:
            async for response in stream:
                if response.HasField("complete"):
                    last = response
                    break
                yield response
        finally:
            if last is None:
                await stream.aclose()
        if last is not None:
            draining = asyncio.create_task(_drained(stream))
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)
            yield last


class GrpcShields:
    """Shields."""

    def __init__(self, gateway: Gateway, timeout: float) -> None:
        """Reaches them through a gateway; arguments as GrpcInference's."""
        self._gateway = gateway
        self._stub: safety_pb2_grpc.SafetyServiceAsyncStub = safety_pb2_grpc.SafetyServiceStub(gateway.channel)
        self._timeout = timeout

    async def judge(
        self, shield_ids: Sequence[str], messages: Sequence[types_pb2.Message]
    ) -> safety_pb2.RunShieldsResponse:
        """Judges messages by several shields."""
        request = safety_pb2.RunShieldsRequest(shield_ids=shield_ids, messages=messages)
        return await self._gateway.call(self._stub.RunShields, request, timeout=self._timeout)

    def judge_growing(
        self, shield_id: str, messages: Sequence[types_pb2.Message], texts: AsyncIterable[str]
    ) -> AsyncIterator[safety_pb2.StreamShieldResponse]:
        """Judges an assistant's text while it grows."""

        async def requests() -> AsyncIterator[safety_pb2.StreamShieldRequest]:
            yield safety_pb2.StreamShieldRequest(shield_id=shield_id, messages=messages)
            async for text in texts:
                yield safety_pb2.StreamShieldRequest(text=text)
            yield safety_pb2.StreamShieldRequest(end_of_text=True)

        return self._gateway.exchange(self._stub.StreamShield, requests(), timeout=self._timeout)


class GrpcMemory:
    """Memory banks."""

    def __init__(self, gateway: Gateway, timeout: float, embedding_model: str) -> None:
        """Reaches them through a gateway.

        Args:
            gateway: The gateway.
            timeout: Longest time in seconds for one call.
            embedding_model: Model for sessions' banks. Empty: the only one that there is.
        """
        channel = gateway.channel
        self._gateway = gateway
        self._memory: memory_pb2_grpc.MemoryServiceAsyncStub = memory_pb2_grpc.MemoryServiceStub(channel)
        self._values: keyvalue_pb2_grpc.KeyValueServiceAsyncStub = keyvalue_pb2_grpc.KeyValueServiceStub(channel)
        self._banks: memory_banks_pb2_grpc.MemoryBanksServiceAsyncStub = memory_banks_pb2_grpc.MemoryBanksServiceStub(
            channel
        )
        self._models: models_pb2_grpc.ModelsServiceAsyncStub = models_pb2_grpc.ModelsServiceStub(channel)
        self._timeout = timeout
        self._embedding_model = embedding_model

    async def search(
        self, bank_ids: Sequence[str], query: str, params: query_pb2.QueryParams
    ) -> memory_pb2.QueryBanksResponse:
        """Searches banks and merges the hits."""
        request = memory_pb2.QueryBanksRequest(bank_ids=bank_ids, params=params)
        request.query.items.add().text = query
        return await self._gateway.call(self._memory.QueryBanks, request, timeout=self._timeout)

    async def values(self, bank_id: str, keys: Sequence[str]) -> Sequence[keyvalue_pb2.KeyValueEntry]:
        """Reads keys of a key-value bank."""
        request = keyvalue_pb2.BatchGetValuesRequest(bank_id=bank_id, keys=keys)
        return (await self._gateway.call(self._values.BatchGetValues, request, timeout=self._timeout)).entries

    async def make_bank(self, bank_id: str) -> None:
        """Registers a session's bank; registering the same again is no error."""
        params = memory_banks_pb2.MemoryBankParams()
        params.vector.embedding_model = self._embedding_model or await self._only_embedding_model()
        request = memory_banks_pb2.RegisterMemoryBankRequest(memory_bank_id=bank_id, params=params)
        await self._gateway.call(self._banks.RegisterMemoryBank, request, timeout=self._timeout)

    async def drop_bank(self, bank_id: str) -> None:
        """Drops a session's bank."""
        request = memory_banks_pb2.UnregisterMemoryBankRequest(memory_bank_id=bank_id)
        try:
            await self._gateway.call(self._banks.UnregisterMemoryBank, request, timeout=self._timeout)
        except NotFoundError:
            return

    async def insert(self, bank_id: str, documents: Sequence[memory_pb2.Document]) -> None:
        """Inserts documents."""
        request = memory_pb2.InsertDocumentsRequest(bank_id=bank_id, documents=documents)
        await self._gateway.call(self._memory.InsertDocuments, request, timeout=self._timeout)

    async def _only_embedding_model(self) -> str:
        listed = await self._gateway.call(self._models.ListModels, models_pb2.ListModelsRequest(page_size=1000))
        found = [model.model_id for model in listed.data if model.model_type == models_pb2.MODEL_TYPE_EMBEDDING]
        if len(found) != 1:
            message = f"a session's documents need one embedding model and there are {len(found)}: set session_embedding_model"
            raise FailedPreconditionError(message, reason="NO_EMBEDDING_MODEL")
        return found[0]


async def _drained(stream: AsyncGenerator[Any, None]) -> None:
    """Lets a call whose last message was read come to its end: ended early, it would be one that was cancelled."""
    with suppress(CaravanError, TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS), aclosing(stream):
            async for _ in stream:
                pass
