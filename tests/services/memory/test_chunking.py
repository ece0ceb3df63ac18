import shutil
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import FailedPreconditionError
from services.memory.chunking import Piece, Places, Window, cut
from services.memory.extraction.extracted import Extracted, Heading
from services.memory.ports import EmbeddingModel
from services.memory.tokenizers import FileTokenizer, Tokenizers, WordTokenizer, _packaged

WORDS = WordTokenizer()


def pieces(text, size, overlap=None):
    return cut(text, WORDS.token_ends(text), Window.of(size, overlap))


def test_windows_begin_one_stride_apart_and_the_last_reaches_the_end():
    text = "a b c d e f g h"
    assert [text[piece.start : piece.end] for piece in pieces(text, 4, 1)] == ["a b c d", "d e f g", "g h"]


def test_no_chunk_is_wholly_inside_the_one_before():
    text = "a b c d e f g"
    assert [text[piece.start : piece.end] for piece in pieces(text, 4, 1)] == ["a b c d", "d e f g"]


def test_the_overlap_is_a_quarter_unless_it_is_given():
    assert (Window.of(512).overlap, Window.of(10, 0).overlap, Window.of(1).overlap) == (128, 0, 0)


def test_white_space_at_the_edges_belongs_to_no_chunk():
    assert pieces("  a b  \n", 10) == [Piece(2, 5, 2)]
    assert pieces(" \n ", 10) == []


@settings(deadline=None)
@given(st.text(max_size=300), st.integers(1, 20), st.data())
def test_every_sign_that_is_not_white_space_is_in_a_chunk_and_no_chunk_is_too_long(text, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    found = pieces(text, size, overlap)
    covered = {place for piece in found for place in range(piece.start, piece.end)}
    assert {place for place, sign in enumerate(text) if not sign.isspace()} <= covered
    assert all(piece.token_count <= size for piece in found)
    assert all(one.end <= two.end for one, two in pairwise(found))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_models_tokens_end_inside_the_text_and_never_go_back(text):
    ends = FileTokenizer(_packaged()).token_ends(text)
    assert (np.diff(ends) >= 0).all()
    assert not len(ends) or 0 < ends[0] <= ends[-1] <= len(text)


def test_a_long_text_is_tokenized_in_stretches_as_if_it_were_one():
    tokenizer = FileTokenizer(_packaged())
    text = "Zwölf Boxkämpfer jagen Viktor 😀 quer über den großen Sylter Deich. " * 500
    whole = tokenizer._tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.token_ends(text).tolist() == [end for _, end in whole.offsets]


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("cat", 1), ("extraordinarily", 2), ("a-b", 3), ("über 100 €", 3), ("日本語 in Tōkyō", 5)],
)
def test_words_are_cut_into_pieces(text, count):
    assert len(WORDS.token_ends(text)) == count


def test_a_chunk_knows_its_page_and_the_headings_above_it():
    headings = [Heading(0, 1, "Top"), Heading(10, 2, "Sub"), Heading(20, 3, "Deep"), Heading(30, 2, "Other")]
    places = Places(Extracted("x" * 50, [0, 15, 15, 40], headings))
    found = [places.location(Piece(start, start + 5, 1), 7) for start in (0, 25, 45)]
    assert [location.page for location in found] == [1, 3, 4]
    assert [list(location.headings) for location in found] == [["Top"], ["Top", "Sub", "Deep"], ["Top", "Other"]]
    assert (found[1].start, found[1].end, found[1].chunk_index) == (25, 30, 7)


def test_a_document_without_pages_or_headings_has_none():
    location = Places(Extracted("words")).location(Piece(0, 5, 1), 0)
    assert (location.page, list(location.headings)) == (0, [])


async def test_the_settings_name_tokenizers_for_models_and_for_banks_without_one(tmp_path):
    own, default = tmp_path / "own" / "tokenizer.json", tmp_path / "default" / "tokenizer.json"
    for place in (own, default):
        place.parent.mkdir()
        shutil.copy(_packaged(), place)
    tokenizers = Tokenizers({"vectors": own}, default)
    model = EmbeddingModel("vectors", 4, None, "somewhere/else")
    other = EmbeddingModel("others", 4, None, "somewhere/else")
    names = [(await tokenizers.of_model(one)).name for one in (model, other, None)]
    assert names == ["own/tokenizer.json", "default/tokenizer.json", "default/tokenizer.json"]
    assert (await Tokenizers({}, None).of_model(other)).name == WordTokenizer().name
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(FailedPreconditionError, match="is no tokenizer"):
        await Tokenizers({"vectors": broken}, None).of_model(model)
