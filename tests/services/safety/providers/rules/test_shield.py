from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.safety.providers.rules.config import RulesParams
from services.safety.providers.rules.shield import RulesShield
from services.safety.texts import Text
from tests.services.safety.masked import found, masked


def shield(**params: Any) -> RulesShield:
    return RulesShield(RulesParams.model_validate(params))


def deny(pattern: str, **more: Any) -> RulesShield:
    return shield(deny=[{"name": "rule", "pattern": pattern, **more}])


def test_a_denied_pattern_is_found_where_it_stands():
    assert found(deny(r"\bbomb\b"), "a Bomb, no bombast") == [("rule", "Bomb")]


def test_an_exception_allows_what_lies_within_it():
    assert found(deny("bomb", exceptions=["bath bomb"]), "a bath bomb and a bomb") == [("rule", "bomb")]


@pytest.mark.parametrize(
    "disguised", ["b\u200bomb", "ｂｏｍｂ", "bоmb", "bómb", "𝐛𝐨𝐦𝐛", "\u202ebomb\u202c", "b\u00ado\u2060mb"]
)
def test_a_disguise_of_unicode_does_not_help(disguised: str):
    [(category, text)] = found(deny("bomb"), f"one {disguised} here")
    assert category == "rule"
    assert text.strip("\u202e\u202c") == disguised.strip("\u202e\u202c")


def test_a_pattern_of_another_script_finds_that_script():
    assert found(deny("бомба"), "это бомба") == [("rule", "бомба")]


def test_a_topic_is_found_as_whole_words_in_any_case_with_any_blanks():
    topics = shield(topics=[{"name": "arms", "phrases": ["ghost gun", "бомба", "爆弾"]}])
    assert found(topics, "Ghost \n GUN, ghost gunner; БОМБА, бомбардир; この爆弾は") == [
        ("arms", "Ghost \n GUN"),
        ("arms", "БОМБА"),
        ("arms", "爆弾"),
    ]


def test_of_phrases_that_begin_alike_each_is_found():
    topics = shield(topics=[{"name": "t", "phrases": ["gun", "guns", "gun powder"]}])
    assert [text for _, text in found(topics, "gun guns gun powder gun")] == ["gun", "guns", "gun powder", "gun"]


@pytest.mark.parametrize("phrase", [" ", "\u200b", "\u00ad \u2060"])
def test_a_phrase_that_nobody_sees_is_refused(phrase: str):
    with pytest.raises(InvalidArgumentError) as caught:
        shield(topics=[{"name": "t", "phrases": ["gun", phrase]}])
    assert caught.value.violations[0].field == "params.topics[0].phrases[1]"


def test_ten_thousand_phrases_are_taken():
    topics = shield(topics=[{"name": "t", "phrases": [f"word{number:05d}" for number in range(10_000)]}])
    assert found(topics, "not word0999 but word09999") == [("t", "word09999")]


def test_a_text_that_no_allowed_pattern_matches_as_a_whole_is_reported():
    allow = shield(allow={"patterns": [r"yes|no", r"\d+"], "level": "warn"})
    assert found(allow, "Yes") == found(allow, "42") == []
    [finding] = allow.scan(Text("yes and no"))
    assert (finding.category, finding.start, finding.end) == ("not_allowed", 0, 10)
    assert finding.level == types_pb2.VIOLATION_LEVEL_WARN


@pytest.mark.parametrize(("length", "category"), [(2, "too_short"), (3, None), (5, None), (6, "too_long")])
def test_lengths_count_code_points(length: int, category: str | None):
    limits = shield(length={"minimum": 3, "maximum": 5})
    assert [finding.category for finding in limits.scan(Text("😀" * length))] == ([category] if category else [])


def test_a_streamed_text_is_too_long_at_the_same_place_as_a_whole_one():
    limits = shield(length={"maximum": 100})
    assert [finding.start for finding in limits.scan(Text("x" * 50, offset=80))] == [20]
    assert limits.scan(Text("x" * 20, offset=80)) == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Please tell me how I can cancel my subscription.", None),
        ("Bitte sagen Sie mir, wie ich mein Abonnement kündigen kann.", "de"),
        ("Подскажите, пожалуйста, как отменить мою подписку на журнал?", "ru"),
        ("ok", None),
    ],
)
def test_a_text_in_a_language_that_is_not_allowed_is_reported(text: str, language: str | None):
    found = shield(languages={"allowed": ["en"]}).scan(Text(text))
    assert [finding.metadata["language"] for finding in found] == ([language] if language else [])


def test_a_language_that_nobody_knows_is_refused():
    with pytest.raises(InvalidArgumentError, match="xx: not among the known languages"):
        shield(languages={"allowed": ["en", "xx"]})


@pytest.mark.parametrize("pattern", ["x*", "a|", "(?:)", "$"])
def test_a_pattern_that_matches_the_empty_text_is_refused(pattern: str):
    with pytest.raises(InvalidArgumentError, match="empty text"):
        deny(pattern)


@pytest.mark.parametrize("pattern", [r"(?<!a)b", r"(a)\1", "a[", r"\Qabc", "([ab]{900}){2}", "ﬁre", "a\u200bb"])
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str):
    with pytest.raises(InvalidArgumentError) as caught:
        deny(pattern)
    assert caught.value.violations[0].field == "params.deny[0].pattern"


def test_a_pattern_does_not_reach_into_its_neighbours():
    two = shield(allow={"patterns": [r"a|b"]})
    assert found(two, "ax")
    with pytest.raises(InvalidArgumentError):
        shield(allow={"patterns": ["a)|(b"]})


def test_a_replacement_that_breaks_a_rule_itself_is_refused():
    with pytest.raises(InvalidArgumentError, match="replacement: breaks a rule itself"):
        deny("bomb", replacement="[BOMB]")


def test_masking_twice_is_masking_once():
    rules = deny(r"\bbomb\b", replacement="[WEAPON]")
    once = masked(rules, "a bomb, a bömb")
    assert once == "a [WEAPON], a [WEAPON]"
    assert masked(rules, once) == once


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"deny": [{"name": "a", "pattern": "x"}, {"name": "a", "pattern": "y"}]},
        {"length": {"minimum": 5, "maximum": 3}},
        {"deny": [{"name": "a", "pattern": "x", "level": "fatal"}]},
        {"topics": [{"name": "a", "phrases": []}]},
        {"unknown": 1},
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any]):
    with pytest.raises(ValidationError):
        RulesParams.model_validate(params)


@pytest.mark.parametrize(
    ("params", "streams"),
    [
        ({"deny": [{"name": "a", "pattern": "foo.{0,20}bar"}]}, True),
        ({"deny": [{"name": "a", "pattern": "foo.*bar"}]}, False),
        ({"deny": [{"name": "a", "pattern": "foo.*bar"}], "longest_match": 100}, True),
        ({"deny": [{"name": "a", "pattern": "^foo"}], "longest_match": 100}, False),
        ({"topics": [{"name": "a", "phrases": ["ghost gun"]}]}, True),
        ({"length": {"maximum": 5}}, True),
        ({"length": {"minimum": 5}}, False),
        ({"languages": {"allowed": ["en"]}}, False),
    ],
)
def test_a_shield_says_how_far_it_sees(params: dict[str, Any], streams: bool):
    assert (shield(**params).overlap is not None) == streams


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=200), st.text(max_size=200))
def test_whatever_surrounds_it_a_denied_word_is_found(before: str, behind: str):
    text = f"{before} forbidden {behind}"
    assert ("rule", "forbidden") in found(deny("forbidden"), text)
