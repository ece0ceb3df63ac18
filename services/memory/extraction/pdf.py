"""PDF: the text of each page."""

import pypdfium2

from services.memory.extraction.extracted import Extracted, TextBuilder, UnreadableError

_MOST_PAGES = 20_000
_MOST_CHARS = 100_000_000


def pdf(content: bytes) -> Extracted:
    """Reads a PDF; its pages are those of the document, from the first sheet on.

    Raises:
        UnreadableError: It is broken, encrypted, too long, or holds no text.
    """
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise UnreadableError(
            "is an encrypted PDF; send it without a password" if locked else "is a broken PDF"
        ) from error
    if len(document) > _MOST_PAGES:
        raise UnreadableError(f"has {len(document)} pages, and at most {_MOST_PAGES} are read; send it in parts")
    builder = TextBuilder()
    read = 0
    for number in range(len(document)):
        builder.page()
        try:
            page = document[number]
            text = page.get_textpage().get_text_bounded()
        except pypdfium2.PdfiumError as error:
            raise UnreadableError(f"is a broken PDF: page {number + 1} cannot be read") from error
        read += len(text)
        if read > _MOST_CHARS:
            raise UnreadableError(f"holds more than {_MOST_CHARS} characters of text; send it in parts")
        builder.block(text.replace("\r\n", "\n").replace("\x00", "").replace("\ufffe", "-"))
        page.close()
    extracted = builder.built()
    if not extracted.text:
        raise UnreadableError("is a PDF without text, perhaps scanned pages: recognise their text first")
    return extracted
