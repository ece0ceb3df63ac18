"""Where a document's content comes from: the request, or an address that it names."""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from caravan.memory.v1 import memory_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.core.fetch import FetchLimits, fetch
from services.memory import content
from services.memory.extraction import media_types

SentDocument: TypeAlias = memory_pb2.Document | memory_pb2.DocumentUpdate
_SUFFIXES = {
    ".md": media_types.MARKDOWN,
    ".markdown": media_types.MARKDOWN,
    ".csv": media_types.CSV,
    ".tsv": media_types.TSV,
    ".json": media_types.JSON,
    ".jsonl": media_types.JSON_LINES,
    ".html": media_types.HTML,
}


class DocumentSettings(BaseModel):
    """What documents may be, and how they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bytes: int = Field(
        default=128 << 20, ge=1, le=1 << 30, description="Largest document that comes in parts, or from an address."
    )
    fetch_timeout_seconds: float = Field(default=20.0, gt=0, description="Longest time to fetch a document.")
    fetch_concurrency: int = Field(default=8, ge=1, description="Most documents that are fetched at a time.")
    allow_private_addresses: bool = Field(
        default=False, description="Fetch from loopback and private addresses too, and call query generators there."
    )
    extraction_workers: int = Field(default=2, ge=1, le=256, description="Most processes that extract text.")
    extraction_seconds: float = Field(default=60.0, gt=0, description="Longest time to extract one document's text.")
    extraction_memory_bytes: int = Field(
        default=2 << 30, ge=256 << 20, description="Most memory of a process that extracts text."
    )

    @property
    def fetch_limits(self) -> FetchLimits:
        """How far a fetch may go."""
        return FetchLimits(self.fetch_timeout_seconds, self.max_bytes, self.allow_private_addresses)


@dataclass(frozen=True, slots=True)
class Source:
    """The content of one document."""

    content: bytes
    """The bytes that text is extracted from."""

    mime_type: str
    """One of `media_types.READ`."""

    sha256: str
    """Of the content as it was sent or fetched."""

    size: int
    """Of the same, in bytes."""

    uri: str = ""
    """Where it was fetched from. Empty: it was sent."""

    sent: types_pb2.InterleavedContent | None = None
    """The content as it was sent, where the text of it is the text that is extracted."""


class Sources:
    """Gets the contents of documents."""

    def __init__(self, settings: DocumentSettings) -> None:
        """Gets nothing yet.

        Args:
            settings: What documents may be.
        """
        self._settings = settings
        self._fetching = asyncio.Semaphore(settings.fetch_concurrency)

    async def get(self, document: SentDocument, field: str) -> Source:
        """Gets a document's content. `document.source` or `document.data` is set.

        Args:
            document: The document.
            field: Path of the request's field that holds it.

        Raises:
            InvalidArgumentError: The media type is not read, or the address must not or cannot be fetched.
            DeadlineExceededError: The address is too slow.
            UnavailableError: The address does not answer.
        """
        told = media_types.known(document.mime_type)
        if told is None:
            read = ", ".join(media_types.READ)
            raise InvalidArgumentError.of(
                f"{field}.mime_type", f"is {document.mime_type!r}; text is extracted from {read}"
            )
        match document.WhichOneof("source"):
            case "content":
                return await asyncio.to_thread(_of_content, document.content, told or media_types.TEXT)
            case "url":
                return await self._fetched(document.url.uri, told, f"{field}.url")
            case _:
                return await asyncio.to_thread(of_data, document.data, told)

    async def _fetched(self, uri: str, told: str, field: str) -> Source:
        async with self._fetching:
            fetched = await fetch(uri, self._settings.fetch_limits, field)
        mime_type = told or media_types.known(fetched.mime_type)
        if mime_type is None:
            raise InvalidArgumentError.of(
                field, f"answers with {fetched.mime_type!r}, which holds no text that is read"
            )
        if not told and mime_type in ("", media_types.TEXT):
            # Servers of raw files call everything plain text.
            path = urlsplit(uri).path.lower() if not uri.startswith("data:") else ""
            by_name = next((found for suffix, found in _SUFFIXES.items() if path.endswith(suffix)), mime_type)
            mime_type = by_name
        source = await asyncio.to_thread(of_data, fetched.content, mime_type)
        # A `data:` URI is the content itself, and may be large.
        return Source(
            source.content, source.mime_type, source.sha256, source.size, "" if uri.startswith("data:") else uri
        )


def of_data(data: bytes, mime_type: str) -> Source:
    """Returns bytes as a source; takes a while with many.

    Args:
        data: The content.
        mime_type: One of `media_types.READ`; empty: told from the content.
    """
    return Source(data, mime_type or media_types.sniffed(data), hashlib.sha256(data).hexdigest(), len(data))


def _of_content(sent: types_pb2.InterleavedContent, mime_type: str) -> Source:
    text = content.text_of(sent).encode("utf-8")
    whole = sent.SerializeToString(deterministic=True) if any(item.HasField("image") for item in sent.items) else text
    is_itself = mime_type in (media_types.TEXT, media_types.MARKDOWN)
    return Source(text, mime_type, hashlib.sha256(whole).hexdigest(), len(whole), sent=sent if is_itself else None)
