import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.safety.texts import Text, View

# Letters that combine, disappear, fold, or are several in one.
TRICKY = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("aé\u0301\u200b\u202eﬁｈрау각\u1100\u1161\u11a8\u00ad😀𝓀\ufe0f ㎏½"),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("disguised", "plain"),
    [
        ("k\u200bi\u2060ll", "kill"),
        ("\u202ellik", "llik"),
        ("ｋｉｌｌ", "kill"),
        ("𝓀𝒾𝓁𝓁", "kill"),
        ("кіll", "kill"),
        ("Ρаyраl", "Paypal"),
        ("b\u00f6mb", "bomb"),
        ("b\u0300o\u0301m\u0302b\u0303", "bomb"),
        ("ki\u00adll", "kill"),
        ("k\ufe0fill", "kill"),
        ("ﬁre", "fire"),
    ],
)
def test_a_disguised_word_folds_to_the_plain_one(disguised: str, plain: str):
    assert Text(disguised).folded.text == plain


def test_a_place_in_a_view_leads_back_to_the_text_as_sent():
    text = Text("say k\u200bi\u0301ll ﬁrst")
    start = text.folded.text.index("kill")
    assert text.original[slice(*text.folded.span(start, start + 4))] == "k\u200bi\u0301ll"
    start = text.folded.text.index("first")
    assert text.original[slice(*text.folded.span(start, start + 5))] == "ﬁrst"


def test_languages_keep_their_letters_in_the_normalized_view():
    for words in ("Привет, мир", "你好", "नमस्ते", "각하", "שלום", "مرحبا"):
        assert Text(words).normalized.text == words


@given(TRICKY)
def test_every_view_covers_the_text_in_order(original: str):
    text = Text(original)
    for view in (text.normalized, text.folded):
        behind = 0
        for place in range(len(view.text)):
            start, end = view.span(place, place + 1)
            assert 0 <= start < end <= len(original)
            assert end >= behind
            behind = end
        assert view.span(0, len(view.text)) <= (len(original), len(original))


@given(TRICKY)
def test_the_normalized_view_is_in_normal_form_but_for_what_was_invisible(original: str):
    seen = Text(original).normalized.text
    assert all(unicodedata.category(letter) != "Cf" for letter in seen)


def test_a_view_that_changes_nothing_costs_no_map():
    assert Text("plain").folded == View("plain")
