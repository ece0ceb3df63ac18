"""`python -m services.memory.extraction.worker`: extracts text. What goes wrong with a document is an answer."""

import traceback
from collections.abc import Callable
from typing import Any

from services.core.worker_loop import serve
from services.memory.extraction import media_types
from services.memory.extraction.extracted import Extracted, UnreadableError


def _reader(mime_type: str) -> Callable[[bytes], Extracted]:
    """Returns what reads a media type; its library is imported only now."""
    match mime_type:
        case media_types.PDF:
            from services.memory.extraction.pdf import pdf

            return pdf
        case media_types.DOCX:
            from services.memory.extraction.docx import docx

            return docx
        case media_types.HTML:
            from services.memory.extraction.html import html

            return html
        case media_types.MARKDOWN:
            from services.memory.extraction.plain import markdown

            return markdown
        case media_types.TEXT:
            from services.memory.extraction.plain import plain

            return plain
        case _:
            return _table_reader(mime_type)


def _table_reader(mime_type: str) -> Callable[[bytes], Extracted]:
    from services.memory.extraction.tables import json_lines, json_text, table

    match mime_type:
        case media_types.CSV:
            return lambda content: table(content, None)
        case media_types.TSV:
            return lambda content: table(content, "\t")
        case media_types.JSON:
            return json_text
        case _:
            return json_lines


def _answer(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    mime_type = request["mime_type"]
    try:
        extracted = _reader(mime_type)(content)
    except UnreadableError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "takes more memory to read than this service gives a document; send it in parts"}
    except Exception:  # noqa: BLE001 - whatever a library makes of a broken document, it is the document's fault; the log tells
        traceback.print_exc()
        return {"error": f"cannot be read as {mime_type}: it is broken, or something else"}
    headings = [(heading.start, heading.level, heading.title) for heading in extracted.headings]
    return {"text": extracted.text, "pages": list(extracted.pages), "headings": headings}


if __name__ == "__main__":
    serve(_answer)
