"""A JSON list of objects, read piece by piece: the list may be larger than memory."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from services.post_training.datasets.readers.numbered import Rows, UnreadableError, row_of, too_large

_CHUNK = 1 << 18
# What decides where an element ends: texts, brackets, and what separates elements. An open text is left for when more has been read.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]|"', re.DOTALL)
_SPACE = " \t\r\n"


def read(path: Path, max_row_bytes: int) -> Rows:
    """Yields the rows of a file.

    Args:
        path: The file.
        max_row_bytes: Most bytes of a row.

    Raises:
        UnreadableError: It is no list.
    """
    for number, text in enumerate(_elements(path, max_row_bytes)):
        if text is None:
            yield number, too_large(max_row_bytes)
            return
        yield number, row_of(text, max_row_bytes)


def _texts(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                yield decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise UnreadableError("is not UTF-8") from error


def _elements(path: Path, most: int) -> Iterator[str | None]:
    """Yields the text of each element; None for one that is too long, after which nothing more can be said."""
    texts = _texts(path)
    buffer = _opened(texts)
    place, depth = 0, 0
    first = True
    for more in _and_then_none(texts):
        begin = 0
        while (token := _TOKEN.search(buffer, place)) is not None:
            mark = token.group()
            if mark == '"' and more is not None:
                break
            place = token.end()
            if mark in "[{":
                depth += 1
            elif mark in "]}" and depth:
                depth -= 1
            elif depth == 0 and mark in ",]}":
                element = buffer[begin : token.start()].strip(_SPACE)
                begin = place
                if not (first and not element and mark == "]"):
                    yield element
                first = False
                if mark != ",":
                    _check_end(mark, buffer[place:] + (more or ""), texts)
                    return
        buffer, place = buffer[begin:], place - begin
        if len(buffer) > most:
            yield None
            return
        buffer += more or ""
    raise UnreadableError("is a JSON list without an end: it was cut off")


def _opened(texts: Iterator[str]) -> str:
    """Returns the text after the list's opening bracket."""
    for text in texts:
        begun = text.lstrip(_SPACE)
        if begun:
            if begun[0] != "[":
                raise UnreadableError("is no JSON list of objects; for an object a line, say that it is JSON Lines")
            return begun[1:]
    raise UnreadableError("is empty")


def _check_end(mark: str, left: str, texts: Iterator[str]) -> None:
    if mark != "]" or left.strip(_SPACE) or any(text.strip(_SPACE) for text in texts):
        raise UnreadableError("holds something after its JSON list")


def _and_then_none(texts: Iterator[str]) -> Iterator[str | None]:
    yield from texts
    yield None
