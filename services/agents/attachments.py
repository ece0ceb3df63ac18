"""Where the documents of a turn go.

Memory tool and code interpreter: to both. The interpreter alone: its files. The memory tool alone: the session's bank. Neither: the prompt.
"""

import hashlib
import mimetypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from caravan.agents.v1 import turns_pb2
from caravan.memory.v1 import memory_pb2
from caravan.types.v1 import types_pb2
from services.agents.transcript import text_of
from services.core.errors import InvalidArgumentError
from services.core.fetch import FetchLimits, fetch

_TEXTUAL = (
    "text/",
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
)
# Text that comes with a prompt is paid for with every inference.
MOST_INLINE_BYTES = 1 << 20


@dataclass(slots=True)
class Routed:
    """The documents of a turn, each where it belongs."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Files of the code interpreter, by name."""
    documents: list[memory_pb2.Document] = field(default_factory=list)
    """Documents for the session's bank."""
    inlined: list[types_pb2.InterleavedContent] = field(default_factory=list)
    """Content for the prompt."""


async def route(
    attachments: Sequence[turns_pb2.Attachment], limits: FetchLimits, *, to_memory: bool, to_interpreter: bool
) -> Routed:
    """Sends each document where it belongs.

    Args:
        attachments: The documents.
        limits: How far to go for those that come as addresses.
        to_memory: There is a memory tool.
        to_interpreter: There is a code interpreter that runs here.

    Raises:
        InvalidArgumentError: A document cannot be fetched, or cannot be put into a prompt.
        CaravanError: An address does not answer.
    """
    routed = Routed()
    for index, attachment in enumerate(attachments):
        path = f"documents[{index}]"
        if to_memory:
            routed.documents.append(_document(attachment))
        if to_interpreter:
            _add_file(routed.files, attachment, await _bytes(attachment, limits, path))
        if not to_memory and not to_interpreter:
            routed.inlined.append(await _inline(attachment, limits, path))
    if routed.files:
        routed.inlined.append(_announced(routed.files))
    return routed


def _document(attachment: turns_pb2.Attachment) -> memory_pb2.Document:
    """The same document gets the same identifier, so that a turn that is taken over does not insert it twice."""
    digest = hashlib.sha256(attachment.SerializeToString(deterministic=True)).hexdigest()[:32]
    document = memory_pb2.Document(
        document_id=f"{attachment.file_name or 'document'}-{digest}", mime_type=attachment.mime_type
    )
    match attachment.WhichOneof("source"):
        case "content":
            document.content.CopyFrom(attachment.content)
        case "url":
            document.url.CopyFrom(attachment.url)
        case _:
            document.data = attachment.data
    return document


def _add_file(files: dict[str, bytes], attachment: turns_pb2.Attachment, content: bytes) -> None:
    extension = mimetypes.guess_extension(attachment.mime_type) or ".txt"
    name = attachment.file_name or f"document{extension}"
    stem, dot, suffix = name.rpartition(".")
    number = 2
    while name in files:
        name = f"{stem or suffix}-{number}{dot}{suffix if stem else ''}"
        number += 1
    files[name] = content


async def _bytes(attachment: turns_pb2.Attachment, limits: FetchLimits, path: str) -> bytes:
    match attachment.WhichOneof("source"):
        case "content":
            return text_of(attachment.content).encode()
        case "url":
            return (await fetch(attachment.url.uri, limits, f"{path}.url.uri")).content
        case _:
            return attachment.data


async def _inline(attachment: turns_pb2.Attachment, limits: FetchLimits, path: str) -> types_pb2.InterleavedContent:
    if attachment.HasField("content"):
        return attachment.content
    mime_type, data = attachment.mime_type, attachment.data
    if attachment.HasField("url"):
        fetched = await fetch(attachment.url.uri, limits, f"{path}.url.uri")
        mime_type, data = mime_type or fetched.mime_type, fetched.content
    content = types_pb2.InterleavedContent()
    if mime_type.startswith("image/"):
        content.items.add().image.data = data
        return content
    if mime_type and not mime_type.startswith(_TEXTUAL):
        description = f"{mime_type} cannot be put into a prompt: give the agent the memory tool or the code interpreter"
        raise InvalidArgumentError.of(path, description)
    if len(data) > MOST_INLINE_BYTES:
        description = (
            f"is larger than {MOST_INLINE_BYTES} bytes: give the agent the memory tool or the code interpreter"
        )
        raise InvalidArgumentError.of(path, description)
    try:
        content.items.add().text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError.of(path, "is no UTF-8 text; say its mime_type") from error
    return content


def _announced(names: Iterable[str]) -> types_pb2.InterleavedContent:
    content = types_pb2.InterleavedContent()
    lines = [f'# There is a file accessible to you at "{name}"' for name in names]
    content.items.add().text = "\n".join(lines)
    return content
