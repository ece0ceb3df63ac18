# Made from caravan/_async/memory.py by tools/sync_client.py. Do not edit.
"""Documents, chunks and values in memory banks, and searching them. Banks are registered through `memory_banks`."""

import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Unpack

from caravan import documents as built
from caravan import llama_stack
from caravan._sync.calls import Calls
from caravan._sync.memory_graph import MemoryGraph
from caravan.documents import DocumentLike, QueryParameters
from caravan.memory.v1 import filters_pb2, keyvalue_pb2, memory_pb2, query_pb2, rag_tool_pb2, vector_io_pb2
from caravan.messages import ContentLike


class Memory:
    """`MemoryService`, `VectorIOService`, `KeyValueService` and `RagToolService` of `caravan.memory.v1`."""

    def __init__(self, calls: Calls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    @property
    def graph(self) -> MemoryGraph:
        """Entities and relations in graph banks."""
        return MemoryGraph(self._calls)

    # Documents.

    def insert(
        self,
        bank_id: str,
        documents: DocumentLike | Iterable[DocumentLike],
        *,
        ttl_seconds: int | None = None,
        request_id: str | None = None,
    ) -> Sequence[memory_pb2.DocumentResult]:
        """Inserts documents, all or none; one whose identifier is taken replaces the one before.

            client.memory.insert("notes", {"document_id": "cats", "content": "Cats sleep a lot."})

        Args:
            bank_id: The bank.
            documents: One document or several.
            ttl_seconds: Life of the documents. Default: the bank's.
            request_id: Makes a repeated call return the first one's result. Default: a new one.
        """
        request = memory_pb2.InsertDocumentsRequest(
            bank_id=bank_id,
            documents=built.several(documents),
            ttl_seconds=ttl_seconds,
            request_id=request_id or uuid.uuid4().hex,
        )
        return self._calls.unary(request, memory_pb2.InsertDocumentsResponse).results

    def bulk_insert(
        self,
        bank_id: str,
        requests: Iterable[memory_pb2.BulkInsertDocumentsRequest | DocumentLike],
        *,
        ttl_seconds: int | None = None,
        timeout: float | None = None,
    ) -> Generator[memory_pb2.BulkInsertDocumentsResponse, None, None]:
        """Inserts any number of documents, each by itself, and yields what becomes of them and how far it is.

        Args:
            bank_id: The bank.
            requests: Documents, or requests with parts of documents (`caravan.documents.file_requests` makes them of a file). They are
                asked for as they are sent.
            ttl_seconds: Life of the documents. Default: the bank's.
            timeout: Seconds until the whole call fails. Default: never.
        """
        first = memory_pb2.BulkInsertDocumentsRequest(bank_id=bank_id, ttl_seconds=ttl_seconds)
        rest = (
            request
            if isinstance(request, memory_pb2.BulkInsertDocumentsRequest)
            else memory_pb2.BulkInsertDocumentsRequest(document=built.document(request))
            for request in requests
        )
        seconds = float("inf") if timeout is None else timeout
        return self._calls.exchange(first, rest, memory_pb2.BulkInsertDocumentsResponse, timeout=seconds)

    def update(
        self,
        bank_id: str,
        updates: memory_pb2.DocumentUpdate
        | Mapping[str, Any]
        | Iterable[memory_pb2.DocumentUpdate | Mapping[str, Any]],
        *,
        request_id: str | None = None,
    ) -> Sequence[memory_pb2.DocumentResult]:
        """Changes documents, all or none; what a change does not set stays.

        Args:
            bank_id: The bank.
            updates: One change or several, for instance `{"document_id": "cats", "metadata": {"year": 2024}}`.
            request_id: Makes a repeated call return the first one's result. Default: a new one.

        Raises:
            NotFoundError: There is no such document.
            AbortedError: A document has another revision than its change says.
        """
        many = [updates] if isinstance(updates, Mapping | memory_pb2.DocumentUpdate) else updates
        request = memory_pb2.UpdateDocumentsRequest(
            bank_id=bank_id,
            documents=[built.update(one, f"documents[{place}]") for place, one in enumerate(many)],
            request_id=request_id or uuid.uuid4().hex,
        )
        return self._calls.unary(request, memory_pb2.UpdateDocumentsResponse).results

    def get(
        self, bank_id: str, document_ids: str | Iterable[str], *, metadata_only: bool = False
    ) -> Sequence[memory_pb2.StoredDocument]:
        """Gets documents; those that do not exist are left out.

        Args:
            bank_id: The bank.
            document_ids: One identifier or several.
            metadata_only: Leave the content out.
        """
        many = [document_ids] if isinstance(document_ids, str) else document_ids
        request = memory_pb2.GetDocumentsRequest(bank_id=bank_id, document_ids=many, metadata_only=metadata_only)
        return self._calls.unary(request, memory_pb2.GetDocumentsResponse).documents

    def list(
        self,
        bank_id: str,
        *,
        filter: filters_pb2.MetadataFilter | Mapping[str, Any] | None = None,  # noqa: A002
    ) -> Generator[memory_pb2.StoredDocument, None, None]:
        """Yields the documents of a bank without their content, in the order of their identifiers.

        Args:
            bank_id: The bank.
            filter: Only documents that fit, for instance `{"type": "eq", "key": "year", "value": 2024}`.
        """
        where = _filter(filter)
        return self._calls.entries(
            lambda token: memory_pb2.ListDocumentsRequest(bank_id=bank_id, page_token=token, filter=where),
            memory_pb2.ListDocumentsResponse,
        )

    def delete(
        self,
        bank_id: str,
        document_ids: str | Iterable[str] = (),
        *,
        filter: filters_pb2.MetadataFilter | Mapping[str, Any] | None = None,  # noqa: A002
        all: bool = False,  # noqa: A002
    ) -> int:
        """Deletes documents; returns how many. Give exactly one of the three.

        Args:
            bank_id: The bank.
            document_ids: One identifier or several.
            filter: Those that fit.
            all: All of them.
        """
        request = memory_pb2.DeleteDocumentsRequest(
            bank_id=bank_id,
            document_ids=[document_ids] if isinstance(document_ids, str) else document_ids,
            filter=_filter(filter),
            all=all,
            request_id=uuid.uuid4().hex,
        )
        return self._calls.unary(request, memory_pb2.DeleteDocumentsResponse).deleted_count

    def statistics(self, bank_id: str) -> memory_pb2.BankStatistics:
        """Tells how full a bank is.

        Args:
            bank_id: The bank.
        """
        request = memory_pb2.GetBankStatisticsRequest(bank_id=bank_id)
        return self._calls.unary(request, memory_pb2.GetBankStatisticsResponse).statistics

    # Searching.

    def query(
        self, bank_ids: str | Sequence[str], query: ContentLike, **parameters: Unpack[QueryParameters]
    ) -> memory_pb2.QueryDocumentsResponse | memory_pb2.QueryBanksResponse:
        """Searches one bank, or several, whichever providers serve them.

            found = client.memory.query("notes", "What do cats do?", max_chunks=3)
            for chunk, score in zip(found.chunks, found.scores):
                print(score, chunk.document_id, caravan.text_of(chunk.content))

        Args:
            bank_ids: One bank or several.
            query: What to look for.
            **parameters: `max_chunks`, `mode`, `filter`, ...; see QueryParameters.
        """
        params, content = built.query_params(parameters), built.text_query(query)
        if isinstance(bank_ids, str):
            one = memory_pb2.QueryDocumentsRequest(bank_id=bank_ids, query=content, params=params)
            return self._calls.unary(one, memory_pb2.QueryDocumentsResponse)
        several = memory_pb2.QueryBanksRequest(bank_ids=bank_ids, query=content, params=params)
        return self._calls.unary(several, memory_pb2.QueryBanksResponse)

    def rag_insert(
        self,
        bank_id: str,
        documents: DocumentLike | Iterable[DocumentLike],
        *,
        chunk_size_in_tokens: int | None = None,
        ttl_seconds: int | None = None,
    ) -> Sequence[memory_pb2.DocumentResult]:
        """Inserts documents, cut as this call says.

        Args:
            bank_id: The bank.
            documents: One document or several.
            chunk_size_in_tokens: Length of a chunk. Default: the bank's.
            ttl_seconds: Life of the documents. Default: the bank's.
        """
        request = rag_tool_pb2.RagInsertRequest(
            vector_db_id=bank_id,
            documents=built.several(documents),
            chunk_size_in_tokens=chunk_size_in_tokens,
            ttl_seconds=ttl_seconds,
            request_id=uuid.uuid4().hex,
        )
        return self._calls.unary(request, rag_tool_pb2.RagInsertResponse).results

    def rag_query(
        self,
        bank_ids: str | Iterable[str],
        content: ContentLike,
        query_config: rag_tool_pb2.RagQueryConfig | Mapping[str, Any] | None = None,
    ) -> rag_tool_pb2.RagQueryResponse:
        """Searches banks and writes what was found as context for a prompt.

        Args:
            bank_ids: One bank or several.
            content: What to look for.
            query_config: How the context is made, as a message or in Llama Stack's shape.
        """
        config = llama_stack.build(rag_tool_pb2.RagQueryConfig, query_config or {}, "query_config")
        request = rag_tool_pb2.RagQueryRequest(
            content=built.text_query(content),
            vector_db_ids=[bank_ids] if isinstance(bank_ids, str) else bank_ids,
            query_config=config,
        )
        return self._calls.unary(request, rag_tool_pb2.RagQueryResponse)

    # Chunks.

    def insert_chunks(
        self,
        bank_id: str,
        chunks: Iterable[query_pb2.Chunk | Mapping[str, Any]],
        *,
        ttl_seconds: int | None = None,
    ) -> Sequence[str]:
        """Inserts chunks as they are; those without an embedding are embedded by the bank's model. Returns their identifiers.

        Args:
            bank_id: The bank.
            chunks: The chunks, for instance `{"content": "Cats sleep.", "metadata": {"document_id": "cats"}}`.
            ttl_seconds: Life of the chunks. Default: the bank's.
        """
        request = vector_io_pb2.InsertChunksRequest(
            vector_db_id=bank_id,
            chunks=[built.chunk(one, f"chunks[{place}]") for place, one in enumerate(chunks)],
            ttl_seconds=ttl_seconds,
            request_id=uuid.uuid4().hex,
        )
        return self._calls.unary(request, vector_io_pb2.InsertChunksResponse).chunk_ids

    def query_chunks(
        self,
        bank_id: str,
        query: ContentLike | None = None,
        *,
        embedding: Sequence[float] = (),
        **parameters: Unpack[QueryParameters],
    ) -> vector_io_pb2.QueryChunksResponse:
        """Searches a bank by content or by a vector.

        Args:
            bank_id: The bank.
            query: What to look for.
            embedding: Vector to look for, instead of the query's own.
            **parameters: `max_chunks`, `mode`, `filter`, ...; see QueryParameters.
        """
        request = vector_io_pb2.QueryChunksRequest(
            vector_db_id=bank_id,
            query=None if query is None else built.text_query(query),
            params=built.query_params(parameters),
            embedding=embedding,
        )
        return self._calls.unary(request, vector_io_pb2.QueryChunksResponse)

    def delete_chunks(self, bank_id: str, chunk_ids: Iterable[str]) -> int:
        """Deletes chunks; returns how many there were.

        Args:
            bank_id: The bank.
            chunk_ids: Their identifiers.
        """
        request = vector_io_pb2.DeleteChunksRequest(
            vector_db_id=bank_id, chunk_ids=chunk_ids, request_id=uuid.uuid4().hex
        )
        return self._calls.unary(request, vector_io_pb2.DeleteChunksResponse).deleted_count

    # Values.

    def put_value(
        self,
        bank_id: str,
        key: str,
        value: Any,
        *,
        ttl_seconds: int | None = None,
        revision: int | None = None,
    ) -> keyvalue_pb2.KeyValueEntry:
        """Sets the value of a key.

        Args:
            bank_id: The bank, a key-value bank.
            key: The key.
            value: Text, bytes, an integer, a number, True or False, a datetime with a time zone, a list or dict (JSON), or a TypedValue.
            ttl_seconds: Life of the value. Default: the bank's.
            revision: Refuse (AbortedError) unless the key has this revision; 0: unless it does not exist.
        """
        request = keyvalue_pb2.PutValueRequest(
            bank_id=bank_id,
            key=key,
            value=built.typed_value(value),
            ttl_seconds=ttl_seconds,
            revision=revision,
            request_id=uuid.uuid4().hex,
        )
        return self._calls.unary(request, keyvalue_pb2.PutValueResponse).entry

    def get_value(self, bank_id: str, key: str) -> keyvalue_pb2.KeyValueEntry:
        """Gets the value of a key; `caravan.documents.plain_value` makes a Python value of it.

        Args:
            bank_id: The bank.
            key: The key.

        Raises:
            NotFoundError: There is none.
        """
        request = keyvalue_pb2.GetValueRequest(bank_id=bank_id, key=key)
        return self._calls.unary(request, keyvalue_pb2.GetValueResponse).entry

    def get_values(self, bank_id: str, keys: Iterable[str]) -> Sequence[keyvalue_pb2.KeyValueEntry]:
        """Gets the values of several keys; those that do not exist are left out.

        Args:
            bank_id: The bank.
            keys: The keys.
        """
        request = keyvalue_pb2.BatchGetValuesRequest(bank_id=bank_id, keys=keys)
        return self._calls.unary(request, keyvalue_pb2.BatchGetValuesResponse).entries

    def delete_value(self, bank_id: str, key: str, *, revision: int | None = None) -> bool:
        """Deletes a key; returns whether it was there.

        Args:
            bank_id: The bank.
            key: The key.
            revision: Refuse (AbortedError) unless the key has this revision.
        """
        request = keyvalue_pb2.DeleteValueRequest(
            bank_id=bank_id, key=key, revision=revision, request_id=uuid.uuid4().hex
        )
        return self._calls.unary(request, keyvalue_pb2.DeleteValueResponse).deleted

    def list_values(
        self, bank_id: str, *, prefix: str = "", keys_only: bool = False
    ) -> Generator[keyvalue_pb2.KeyValueEntry, None, None]:
        """Yields the entries of a bank, in the order of their keys' bytes.

        Args:
            bank_id: The bank.
            prefix: Only keys that begin with this.
            keys_only: Leave the values out.
        """
        return self._calls.entries(
            lambda token: keyvalue_pb2.ListValuesRequest(
                bank_id=bank_id, prefix=prefix, page_token=token, keys_only=keys_only
            ),
            keyvalue_pb2.ListValuesResponse,
        )


def _filter(value: filters_pb2.MetadataFilter | Mapping[str, Any] | None) -> filters_pb2.MetadataFilter | None:
    return None if value is None else llama_stack.build(filters_pb2.MetadataFilter, value, "filter")
