"""What is written of a document that comes or changes: everything, what is new in it, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caravan.memory.v1 import graph_pb2, memory_pb2
from services.core.errors import AbortedError, InvalidArgumentError
from services.memory.banks import Bank
from services.memory.checks import check_metadata
from services.memory.chunking import Window
from services.memory.preparation import Draft, Preparation, recipe
from services.memory.records import BankKind, DocumentRecord, DocumentWrite
from services.memory.sources import Source, Sources

# Of what is known, what a document keeps while its content stays.
_OF_CONTENT = ("source_uri", "mime_type", "content_sha256", "size_bytes", "chunk_count", "token_count")


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of one document. One of the fields is set."""

    write: DocumentWrite | None = None
    """What is written."""

    unchanged: memory_pb2.DocumentResult | None = None
    """Nothing is: it is there already, the same."""


class Changes:
    """Plans changes of documents."""

    def __init__(self, sources: Sources, preparation: Preparation) -> None:
        """Keeps the parts.

        Args:
            sources: Gets contents.
            preparation: Makes chunks of them.
        """
        self._sources = sources
        self._preparation = preparation

    async def insertion(  # noqa: PLR0913 - what is inserted, over what, and how
        self,
        bank: Bank,
        document: memory_pb2.Document,
        known: DocumentRecord | None,
        field: str,
        *,
        now: float,
        ttl: int | None,
        window: Window | None = None,
        source: Source | None = None,
    ) -> Planned:
        """Plans an insertion.

        Args:
            bank: The bank.
            document: The document.
            known: The one that has its identifier now.
            field: Path of the request's field that holds it.
            now: Seconds since the epoch.
            ttl: Life that the request gives, in seconds.
            window: How to cut it. None: as the bank does.
            source: Its content, where it did not come in `document`.
        """
        check_metadata(document.metadata, f"{field}.metadata")
        source = source or await self._sources.get(document, field)
        wanted = memory_pb2.StoredDocument(document_id=document.document_id, metadata=document.metadata)
        _set_source(wanted, source)
        life = document.ttl_seconds if document.HasField("ttl_seconds") else ttl
        _set_life(wanted, now, life if life is not None else bank.default_ttl)
        draft = Draft(wanted, source, field, _graph(bank, document, field))
        window = window or bank.window
        if known is None or not _same_content(known, wanted, recipe(bank, draft, window)):
            return Planned(write=await self._preparation.write_of(bank, draft, window))
        lasting = not wanted.HasField("expires_at") and not known.document.HasField("expires_at")
        if lasting and known.document.metadata == wanted.metadata and known.document.source_uri == wanted.source_uri:
            return Planned(unchanged=_unchanged(known.document))
        return Planned(write=_without_content(known, wanted))

    async def update(
        self, bank: Bank, update: memory_pb2.DocumentUpdate, known: DocumentRecord, field: str, *, now: float
    ) -> Planned:
        """Plans a change.

        Args:
            bank: The bank.
            update: The change.
            known: The document as it is.
            field: Path of the request's field that holds the change.
            now: Seconds since the epoch.

        Raises:
            AbortedError: The document has another revision than the change says.
            InvalidArgumentError: The change contradicts itself.
        """
        if update.HasField("revision") and update.revision != known.document.revision:
            raise _stale(update, known)
        check_metadata(update.metadata, f"{field}.metadata")
        wanted = memory_pb2.StoredDocument()
        wanted.CopyFrom(known.document)
        wanted.ClearField("content")
        if update.HasField("metadata"):
            wanted.metadata.CopyFrom(update.metadata)
        if update.HasField("ttl_seconds"):
            _set_life(wanted, now, update.ttl_seconds or None)
        graph = _graph(bank, update, field)
        if update.WhichOneof("source") is None and not update.data:
            if update.mime_type:
                raise InvalidArgumentError.of(
                    f"{field}.mime_type", "says how to read content; send the content with it"
                )
            if graph is not None:
                raise InvalidArgumentError.of(
                    f"{field}.graph", "is what the content tells of; send the content with it"
                )
            if wanted == known.document:
                return Planned(unchanged=_unchanged(known.document))
            return Planned(write=_without_content(known, wanted))
        source = await self._sources.get(update, field)
        _set_source(wanted, source)
        draft = Draft(wanted, source, field, graph)
        if _same_content(known, wanted, recipe(bank, draft, bank.window)):
            if wanted == known.document:
                return Planned(unchanged=_unchanged(known.document))
            return Planned(write=_without_content(known, wanted))
        write = await self._preparation.write_of(bank, draft, bank.window)
        return Planned(write=_expecting(write, known.document.revision))


def _same_content(known: DocumentRecord, wanted: memory_pb2.StoredDocument, its_recipe: str) -> bool:
    return known.recipe == its_recipe and known.document.content_sha256 == wanted.content_sha256


def _without_content(known: DocumentRecord, wanted: memory_pb2.StoredDocument) -> DocumentWrite:
    """Returns the write that changes metadata, life and address, and leaves content and chunks."""
    document = memory_pb2.StoredDocument()
    document.CopyFrom(wanted)
    for name in _OF_CONTENT:
        if name != "source_uri":
            setattr(document, name, getattr(known.document, name))
    return DocumentWrite(document, known.recipe, expected_revision=known.document.revision)


def _expecting(write: DocumentWrite, revision: int) -> DocumentWrite:
    return DocumentWrite(write.document, write.recipe, write.batch, write.facts, revision)


def _set_source(document: memory_pb2.StoredDocument, source: Source) -> None:
    document.source_uri, document.mime_type = source.uri, source.mime_type
    document.content_sha256, document.size_bytes = source.sha256, source.size


def _set_life(document: memory_pb2.StoredDocument, now: float, ttl: float | None) -> None:
    document.ClearField("expires_at")
    if ttl is not None:
        document.expires_at.FromNanoseconds(int((now + ttl) * 1e9))


def _graph(bank: Bank, document: Any, field: str) -> graph_pb2.GraphFacts | None:
    if not document.HasField("graph"):
        return None
    if bank.spec.kind is not BankKind.GRAPH:
        raise InvalidArgumentError.of(f"{field}.graph", f"memory bank {bank.bank_id!r} is no graph bank; leave it out")
    graph: graph_pb2.GraphFacts = document.graph
    return graph


def _unchanged(document: memory_pb2.StoredDocument) -> memory_pb2.DocumentResult:
    return memory_pb2.DocumentResult(
        document_id=document.document_id,
        outcome=memory_pb2.DOCUMENT_OUTCOME_UNCHANGED,
        chunk_count=document.chunk_count,
        revision=document.revision,
    )


def _stale(update: memory_pb2.DocumentUpdate, known: DocumentRecord) -> AbortedError:
    now = known.document.revision
    message = f"document {update.document_id!r} has revision {now}, not {update.revision}: read it again, then decide"
    metadata: Mapping[str, str] = {"document_id": update.document_id, "revision": str(now)}
    return AbortedError(message, reason="STALE_REVISION", metadata=metadata)
