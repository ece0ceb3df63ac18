"""Retrieval as one tool: documents in, context for a prompt out."""

import asyncio

from caravan.memory.v1 import query_pb2, rag_tool_pb2
from services.memory import content
from services.memory.bank_queries import BankQueries
from services.memory.banks import CHUNKED, BankTable
from services.memory.chunking import Window
from services.memory.context import DEFAULT_TOKENS, Template
from services.memory.documents import Documents
from services.memory.queries import Question
from services.memory.query_generators import QueryGenerators
from services.memory.tokenizers import WordTokenizer

_DEFAULT_CHUNKS = 5


class RagTool:
    """Inserts documents, and finds context."""

    def __init__(
        self, banks: BankTable, documents: Documents, queries: BankQueries, generators: QueryGenerators
    ) -> None:
        """Keeps the parts.

        Args:
            banks: The banks that are here.
            documents: Inserts documents.
            queries: Searches banks.
            generators: Make queries.
        """
        self._banks = banks
        self._documents = documents
        self._queries = queries
        self._generators = generators

    async def insert(self, request: rag_tool_pb2.RagInsertRequest) -> rag_tool_pb2.RagInsertResponse:
        """Inserts documents, cut as the request says."""
        bank = self._banks.require(request.vector_db_id, *CHUNKED)
        window = Window.of(request.chunk_size_in_tokens) if request.HasField("chunk_size_in_tokens") else None
        response: rag_tool_pb2.RagInsertResponse = await self._documents.insert(
            bank, request, window=window, response_class=rag_tool_pb2.RagInsertResponse
        )
        return response

    async def query(self, request: rag_tool_pb2.RagQueryRequest) -> rag_tool_pb2.RagQueryResponse:
        """Finds context."""
        config = request.query_config
        template = Template(config.context_template, "query_config.context_template")
        query = await self._generators.query(
            request.content, config.query_generator_config, "query_config.query_generator_config"
        )
        params = query_pb2.QueryParams()
        params.CopyFrom(config.params)
        params.max_chunks = config.max_chunks if config.HasField("max_chunks") else _DEFAULT_CHUNKS
        hits = await self._queries.search(request.vector_db_ids, Question(query, None, params, "content"))
        response = rag_tool_pb2.RagQueryResponse(query=query)
        most = config.max_tokens_in_context if config.HasField("max_tokens_in_context") else DEFAULT_TOKENS
        # By the tokens of the first bank that is here; the prompt's own model is not known.
        known = next((bank for bank in map(self._banks.find, request.vector_db_ids) if bank is not None), None)
        tokenizer = known.tokenizer if known is not None else WordTokenizer()
        context = await asyncio.to_thread(template.written, hits, most, tokenizer)
        if context is not None:
            response.content.CopyFrom(content.of_text(context.text))
            response.chunks.extend(hit.chunk for hit in context.hits)
            response.scores.extend(hit.score for hit in context.hits)
            response.hit_details.extend(hit.details for hit in context.hits)
        return response
