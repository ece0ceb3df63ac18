"""Plain text and Markdown: the text is the source itself, so that places in it are places in what was sent."""

import codecs
import re

from services.memory.extraction.extracted import Extracted, Heading, UnreadableError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# CommonMark 0.31: fenced code (4.5), ATX headings (4.2), setext headings (4.3); of these only those of one line.
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HASHES = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?")
_UNDERLINE = re.compile(r" {0,3}(?:(=)=*|-+)")
_PARAGRAPH = re.compile(r" {0,3}(?![-*+>|]|\d+[.)] )\S")


def decoded(content: bytes) -> str:
    """Returns bytes as text: by their byte order mark, else UTF-8, else Windows-1252.

    Raises:
        UnreadableError: They are no text.
    """
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            try:
                return content[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise UnreadableError(f"is not valid {encoding}, which its byte order mark announces") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise UnreadableError("is binary, not text; say in mime_type what it is")
    return text


def plain(content: bytes) -> Extracted:
    """Reads plain text.

    Raises:
        UnreadableError: It is no text.
    """
    return Extracted(decoded(content))


def markdown(content: bytes) -> Extracted:
    """Reads Markdown; headings are CommonMark's, underlined ones too, and not what looks like one in fenced code.

    Raises:
        UnreadableError: It is no text.
    """
    text = decoded(content)
    headings: list[Heading] = []
    start = 0
    fence = ""
    above: tuple[int, str] | None = None
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        elif mark:
            fence, above = mark[1], None
        elif found := _HASHES.fullmatch(line.rstrip()):
            _add(headings, start, len(found[1]), found[2] or "")
            above = None
        elif above is not None and (found := _UNDERLINE.fullmatch(line.rstrip())):
            _add(headings, above[0], 1 if found[1] == "=" else 2, above[1])
            above = None
        else:
            above = (start, line) if line.strip() and above is None and _PARAGRAPH.match(line) else None
        start += len(line)
    return Extracted(text, headings=headings)


def _add(headings: list[Heading], start: int, level: int, title: str) -> None:
    title = " ".join(title.split())
    if title:
        headings.append(Heading(start, level, title))
