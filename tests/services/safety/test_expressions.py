import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import InvalidArgumentError
from services.safety.expressions import EncodedText, Expression, joined, quoted


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_every_byte_at_which_a_character_begins_leads_back_to_that_character(text: str):
    encoded = EncodedText(text)
    place = 0
    for index, letter in enumerate(text):
        assert encoded.code_point(place) == index
        place += len(letter.encode())
    assert encoded.code_point(place) == len(text)


def test_places_in_a_long_text_of_many_scripts_are_right():
    text = "aß日😀" * 5000 + "needle" + "é" * 5000
    encoded = EncodedText(text)
    [(start, end)] = Expression("needle").spans(encoded)
    assert text[encoded.code_point(start) : encoded.code_point(end)] == "needle"


def test_half_a_surrogate_pair_is_scanned_like_any_other_character():
    encoded = EncodedText("a\ud800b")
    assert [encoded.code_point(start) for start, _ in Expression("b").spans(encoded)] == [2]


@pytest.mark.parametrize(
    ("pattern", "position"),
    [("a(?=b)", 1), ("ab[c", 2), (r"(a)\1", 3), ("ab**", 2), (r"x\p{Klingon}", 1)],
)
def test_what_re2_does_not_take_is_refused_with_its_position(pattern: str, position: int):
    with pytest.raises(InvalidArgumentError, match=f"at character {position}:") as caught:
        Expression(pattern, field="params.deny[0].pattern")
    assert caught.value.violations[0].field == "params.deny[0].pattern"


def test_an_expression_that_compiles_to_too_much_is_refused():
    with pytest.raises(InvalidArgumentError, match="instructions"):
        Expression("[ab]{900}c{900}", limit=1000)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*b", r"(a|aa)+$", r"(.*a){12}x", r"^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_expressions_that_explode_elsewhere_take_linear_time(pattern: str):
    expression = Expression(pattern)
    started = time.process_time()
    expression.found(EncodedText("a" * 50_000 + "!"))
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("pattern", "at_least"), [("abc", 3), ("a{2,5}", 5), (r"[+*]{3}", 3), (r"foo.{0,20}bar", 26), (r"\+\*", 2)]
)
def test_the_reach_of_an_expression_without_loops_is_at_least_its_longest_match(pattern: str, at_least: int):
    reach = Expression(pattern).reach
    assert reach is not None
    assert reach >= at_least


@pytest.mark.parametrize("pattern", ["a*", "a+", "a{2,}", "[a-z]+", r"\s*"])
def test_an_expression_with_a_loop_has_no_reach(pattern: str):
    assert Expression(pattern).reach is None


@pytest.mark.parametrize(
    ("pattern", "anchored"),
    [("^a", True), ("a$", True), (r"\Aa", True), (r"a\z", True), ("[$^]a", False), (r"\$a", False)],
)
def test_an_expression_tells_whether_it_is_anchored(pattern: str, anchored: bool):
    assert Expression(pattern).has_anchor == anchored


def test_an_empty_match_is_no_span():
    assert list(Expression("x*").spans(EncodedText("axxb"))) == [(1, 3)]


def test_a_joined_expression_keeps_each_ones_case():
    both = joined([Expression("abc", ignore_case=True), Expression("DEF")])
    assert both.found(EncodedText("ABC"))
    assert both.found(EncodedText("DEF"))
    assert not both.found(EncodedText("def"))


def test_quoted_words_match_as_they_stand_with_any_blanks():
    assert Expression(quoted("a.b  c+")).found(EncodedText("x a.b\n c+ y"))
    assert not Expression(quoted("a.b")).found(EncodedText("aXb"))
