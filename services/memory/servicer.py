"""The gRPC edge of the memory service."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from caravan.memory.v1 import (
    keyvalue_pb2,
    keyvalue_pb2_grpc,
    memory_pb2,
    memory_pb2_grpc,
    query_pb2,
    rag_tool_pb2,
    rag_tool_pb2_grpc,
    vector_io_pb2,
    vector_io_pb2_grpc,
)
from services.core.errors import InvalidArgumentError, ResourceExhaustedError
from services.core.status import status_of
from services.memory import content
from services.memory.assembling import Assembler
from services.memory.bank_queries import BankQueries
from services.memory.banks import CHUNKED, Bank, BankTable
from services.memory.bulk import BulkInsertion, BulkSettings
from services.memory.changes import Changes
from services.memory.chunks import Chunks
from services.memory.documents import Documents
from services.memory.keyvalue import Values
from services.memory.ports import Store
from services.memory.queries import Hit, Queries, Question
from services.memory.rag import RagTool
from services.memory.records import BankKind
from services.memory.responses import Responses
from services.memory.vectors import given

FEWER_CHUNKS = "lower max_chunks, or leave the embeddings out"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True, slots=True)
class BulkParts:
    """What bulk insertions are made of."""

    store: Store
    changes: Changes
    settings: BulkSettings
    most_bytes: int


class MemoryServicer(memory_pb2_grpc.MemoryServiceServicer):
    """Documents in banks."""

    def __init__(
        self,
        banks: BankTable,
        documents: Documents,
        queries: Queries,
        bank_queries: BankQueries,
        responses: Responses,
        bulk: BulkParts,
    ) -> None:
        """Serves the domain; see the classes."""
        self._banks = banks
        self._documents = documents
        self._queries = queries
        self._bank_queries = bank_queries
        self._responses = responses
        self._bulk = bulk
        self._bulks = 0

    async def InsertDocuments(
        self, request: memory_pb2.InsertDocumentsRequest, context: Context
    ) -> memory_pb2.InsertDocumentsResponse:
        """Inserts documents."""
        response: memory_pb2.InsertDocumentsResponse = await self._documents.insert(self._bank(request), request)
        return response

    async def BulkInsertDocuments(
        self, request_iterator: AsyncIterator[memory_pb2.BulkInsertDocumentsRequest], context: Context
    ) -> AsyncIterator[memory_pb2.BulkInsertDocumentsResponse]:
        """Inserts any number of documents and reports progress."""
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or not first.bank_id:
            raise InvalidArgumentError.of("bank_id", "must be set in the first request")
        bulk = self._bulk
        bank = self._bank(first)
        if self._bulks >= bulk.settings.concurrency:
            message = f"{self._bulks} bulk insertions run already, which is the most; try again when one has ended"
            raise ResourceExhaustedError(message, retry_after=5.0, subject="bulk", reason="TOO_MANY_BULK_INSERTIONS")
        self._bulks += 1
        insertion = BulkInsertion(bank, bulk.store, bulk.changes, Assembler(bulk.most_bytes), bulk.settings, status_of)
        responses = insertion.run(_with_first(first, requests))
        try:
            async for response in responses:
                yield response
        finally:
            self._bulks -= 1
            await responses.aclose()

    async def UpdateDocuments(
        self, request: memory_pb2.UpdateDocumentsRequest, context: Context
    ) -> memory_pb2.UpdateDocumentsResponse:
        """Changes documents."""
        return await self._documents.update(self._bank(request), request)

    async def GetDocuments(
        self, request: memory_pb2.GetDocumentsRequest, context: Context
    ) -> memory_pb2.GetDocumentsResponse:
        """Gets documents."""
        return await self._documents.get(self._bank(request), request)

    async def ListDocuments(
        self, request: memory_pb2.ListDocumentsRequest, context: Context
    ) -> memory_pb2.ListDocumentsResponse:
        """Lists documents."""
        return await self._documents.list(self._bank(request), request)

    async def DeleteDocuments(
        self, request: memory_pb2.DeleteDocumentsRequest, context: Context
    ) -> memory_pb2.DeleteDocumentsResponse:
        """Deletes documents."""
        return await self._documents.delete(self._bank(request), request)

    async def QueryDocuments(
        self, request: memory_pb2.QueryDocumentsRequest, context: Context
    ) -> memory_pb2.QueryDocumentsResponse:
        """Searches one bank."""
        question = Question(content.text_of(request.query), None, request.params)
        hits = await self._queries.search(self._bank(request), question)
        return self._responses.checked(memory_pb2.QueryDocumentsResponse(**_fields(hits)), FEWER_CHUNKS)

    async def QueryBanks(
        self, request: memory_pb2.QueryBanksRequest, context: Context
    ) -> memory_pb2.QueryBanksResponse:
        """Searches several banks."""
        question = Question(content.text_of(request.query), None, request.params)
        hits = await self._bank_queries.search(request.bank_ids, question)
        return self._responses.checked(memory_pb2.QueryBanksResponse(**_fields(hits)), FEWER_CHUNKS)

    async def GetBankStatistics(
        self, request: memory_pb2.GetBankStatisticsRequest, context: Context
    ) -> memory_pb2.GetBankStatisticsResponse:
        """Tells how full a bank is."""
        return await self._documents.statistics(self._banks.require(request.bank_id))

    def _bank(self, request: Any) -> Bank:
        return self._banks.require(request.bank_id, *CHUNKED)


class VectorIOServicer(vector_io_pb2_grpc.VectorIOServiceServicer):
    """Chunks in banks."""

    def __init__(self, banks: BankTable, chunks: Chunks, queries: Queries, responses: Responses) -> None:
        """Serves the domain; see the classes."""
        self._banks = banks
        self._responses = responses
        self._chunks = chunks
        self._queries = queries

    async def InsertChunks(
        self, request: vector_io_pb2.InsertChunksRequest, context: Context
    ) -> vector_io_pb2.InsertChunksResponse:
        """Inserts chunks."""
        return await self._chunks.insert(self._banks.require(request.vector_db_id, *CHUNKED), request)

    async def QueryChunks(
        self, request: vector_io_pb2.QueryChunksRequest, context: Context
    ) -> vector_io_pb2.QueryChunksResponse:
        """Searches a bank by content or by a vector."""
        bank = self._banks.require(request.vector_db_id, *CHUNKED)
        vector = given(bank, request.embedding, "embedding") if request.embedding else None
        hits = await self._queries.search(bank, Question(content.text_of(request.query), vector, request.params))
        return self._responses.checked(vector_io_pb2.QueryChunksResponse(**_fields(hits)), FEWER_CHUNKS)

    async def DeleteChunks(
        self, request: vector_io_pb2.DeleteChunksRequest, context: Context
    ) -> vector_io_pb2.DeleteChunksResponse:
        """Deletes chunks."""
        return await self._chunks.delete(self._banks.require(request.vector_db_id, *CHUNKED), request)


class KeyValueServicer(keyvalue_pb2_grpc.KeyValueServiceServicer):
    """Values in banks."""

    def __init__(self, banks: BankTable, values: Values) -> None:
        """Serves the domain; see the classes."""
        self._banks = banks
        self._values = values

    async def GetValue(self, request: keyvalue_pb2.GetValueRequest, context: Context) -> keyvalue_pb2.GetValueResponse:
        """Gets the value of a key."""
        return await self._values.get(self._bank(request), request)

    async def BatchGetValues(
        self, request: keyvalue_pb2.BatchGetValuesRequest, context: Context
    ) -> keyvalue_pb2.BatchGetValuesResponse:
        """Gets the values of several keys."""
        return await self._values.batch_get(self._bank(request), request)

    async def PutValue(self, request: keyvalue_pb2.PutValueRequest, context: Context) -> keyvalue_pb2.PutValueResponse:
        """Sets the value of a key."""
        return await self._values.put(self._bank(request), request)

    async def DeleteValue(
        self, request: keyvalue_pb2.DeleteValueRequest, context: Context
    ) -> keyvalue_pb2.DeleteValueResponse:
        """Deletes a key."""
        return await self._values.delete(self._bank(request), request)

    async def ListValues(
        self, request: keyvalue_pb2.ListValuesRequest, context: Context
    ) -> keyvalue_pb2.ListValuesResponse:
        """Lists keys."""
        return await self._values.list(self._bank(request), request)

    def _bank(self, request: Any) -> Bank:
        return self._banks.require(request.bank_id, BankKind.KEYVALUE)


class RagToolServicer(rag_tool_pb2_grpc.RagToolServiceServicer):
    """Retrieval as a tool."""

    def __init__(self, tool: RagTool) -> None:
        """Serves the domain; see the class."""
        self._tool = tool

    async def RagInsert(
        self, request: rag_tool_pb2.RagInsertRequest, context: Context
    ) -> rag_tool_pb2.RagInsertResponse:
        """Inserts documents."""
        return await self._tool.insert(request)

    async def RagQuery(self, request: rag_tool_pb2.RagQueryRequest, context: Context) -> rag_tool_pb2.RagQueryResponse:
        """Finds context for a prompt."""
        return await self._tool.query(request)


def _fields(hits: Sequence[Hit]) -> dict[str, Any]:
    """Returns hits as the three lists that every query's response has."""
    chunks: list[query_pb2.Chunk] = [hit.chunk for hit in hits]
    return {
        "chunks": chunks,
        "scores": [hit.score for hit in hits],
        "hit_details": [hit.details for hit in hits],
    }


async def _with_first(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for request in rest:
        yield request
