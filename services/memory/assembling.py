"""Putting documents together of the requests of a bulk insertion."""

from dataclasses import dataclass, field

from caravan.memory.v1 import memory_pb2
from services.core.errors import InvalidArgumentError
from services.memory.extraction import media_types


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """A document that has come whole."""

    document: memory_pb2.Document
    """The document; without content when it came in parts."""

    size: int
    """Bytes of its content."""

    data: bytearray | None = None
    """Its content, when it came in parts."""

    error: InvalidArgumentError | None = None
    """Why it cannot be inserted."""

    @property
    def document_id(self) -> str:
        """Identifier of the document."""
        return self.document.document_id


@dataclass(slots=True)
class _Open:
    """A document of which parts have come."""

    document: memory_pb2.Document
    data: bytearray = field(default_factory=bytearray)
    size: int = 0


class Assembler:
    """Takes the requests of one bulk insertion, one after the other."""

    def __init__(self, most_bytes: int) -> None:
        """Begins with nothing.

        Args:
            most_bytes: Largest document. What comes beyond is dropped, and the document refused.
        """
        self._most_bytes = most_bytes
        self._open: _Open | None = None
        self._first = True
        self.ttl: int | None = None
        """Life of documents without one of their own, in seconds, as the first request says."""
        self.received = 0
        """Bytes of content so far."""

    def add(self, request: memory_pb2.BulkInsertDocumentsRequest) -> Arrived | None:
        """Takes a request; returns the document that is whole with it, if one is.

        Raises:
            InvalidArgumentError: It does not follow the one before.
        """
        if self._first:
            self.ttl = request.ttl_seconds if request.HasField("ttl_seconds") else None
            self._first = False
        match request.WhichOneof("input"):
            case "document":
                if self._open is not None:
                    raise InvalidArgumentError.of("document", f"comes before the last part of {self._name()}")
                return self._whole(request.document)
            case "part":
                return self._part(request.part)
            case _:
                return None

    def end(self) -> None:
        """Says that no request follows.

        Raises:
            InvalidArgumentError: The last part of a document is missing.
        """
        if self._open is not None:
            raise InvalidArgumentError.of("part", f"the requests end before the last part of {self._name()}")

    def _whole(self, document: memory_pb2.Document) -> Arrived:
        size = len(document.data) + sum(len(item.text) for item in document.content.items)
        self.received += size
        return Arrived(document, size)

    def _part(self, part: memory_pb2.DocumentPart) -> Arrived | None:
        if part.HasField("head"):
            if self._open is not None:
                raise InvalidArgumentError.of("part.head", f"comes before the last part of {self._name()}")
            head = part.head
            document = memory_pb2.Document(
                document_id=head.document_id, mime_type=head.mime_type, metadata=head.metadata
            )
            if head.HasField("ttl_seconds"):
                document.ttl_seconds = head.ttl_seconds
            self._open = _Open(document)
        if self._open is None:
            raise InvalidArgumentError.of("part.head", "must be set in the first part of a document")
        open_ = self._open
        self.received += len(part.data)
        open_.size += len(part.data)
        if open_.size <= self._most_bytes:
            open_.data += part.data
        else:
            open_.data.clear()
        if not part.last:
            return None
        self._open = None
        return self._closed(open_)

    def _closed(self, open_: _Open) -> Arrived:
        field_name = "part.data"
        if open_.size > self._most_bytes:
            error = InvalidArgumentError.of(
                field_name,
                f"the document has {open_.size} bytes, and at most {self._most_bytes} are taken; send it in pieces",
            )
            return Arrived(open_.document, 0, error=error)
        if media_types.known(open_.document.mime_type) is None:
            read = ", ".join(media_types.READ)
            error = InvalidArgumentError.of(
                "part.head.mime_type", f"is {open_.document.mime_type!r}; text is extracted from {read}"
            )
            return Arrived(open_.document, 0, error=error)
        return Arrived(open_.document, open_.size, open_.data)

    def _name(self) -> str:
        return repr(self._open.document.document_id) if self._open is not None else ""
