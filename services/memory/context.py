"""The context for a prompt: found chunks, written by a template, within a number of tokens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import json_format, struct_pb2

from caravan.memory.v1 import rag_tool_pb2
from services.core.errors import InvalidArgumentError
from services.memory import content
from services.memory.ports import Tokenizer
from services.memory.queries import Hit

DEFAULT_TOKENS = 4096
HEADER = "Here are the retrieved documents for relevant context:\n=== START-RETRIEVED-CONTEXT ===\n"
CHUNK = "id:{{document_id}}; content:{{content}}\n"
FOOTER = "=== END-RETRIEVED-CONTEXT ===\n"
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_OWN = ("document_id", "content", "score", "index")
_METADATA = "metadata."


@dataclass(frozen=True, slots=True)
class Context:
    """What was found, as a prompt may hold it."""

    text: str
    """Header, chunks and footer."""

    hits: Sequence[Hit]
    """The chunks in it, best first."""


class Template:
    """The text around the chunks. It is filled once: what a document says stays text, whatever it looks like."""

    def __init__(self, template: rag_tool_pb2.ContextTemplate, field: str) -> None:
        """Reads a template.

        Args:
            template: The template; what it leaves out is as by default.
            field: Path of the request's field that holds it, for errors.

        Raises:
            InvalidArgumentError: It names what is not there.
        """
        self._header = _line(template.header) if template.HasField("header") else HEADER
        self._chunk = _line(template.chunk) if template.HasField("chunk") else CHUNK
        self._footer = _line(template.footer) if template.HasField("footer") else FOOTER
        for name in _PLACEHOLDER.findall(self._chunk):
            if name not in _OWN and not name.startswith(_METADATA):
                known = ", ".join(f"{{{{{own}}}}}" for own in (*_OWN, "metadata.key"))
                raise InvalidArgumentError.of(f"{field}.chunk", f"names {{{{{name}}}}}; it may name {known}")

    def written(self, hits: Sequence[Hit], most_tokens: int, tokenizer: Tokenizer) -> Context | None:
        """Writes as many chunks as fit, best first; None when there are none.

        A first chunk that does not fit is cut, so that a small context has the beginning of the best chunk rather than nothing.

        Args:
            hits: What was found, best first.
            most_tokens: Most tokens of the text.
            tokenizer: Counts them.
        """

        def count(text: str) -> int:
            return len(tokenizer.token_ends(text))

        left = most_tokens - count(self._header) - count(self._footer)
        lines: list[str] = []
        for index, hit in enumerate(hits, 1):
            text = content.text_of(hit.chunk.content)
            line = self._filled(hit, index, text)
            tokens = count(line)
            if tokens > left and not lines:
                room = left - count(self._filled(hit, index, ""))
                line = self._filled(hit, index, _beginning(text, room, tokenizer)) if room > 0 else ""
                tokens = left
            if not line or tokens > left:
                break
            lines.append(line)
            left -= tokens
        if not lines:
            return None
        return Context("".join([self._header, *lines, self._footer]), hits[: len(lines)])

    def _filled(self, hit: Hit, index: int, text: str) -> str:
        own = {
            "document_id": hit.chunk.document_id,
            "content": text,
            "score": f"{hit.score:.4f}",
            "index": str(index),
        }

        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name in own:
                return own[name]
            return _metadata(hit.chunk.metadata, name.removeprefix(_METADATA))

        return _PLACEHOLDER.sub(value, self._chunk)


def _line(text: str) -> str:
    return text if text.endswith("\n") or not text else f"{text}\n"


def _beginning(text: str, tokens: int, tokenizer: Tokenizer) -> str:
    ends = tokenizer.token_ends(text)
    return text if len(ends) <= tokens else text[: int(ends[tokens - 1])]


def _metadata(metadata: struct_pb2.Struct, path: str) -> str:
    value: struct_pb2.Value | None = struct_pb2.Value(struct_value=metadata)
    for key in path.split("."):
        value = value.struct_value.fields.get(key) if value is not None and value.HasField("struct_value") else None
    if value is None or value.HasField("null_value"):
        return ""
    if value.HasField("string_value"):
        return value.string_value
    if value.HasField("number_value") and value.number_value.is_integer():
        return str(int(value.number_value))
    return json_format.MessageToJson(value, indent=None)
