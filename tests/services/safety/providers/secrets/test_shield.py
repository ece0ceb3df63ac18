import random
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.shields.cases import Case
from benchmarks.shields.secret_cases import ISSUED, secret_cases
from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.safety.providers.secrets.config import SecretsParams
from services.safety.providers.secrets.detectors import detectors
from services.safety.providers.secrets.shield import SecretsShield
from services.safety.texts import Text
from tests.services.safety.masked import found, masked

CASES = secret_cases(3, 600)


def shield(**params: Any) -> SecretsShield:
    return SecretsShield(SecretsParams.model_validate(params))


SHIELD = shield()


@pytest.mark.parametrize("kind", ISSUED)
def test_a_secret_of_an_issuer_is_masked_whole_wherever_it_stands(kind: str):
    value = ISSUED[kind](random.Random(1))
    for text in (value, f"key={value}", f'"{value}",', f"see {value}.", f"a\n{value}\nb"):
        assert value not in masked(SHIELD, text)
        category = found(SHIELD, text)[0][0]
        assert category == kind.split(maxsplit=1)[0]


def test_what_is_found_never_holds_the_secret():
    for case in CASES:
        for finding in SHIELD.scan(Text(case.text)):
            told = [
                finding.category,
                finding.description,
                finding.replacement or "",
                *map(str, finding.metadata.values()),
            ]
            assert not any(case.text[finding.start : finding.end] in text for text in told)


@pytest.mark.parametrize("case", [case for case in CASES if not case.bad][:60], ids=lambda case: case.kind)
def test_what_only_looks_like_a_secret_is_left_alone(case: Case):
    assert found(SHIELD, case.text) == []


@pytest.mark.parametrize(
    ("text", "category", "left"),
    [
        ("my password is hunter2.", "password", "my password is [PASSWORD]."),
        ('"password": "correct-horse1"', "password", '"password": "[PASSWORD]"'),
        ("redis://:s3cretpass@cache:6379/0", "url_password", "redis://:[URL_PASSWORD]@cache:6379/0"),
        ("mysql --user root:t0psecret -h db", "url_password", "mysql --user root:[URL_PASSWORD] -h db"),
        ("Kennwort: Winter!2026", "password", "Kennwort: [PASSWORD]"),
    ],
)
def test_a_value_is_a_secret_by_the_name_beside_it(text: str, category: str, left: str):
    assert [name for name, _ in found(SHIELD, text)] == [category]
    assert masked(SHIELD, text) == left


def test_a_secret_cut_by_invisible_characters_is_found():
    value = ISSUED["github_token"](random.Random(2))
    text = f"x {value[:10]}\u200b{value[10:]} y"
    assert masked(SHIELD, text) == "x [GITHUB_TOKEN] y"


def test_a_private_key_is_masked_also_where_its_lines_are_escaped_or_its_end_is_missing():
    key = ISSUED["private_key"](random.Random(3))
    assert masked(SHIELD, key.replace("\n", "\\n")) == "[PRIVATE_KEY]"
    cut_off = key[: key.index("-----END")]
    assert masked(SHIELD, cut_off).strip() == "[PRIVATE_KEY]"


def test_masking_twice_is_masking_once():
    for case in CASES:
        once = masked(SHIELD, case.text)
        assert masked(SHIELD, once) == once


@pytest.mark.parametrize(
    ("mode", "level", "masks"),
    [
        ("report", types_pb2.VIOLATION_LEVEL_WARN, False),
        ("mask", types_pb2.VIOLATION_LEVEL_WARN, True),
        ("block", types_pb2.VIOLATION_LEVEL_ERROR, False),
    ],
)
def test_the_mode_says_what_becomes_of_a_secret(mode: str, level: int, masks: bool):
    [finding] = shield(mode=mode).scan(Text("password=hunter2!x"))
    assert finding.level == level
    assert (finding.replacement is not None) == masks


def test_only_the_kinds_that_are_asked_for_are_looked_for():
    text = f"password=hunter2!x {ISSUED['npm_token'](random.Random(4))}"
    assert [name for name, _ in found(shield(kinds=["issued"]), text)] == ["npm_token"]
    assert [name for name, _ in found(shield(kinds=["named"]), text)] == ["password"]


def test_an_exception_and_a_least_score_leave_findings_out():
    assert found(shield(exceptions=["hunter2.*"]), "password=hunter2!x") == []
    assert found(shield(min_score=0.9), "password=hunter2!x") == []
    with pytest.raises(InvalidArgumentError) as caught:
        shield(exceptions=["("])
    assert caught.value.violations[0].field == "params.exceptions[0]"


def test_a_private_key_that_is_still_being_written_is_found_from_its_beginning_to_its_end():
    text = "Here: " + ISSUED["private_key"](random.Random(6))
    for cut in range(100, len(text), 37):
        [finding] = SHIELD.scan(Text(text[:cut]))
        assert finding.start == len("Here: ")
        # The last line may not be long enough yet to be one of a key.
        assert cut - finding.end < 70


def test_every_issuers_form_has_a_test_or_another_of_its_category_has():
    generated = {kind.split()[0] for kind in ISSUED}
    known = {detector.category for detector in detectors()}
    assert generated <= known


def test_what_the_evaluation_holds_out_is_found():
    missed = [case for case in CASES if case.bad and case.value in masked(SHIELD, case.text)]
    assert missed == []


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=string.printable + "äß日\u200b\u0301", max_size=300))
def test_no_text_crashes_the_shield_and_masks_are_stable(text: str):
    once = masked(SHIELD, text)
    assert masked(SHIELD, once) == once


@settings(deadline=None, max_examples=60)
@given(
    st.text(max_size=200),
    st.sampled_from(["aws_access_key", "stripe_key", "private_key"]),
    st.integers(0, 1000),
    st.text(max_size=200),
)
def test_whatever_surrounds_it_a_secret_is_found(before: str, kind: str, seed: int, behind: str):
    value = ISSUED[kind](random.Random(seed))
    assert value not in masked(SHIELD, f"{before} {value} {behind}")
