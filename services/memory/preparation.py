"""From a document to what is written of it: text, chunks, vectors, and what a graph bank learns."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from caravan.memory.v1 import graph_pb2, memory_pb2, query_pb2
from services.memory import content
from services.memory.banks import Bank
from services.memory.chunking import Piece, Places, Window, cut
from services.memory.extraction.extracted import Extracted
from services.memory.extraction.extractor import Extractor
from services.memory.knowledge import Knowledge
from services.memory.ports import Embedder
from services.memory.records import BankKind, ChunkBatch, DocumentWrite, Facts
from services.memory.sources import Source
from services.memory.vectors import embedded

# Changes when the same content would give other chunks than before.
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Draft:
    """A document whose content is known and whose chunks are not made yet."""

    document: memory_pb2.StoredDocument
    """As it is to be, but for content and counts."""

    source: Source
    """Its content."""

    field: str
    """Path of the request's field that holds it, for errors."""

    graph: graph_pb2.GraphFacts | None = None
    """What the caller says that it tells of. None: nothing was said."""


class Preparation:
    """Makes what is written of documents. Documents of all calls share extraction and embedding."""

    def __init__(self, extractor: Extractor, embedder: Embedder, knowledge: Knowledge) -> None:
        """Keeps the parts.

        Args:
            extractor: Extracts text.
            embedder: Embeds text.
            knowledge: Tells what documents tell of, for graph banks.
        """
        self._extractor = extractor
        self._embedder = embedder
        self._knowledge = knowledge

    async def write_of(self, bank: Bank, draft: Draft, window: Window) -> DocumentWrite:
        """Makes the write that inserts a document or replaces it.

        Args:
            bank: The bank.
            draft: The document.
            window: How to cut it.

        Raises:
            InvalidArgumentError: It cannot be read, or holds no text.
            FailedPreconditionError: The embedding model is gone.
            UnavailableError: The embedding model does not answer.
        """
        source = draft.source
        extracted = await self._extractor.extract(source.content, source.mime_type, draft.field)
        chunks, tokens = await asyncio.to_thread(_chunks, bank, draft, extracted, window)
        document = memory_pb2.StoredDocument()
        document.CopyFrom(draft.document)
        document.content.CopyFrom(source.sent if source.sent is not None else content.of_text(extracted.text))
        document.chunk_count, document.token_count = len(chunks), tokens
        vectors = None
        if bank.model is not None:
            texts = [content.text_of(chunk.content) for chunk in chunks]
            vectors = await embedded(bank, self._embedder, texts, [chunk.token_count for chunk in chunks])
        batch = ChunkBatch(chunks, vectors)
        facts: Facts | None = None
        if bank.spec.kind is BankKind.GRAPH:
            facts = await self._knowledge.facts_of(bank, document.document_id, batch, draft.graph, draft.field)
        return DocumentWrite(document, recipe(bank, draft, window), batch, facts)


def recipe(bank: Bank, draft: Draft, window: Window) -> str:
    """Returns how a document's chunks are made of its content: as long as it stays, so do they."""
    parts = [
        f"v{_VERSION}",
        draft.source.mime_type,
        bank.tokenizer.name,
        f"{window.size}/{window.overlap}",
        f"{bank.model.model_id}={bank.model.source}" if bank.model is not None else "",
    ]
    if draft.graph is not None:
        parts.append(hashlib.sha256(draft.graph.SerializeToString(deterministic=True)).hexdigest()[:16])
    return " ".join(parts)


def _chunks(bank: Bank, draft: Draft, extracted: Extracted, window: Window) -> tuple[list[query_pb2.Chunk], int]:
    """Cuts a document; returns its chunks and the length of its text in tokens."""
    ends = bank.tokenizer.token_ends(extracted.text)
    pieces = cut(extracted.text, ends, window)
    return _messages(draft.document.document_id, extracted, pieces), len(ends)


def _messages(document_id: str, extracted: Extracted, pieces: Sequence[Piece]) -> list[query_pb2.Chunk]:
    places = Places(extracted)
    chunks = []
    for index, piece in enumerate(pieces):
        text = extracted.text[piece.start : piece.end]
        chunks.append(
            query_pb2.Chunk(
                chunk_id=chunk_id(document_id, text, index),
                document_id=document_id,
                content=content.of_text(text),
                token_count=piece.token_count,
                location=places.location(piece, index),
            )
        )
    return chunks


def chunk_id(document_id: str, text: str, index: int | None = None) -> str:
    """Returns the identifier of a chunk that has none of its own: made from document and content, and from its place in a document.

    Args:
        document_id: The document. Empty: the chunk stands for itself.
        text: Its text.
        index: Its number in the document. None: it was not cut from it.
    """
    place = "" if index is None else str(index)
    return hashlib.sha256(f"{document_id}\0{place}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
