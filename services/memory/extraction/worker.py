"""`python -m services.memory.extraction.worker`: extracts text, one document after the other, until its input ends.

A request is a line of JSON (`mime_type`, `size`, `cpu_seconds`) and `size` bytes of content; an answer is a line of JSON. What goes
wrong with a document is an answer; a document that crashes the process, or takes too much time or memory, costs nobody else anything.
"""

import json
import resource
import sys
import traceback
from collections.abc import Callable
from typing import Any

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


def _answer(mime_type: str, content: bytes) -> dict[str, Any]:
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


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main() -> None:
    """Answers requests from standard input on standard output. The first argument is the most memory in bytes."""
    _limit(resource.RLIMIT_AS, int(sys.argv[1]))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    # What a library prints must not get between the answers.
    sys.stdout = sys.stderr
    while line := requests.readline():
        request = json.loads(line)
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + request["cpu_seconds"]) + 1)
        answer = _answer(request["mime_type"], requests.read(request["size"]))
        answers.write(json.dumps(answer, ensure_ascii=True).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
