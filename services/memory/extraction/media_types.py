"""Which media types are read, and how a document's is told from its first bytes."""

import re

TEXT = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
JSON_LINES = "application/jsonl"
READ = (TEXT, MARKDOWN, HTML, PDF, DOCX, CSV, TSV, JSON, JSON_LINES)

_ALIASES = {
    "text/x-markdown": MARKDOWN,
    "text/md": MARKDOWN,
    "application/markdown": MARKDOWN,
    "application/xhtml+xml": HTML,
    "application/x-pdf": PDF,
    "application/csv": CSV,
    "text/json": JSON,
    "application/x-ndjson": JSON_LINES,
    "application/ndjson": JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
}
# What servers say when they know nothing.
_UNTOLD = {"", "application/octet-stream", "binary/octet-stream", "application/x-download"}
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_SNIFFED = 4096


def known(told: str) -> str | None:
    """Returns the media type that a caller or a server means.

    Args:
        told: What it says; parameters and case do not count.

    Returns:
        One of `READ`; an empty string when it says nothing; None when it is not read. Every other `text/` is plain text.
    """
    name = told.partition(";")[0].strip().lower()
    if name in _UNTOLD:
        return ""
    name = _ALIASES.get(name, name)
    if name in READ:
        return name
    if name.endswith("+json"):
        return JSON
    return TEXT if name.startswith("text/") else None


def sniffed(content: bytes) -> str:
    """Returns the media type that the beginning of a content shows: PDF, DOCX, HTML, JSON or plain text."""
    head = content[:_SNIFFED]
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith(b"PK\x03\x04"):
        return DOCX
    if _HTML.match(head.removeprefix(b"\xef\xbb\xbf")):
        return HTML
    if head.lstrip()[:1] in (b"{", b"[") and content.rstrip()[-1:] in (b"}", b"]"):
        return JSON
    return TEXT
