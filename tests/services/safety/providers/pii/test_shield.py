import itertools
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.shields.cases import Case
from benchmarks.shields.pii_cases import luhn_digit, pii_cases
from services.safety.providers.pii.config import COUNTRIES, PiiParams
from services.safety.providers.pii.national import NATIONAL_IDS
from services.safety.providers.pii.shield import PiiShield
from services.safety.texts import Text
from tests.services.safety.masked import found, masked

CASES = pii_cases(5, 600)


def shield(**params: Any) -> PiiShield:
    return PiiShield(PiiParams.model_validate(params))


SHIELD = shield()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Mail jane.doe+x@example.co.uk.", "Mail [EMAIL]."),
        ("<Müller@bücher.example.de>", "<[EMAIL]>"),
        ("x@jane@example.com", "x@[EMAIL]"),
        ("card ٤٥٣٩ ١٤٨٨ ٠٣٤٣ ٦٤٦٧", "card [CARD]"),
        ("call me at (650) 253-0000 please", "call me at [PHONE] please"),
        ("+49 30 901820", "[PHONE]"),
        ("IBAN DE89 3704 0044 0532 0130 00 is mine", "IBAN [IBAN] is mine"),
        ("4539 1488 0343 6467 04/29", "[CARD] 04/29"),
        ("my SSN is 536-90-4399", "my SSN is [NATIONAL_ID]"),
        ("CPF 529.982.247-25", "CPF [NATIONAL_ID]"),
        ("codice fiscale RSSMRA85T10A562S", "codice fiscale [NATIONAL_ID]"),
        ("born on 3 May 1980 in Rome", "born on [BIRTH_DATE] in Rome"),
        ("from 93.184.216.34.", "from [IP]."),
        ("from 2606:4700:4700::1111", "from [IP]"),
        ("Tel: ０３０ ９０１８２０", "Tel: ０３０ ９０１８２０"),
    ],
)
def test_what_identifies_a_person_is_masked_by_a_label_of_its_kind(text: str, left: str):
    assert masked(SHIELD, text) == left


def test_digits_in_full_width_are_digits():
    assert masked(shield(phone_regions=["DE"]), "Tel: ０３０ ９０１８２０") == "Tel: [PHONE]"


@pytest.mark.parametrize(
    "text",
    [
        "4539 1488 0343 6468",
        "the test card 4242 4242 4242 4242",
        "order 4539148803436460",
        "DE88 3704 0044 0532 0130 00",
        "order #2125551234",
        "version 93.184.216.34",
        "10.0.0.1 and 192.168.1.1",
        "icon@2x.png",
        "git@github.com:acme/tools.git",
        "2024-01-02 12:34:56",
        "12345678901",
        "3.14159265358979",
        "ISBN 978-3-16-148410-0",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str):
    assert found(SHIELD, text) == []


@pytest.mark.parametrize("case", [case for case in CASES if not case.bad][:60], ids=lambda case: case.kind)
def test_look_alikes_of_the_evaluation_are_left_alone(case: Case):
    assert found(SHIELD, case.text) == []


@settings(deadline=None, max_examples=60)
@given(st.text("0123456789", min_size=15, max_size=15))
def test_a_card_number_counts_only_with_its_check_digit(digits: str):
    digits = "4" + digits[:14]
    right = luhn_digit(digits)
    cards = shield(entity_types=["credit_card"])
    wrong = [digit for digit in string.digits if digit != right and found(cards, f"card {digits}{digit}")]
    assert wrong == []


@pytest.mark.parametrize("mode", ["report", "mask", "block"])
def test_findings_do_not_overlap_and_masking_twice_is_masking_once(mode: str):
    one = shield(mode=mode)
    for case in CASES:
        spans = sorted((finding.start, finding.end) for finding in one.scan(Text(case.text)))
        assert all(before[1] <= behind[0] for before, behind in itertools.pairwise(spans))
        once = masked(one, case.text)
        assert masked(one, once) == once


def test_only_the_types_and_countries_that_are_asked_for_are_looked_for():
    text = "jane@example.com, SSN 536-90-4399, CPF 529.982.247-25"
    assert [name for name, _ in found(shield(entity_types=["email_address"]), text)] == ["email_address"]
    assert [name for name, _ in found(shield(entity_types=["national_id"], countries=["BR"]), text)] == ["br_cpf"]


def test_a_country_that_nobody_knows_is_refused_and_the_known_ones_are_those_with_identifiers():
    with pytest.raises(ValidationError, match="no national identifiers are known of XX"):
        PiiParams.model_validate({"countries": ["XX"]})
    assert {one.country for one in NATIONAL_IDS} == COUNTRIES


def test_a_bare_number_is_an_identifier_only_beside_a_word_that_names_it():
    assert found(SHIELD, "44051401359") == []
    assert found(SHIELD, "PESEL 44051401359") == [("pl_pesel", "44051401359")]


def test_what_the_evaluation_holds_out_is_found():
    missed = [case for case in CASES if case.bad and case.value in masked(SHIELD, case.text)]
    assert missed == []


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=string.digits + string.ascii_letters + " -+()./@:,é日\u200b", max_size=300))
def test_no_text_crashes_the_shield_and_masks_are_stable(text: str):
    once = masked(SHIELD, text)
    assert masked(SHIELD, once) == once


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=100), st.text(max_size=100))
def test_whatever_surrounds_it_an_address_is_found(before: str, behind: str):
    assert "jane.doe@example.com" not in masked(SHIELD, f"{before} jane.doe@example.com {behind}")
