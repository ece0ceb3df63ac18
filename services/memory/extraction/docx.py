"""DOCX: paragraphs, headings, lists and tables, in their order."""

import io
import zipfile

from docx import Document
from docx.opc.exceptions import OpcError
from docx.table import Table
from lxml import etree

from services.memory.extraction.extracted import Extracted, TextBuilder, UnreadableError

_MOST_UNPACKED = 512 << 20


def docx(content: bytes) -> Extracted:
    """Reads a Word document (Office Open XML).

    Raises:
        UnreadableError: It is broken, something else, or unpacks to too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_UNPACKED:
            raise UnreadableError(f"unpacks to {size} bytes, more than the {_MOST_UNPACKED} that are read")
        document = Document(io.BytesIO(content))
    except (zipfile.BadZipFile, OpcError, KeyError, ValueError, etree.XMLSyntaxError, EOFError, OSError) as error:
        raise UnreadableError("is no DOCX document, or a broken one") from error
    builder = TextBuilder()
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            builder.block("\n".join(_row(row.cells) for row in block.rows))
            continue
        level = _level(block.style.name if block.style is not None else "")
        if level:
            builder.heading(level, block.text)
        else:
            builder.block(block.text)
    return builder.built()


def _level(style: str | None) -> int:
    """Returns the level of a heading's style by its name; 0: it is none."""
    if style == "Title":
        return 1
    word, _, number = (style or "").partition(" ")
    return int(number) if word == "Heading" and number.isdecimal() else 0


def _row(cells: tuple) -> str:  # type: ignore[type-arg]
    """Returns the texts of a row's cells; a merged cell appears once."""
    distinct = {cell._tc: cell.text for cell in cells}  # noqa: SLF001 - the one identity of a merged cell
    return " | ".join(" ".join(text.split()) for text in distinct.values())
