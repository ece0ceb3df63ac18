import asyncio
import io
import zipfile
from contextlib import asynccontextmanager

import pytest
from docx import Document

from services.core.errors import InvalidArgumentError
from services.memory.extraction import media_types
from services.memory.extraction.docx import docx
from services.memory.extraction.extracted import UnreadableError
from services.memory.extraction.extractor import Extractor
from services.memory.extraction.html import html
from services.memory.extraction.pdf import pdf
from services.memory.extraction.plain import decoded, markdown
from services.memory.extraction.tables import json_lines, json_text, table
from tests.services.memory.pdf import make_pdf


def headings(extracted):
    found = [(heading.level, heading.title) for heading in extracted.headings]
    for heading in extracted.headings:
        assert heading.title in " ".join(extracted.text[heading.start : heading.start + 200].split())
    return found


def test_html_is_what_a_reader_reads():
    page = html(
        b"<html><head><title>Not this</title><style>p{}</style></head><body><nav>Menu</nav><h1>The <b>big</b>\n one</h1>"
        b"<p>First line<br>second <i>line</i>.</p><ul><li>One<li>Two</ul><pre>  kept\n    as is</pre>"
        b"<table><tr><th>a<th>b</tr><tr><td>1<td>2</tr></table><script>alert(1)</script><!-- no --><h3></h3><h2>Sub</h2>tail</body>"
    )
    assert page.text.split("\n\n") == [
        "Menu", "The big one", "First line\nsecond line.", "One", "Two", "kept\n    as is", "a | b", "1 | 2", "Sub", "tail",
    ]  # fmt: skip
    assert headings(page) == [(1, "The big one"), (2, "Sub")]


def test_broken_html_is_read_as_browsers_do():
    assert html(b"<p>one <b>two<p>three</i>").text == "one two\n\nthree"
    assert html(b"no tags at all").text == "no tags at all"
    assert html(b"").text == ""


def test_markdown_keeps_its_source_and_finds_headings_but_not_in_code():
    source = "# One\n\n```\n# not one\n```\n\nText\n====\n\n~~~~\n~~~\n# nor this\n~~~~\n  ## Two ##\n#not\n- item\n---\n\n####### seven\n"
    page = markdown(source.encode())
    assert page.text == source
    assert headings(page) == [(1, "One"), (1, "Text"), (2, "Two")]
    assert source[page.headings[1].start :].startswith("Text\n====")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_text_is_decoded_by_its_mark_or_as_utf_8_or_as_windows_wrote_it(encoding):
    assert decoded("Zwölf Boxkämpfer".encode(encoding)) == "Zwölf Boxkämpfer"


def test_a_table_names_its_columns_on_every_row():
    assert (
        table(b'name,age\n"Bo, B.",3\n\nAl,4,extra\n', None).text
        == "name: Bo, B.\nage: 3\n\nname: Al\nage: 4\ncolumn 3: extra"
    )
    assert table(b"a;b\n1;2\n", None).text == "a: 1\nb: 2"
    assert table(b"a\tb\n1\t2\n", "\t").text == "a: 1\nb: 2"
    with pytest.raises(UnreadableError, match="CSV"):
        table(b'a,b\n"unclosed', None)


def test_json_is_written_as_paths_and_values():
    assert (
        json_text(b'[{"a": {"b": 1, "c": ["x", 2]}}, {"a": null, "d": [{"e": true}]}]').text
        == "a.b: 1\na.c: x, 2\n\nd.e: true"
    )
    assert json_lines(b'{"a": 1}\n\n{"a": 2}\n').text == "a: 1\n\na: 2"
    for content, says in ((b"{", "no valid JSON"), (b"[" * 200 + b"]" * 200, "nests"), (b"[" * 100_000, "nests")):
        with pytest.raises(UnreadableError, match=says):
            json_text(content)
    with pytest.raises(UnreadableError, match="line 2"):
        json_lines(b'{"a": 1}\n{')


def test_a_word_document_keeps_its_order():
    document = Document()
    document.add_heading("Title", 0)
    document.add_heading("Part", 2)
    document.add_paragraph("A paragraph.")
    rows = document.add_table(2, 2)
    rows.cell(0, 0).merge(rows.cell(0, 1)).text = "merged"
    rows.cell(1, 0).text, rows.cell(1, 1).text = "x", "y"
    buffer = io.BytesIO()
    document.save(buffer)
    page = docx(buffer.getvalue())
    assert page.text == "Title\n\nPart\n\nA paragraph.\n\nmerged\nx | y"
    assert headings(page) == [(1, "Title"), (2, "Part")]


def test_what_is_no_word_document_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("something", "else")
    for content in (b"PK\x03\x04", buffer.getvalue()):
        with pytest.raises(UnreadableError):
            docx(content)


def test_a_pdf_has_pages_that_begin_where_their_text_does():
    page = pdf(make_pdf(["First page.", "", "Third page."]))
    assert page.text == "First page.\n\nThird page."
    assert list(page.pages) == [0, 13, 13]
    with pytest.raises(UnreadableError, match="without text"):
        pdf(make_pdf(["", ""]))
    with pytest.raises(UnreadableError, match="broken"):
        pdf(make_pdf(["x"])[:60])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"%PDF-1.7 ...", media_types.PDF),
        (b"\n junk %PDF-1.4", media_types.PDF),
        (b"PK\x03\x04...", media_types.DOCX),
        (b"\xef\xbb\xbf<!DOCTYPE HTML><html>", media_types.HTML),
        (b"<!-- c --> <html>", media_types.HTML),
        (b' {"a": 1}\n', media_types.JSON),
        (b"[link] words", media_types.TEXT),
        (b"words", media_types.TEXT),
        (b"", media_types.TEXT),
    ],
)
def test_the_media_type_is_told_from_the_content(content, expected):
    assert media_types.sniffed(content) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("text/HTML; charset=utf-8", media_types.HTML),
        ("text/x-markdown", media_types.MARKDOWN),
        ("text/x-python", media_types.TEXT),
        ("application/ld+json", media_types.JSON),
        ("application/octet-stream", ""),
        ("", ""),
        ("image/png", None),
    ],
)
def test_media_types_have_several_names(told, expected):
    assert media_types.known(told) == expected


@asynccontextmanager
async def running(workers=1, seconds=20.0, memory_bytes=1 << 30):
    made = Extractor(workers, seconds, memory_bytes)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def extractor():
    async with running(workers=2) as made:
        yield made


async def test_a_document_that_takes_too_long_costs_nobody_else_anything(extractor):
    async with running(seconds=0.8) as hurried:
        with pytest.raises(InvalidArgumentError, match="longer than"):
            await hurried.extract(b"<div>" * 2_000_000 + b"deep", media_types.HTML, "documents[0]")
    assert (await extractor.extract(b"<p>fine</p>", media_types.HTML, "x")).text == "fine"


async def test_a_document_that_takes_too_much_memory_is_refused():
    async with running(seconds=60, memory_bytes=256 << 20) as small:
        with pytest.raises(InvalidArgumentError) as refused:
            await small.extract(b"[" + b"1," * 15_000_000 + b"1]", media_types.JSON, "documents[0]")
        assert refused.value.reason == "DOCUMENT_UNREADABLE"
        assert (await small.extract(b"[1]", media_types.JSON, "x")).text == "1"


async def test_calling_off_an_extraction_ends_it(extractor):
    task = asyncio.create_task(extractor.extract(b"<div>" * 2_000_000, media_types.HTML, "x"))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await extractor.extract(b"<p>two</p>", media_types.HTML, "x")).text == "two"
