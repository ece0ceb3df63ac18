"""What identifies a person in every country: addresses, numbers and dates, by form and check."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import phonenumbers
from publicsuffixlist import PublicSuffixList
from stdnum import iban, luhn

from services.safety.expressions import EncodedText, Expression

CONTEXT = 48
"""Bytes before a value in which a word may name it."""

# Edges are told apart by ASCII here, and letters of other scripts by `stands_alone`: Unicode's classes make large automata.
_LOCAL_PART = Expression(r"([^\s@<>()\[\],;:\"'`\\|]+)@")
_DOMAIN = re.compile(r"[^\s@<>()\[\],;:\"'`\\|/?#!&=_]+")
_INTERNATIONAL = r"(?:\+|00)[1-9]\d{0,3}[ .()/-]{0,3}(?:\d{1,5}[ .()/-]{0,2}){2,6}\d"
_IN_COUNTRY = r"\(?\d{2,5}\)?[ ./-]{0,2}\d{2,5}(?:[ .-]?\d{2,5}){1,4}"
_PHONE = Expression(rf"(?:^|[^0-9A-Za-z_.,/#=:@+-]|[A-Za-z]: ?)({_INTERNATIONAL}|{_IN_COUNTRY})(?:$|[^0-9A-Za-z_@])")
_PHONE_WORDS = Expression(
    r"phone|\bcall|\btel\b|\btel[.:]|mobile|\bcell|\bfax\b|whatsapp|\bsms\b|text me|\breach\b|telefon|handy|téléphone|teléfono|móvil",
    ignore_case=True,
)
_AMEX, _DINERS, _MASTERCARD = (
    r"3[47]\d{2}[ -]?\d{6}[ -]?\d{5}",
    r"3[068]\d{2}[ -]?\d{6}[ -]?\d{4}",
    r"2[2-7]\d{2}(?:[ -]?\d{4}){3}",
)
_CARD = Expression(
    rf"(?:^|[^0-9A-Za-z_.,+#=/-])([3-6]\d{{3}}(?:[ -]?\d{{4}}){{2}}[ -]?\d{{1,7}}|{_AMEX}|{_DINERS}|{_MASTERCARD})(?:$|[^0-9A-Za-z_])"
)
_CARD_WORDS = Expression(
    r"card|visa|master|amex|credit|debit|\bpay|karte|carte|tarjeta|\bpan\b|\bcc\b", ignore_case=True
)
_IBAN = Expression(r"(?:^|[^0-9A-Za-z_])([A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30})")
_IPV4 = Expression(r"(?:^|[^0-9A-Za-z_.-])((?:\d{1,3}\.){3}\d{1,3})(?:$|[^0-9A-Za-z_.-]|\.(?:$|[^0-9]))")
_IPV6 = Expression(
    r"(?:^|[^0-9A-Za-z_:.])((?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4})(?:$|[^0-9A-Za-z_:.]|\.(?:$|[^0-9]))"
)
_IP_WORDS = Expression(r"\bip\b|ipv[46]|address|host|server|from|ping|dns|client|login|logged|log in", ignore_case=True)
_VERSION_WORDS = Expression(
    r"(?:version|release|build|firmware|driver|section|chapter|package|upgrade|\bv|[=<>]=)(?: \w{1,12})?[\s.:=<>(]*$",
    ignore_case=True,
)
_BORN = (
    r"date of birth|birth ?date|\bborn(?: on)?|\bd\.?o\.?b\b\.?|geboren(?: am)?|geburtsdatum|\bnée? le|date de naissance"
    r"|fecha de nacimiento"
)
_DATE = (
    r"\d{1,2}[./ -]\d{1,2}[./ -](?:19|20)?\d{2}|(?:19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2}"
    r"|\d{1,2}(?:st|nd|rd|th)?\.? (?:of )?[^\s\d,.]{3,10},? (?:19|20)\d{2}|[^\s\d,.]{3,10} \d{1,2}(?:st|nd|rd|th)?,? (?:19|20)\d{2}"
)
_BIRTH = Expression(rf"(?:{_BORN})[:\s]{{0,4}}(?:is |was )?(?:the )?({_DATE})", ignore_case=True)
_NUMBERING_PLAN = re.compile(r"\(|0|\d{3}[-. ]\d{3}[-. ]\d{4}$")
_PLAIN_DATE = re.compile(r"(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}\b|\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d\b")

# Numbers that payment services publish for tests; https://docs.stripe.com/testing, https://docs.adyen.com/development-resources/testing.
_TEST_CARDS = frozenset(
    {
        *("4111111111111111", "4012888888881881", "4242424242424242", "4000056655665556", "4222222222222", "4000000000000002"),
        *("5555555555554444", "5105105105105100", "2223003122003222", "5200828282828210", "5454545454545454", "4444333322221111"),
        *("378282246310005", "371449635398431", "378734493671000", "6011111111111117", "6011000990139424", "6200000000000005"),
        *("30569309025904", "38520000023237", "3056930009020004", "3530111333300000", "3566002020360505"),
    }
)  # fmt: skip
_NETWORKS = (
    # First digits from, to (both included), lengths; https://www.iso.org/standard/70484.html and the networks' own pages.
    ("34", "34", (15,)), ("37", "37", (15,)), ("300", "305", (14,)), ("36", "36", (14,)), ("38", "39", (14,)), ("4", "4", (13, 16, 19)),
    ("51", "55", (16,)), ("2221", "2720", (16,)), ("6011", "6011", (16, 19)), ("644", "649", (16, 19)), ("65", "65", (16, 19)),
    ("3528", "3589", (16, 19)), ("62", "62", (16, 17, 18, 19)), ("50", "50", (16, 19)), ("56", "58", (16, 19)), ("67", "67", (16, 19)),
)  # fmt: skip
_NOT_FIRST = ".!#$%&'*+/=?^{|}~-"
_LONGEST_LOCAL, _LONGEST_DOMAIN = 64, 253
_CARD_SIGNS = re.compile("[ -]")
_CARD_GROUPS = frozenset({(4, 4, 4), (4, 4, 4, 4), (4, 6)})
_LARGEST_OCTET_OF_VERSIONS = 32


@dataclass(frozen=True, slots=True)
class Entity:
    """A value that identifies a person."""

    start: int
    """Its first byte."""
    end: int
    """The byte behind it."""
    score: float
    """How sure that is."""


def email_addresses(text: EncodedText) -> Iterator[Entity]:
    """Yields e-mail addresses whose last label is a top-level domain."""
    if b"@" not in text.data:
        return
    for (_, at), local in _LOCAL_PART.groups(text):
        name = _decoded(text, *local)[-_LONGEST_LOCAL:].lstrip(_NOT_FIRST)
        host = _host(text.data[at : at + _LONGEST_DOMAIN].decode(errors="ignore"))
        end = at + len(host.encode())
        # `git@host:path` is where a repository is.
        repository = name.lower() == "git" and text.data[end : end + 1] in (b":", b"/")
        if name and host and ".." not in name and name[-1] != "." and not repository:
            yield Entity(local[1] - len(name.encode()), end, 0.95)


def phone_numbers(text: EncodedText, regions: Sequence[str]) -> Iterator[Entity]:
    """Yields phone numbers that are valid in their country's plan.

    Args:
        text: The text.
        regions: Countries whose numbers are known without a country code.
    """
    for start, end in _PHONE.spans(text, 1):
        value = _decoded(text, start, end)
        if (
            not 7 <= sum(map(str.isdigit, value)) <= 15
            or _PLAIN_DATE.match(value)
            or not stands_alone(text, start, end)
        ):
            continue
        if value.startswith(("+", "00")):
            if _is_phone_number(value, None):
                yield Entity(start, end, 0.95)
            continue
        named = _named(text, start, _PHONE_WORDS)
        # Digits without any sign between them may be anything, and so may groups that no numbering plan has.
        if not named and (value.isdigit() or not _NUMBERING_PLAN.match(value)):
            continue
        if any(_is_phone_number(value, region) for region in regions):
            yield Entity(start, end, 0.9 if named else 0.6)


def credit_cards(text: EncodedText) -> Iterator[Entity]:
    """Yields card numbers of a known network with the right check digit."""
    for start, end in _CARD.spans(text, 1):
        groups = _CARD_SIGNS.split(value := _decoded(text, start, end))
        digits = "".join(groups)
        if len(groups) > 1 and (tuple(map(len, groups[:-1])) not in _CARD_GROUPS or len(set(value) & {" ", "-"}) > 1):
            continue
        if not _is_of_network(digits) or len(set(digits)) < 3 or not luhn.is_valid(digits):
            continue
        if not stands_alone(text, start, end):
            continue
        if digits in _TEST_CARDS:
            yield Entity(start, end, 0.2)
        else:
            grouped = end - start > len(digits)
            yield Entity(start, end, 0.95 if grouped or _named(text, start, _CARD_WORDS) else 0.6)


def ibans(text: EncodedText) -> Iterator[Entity]:
    """Yields IBANs, whatever follows them."""
    for start, end in _IBAN.spans(text, 1):
        candidate = _decoded(text, start, end)
        length = next((at for at in _iban_ends(candidate) if iban.is_valid(candidate[:at])), None)
        if length is not None:
            yield Entity(start, start + length, 0.98)


def ip_addresses(text: EncodedText) -> Iterator[Entity]:
    """Yields addresses that are reachable from everywhere; those of private networks identify nobody."""
    for expression in (_IPV4, _IPV6):
        for start, end in expression.spans(text, 1):
            try:
                address = ipaddress.ip_address(_decoded(text, start, end))
            except ValueError:
                continue
            if not address.is_global or address.is_multicast:
                continue
            if _named(text, start, _VERSION_WORDS):
                continue
            doubtful = address.version == 4 and max(address.packed) < _LARGEST_OCTET_OF_VERSIONS
            yield Entity(start, end, 0.4 if doubtful and not _named(text, start, _IP_WORDS) else 0.8)


def birth_dates(text: EncodedText) -> Iterator[Entity]:
    """Yields dates that are said to be somebody's birth."""
    for start, end in _BIRTH.spans(text, 1):
        yield Entity(start, end, 0.85)


def context(text: EncodedText, start: int) -> EncodedText:
    """What is before a value, where a word may name it."""
    return EncodedText(text.data[max(0, start - CONTEXT) : start].decode(errors="ignore"))


def stands_alone(text: EncodedText, start: int, end: int) -> bool:
    """Tells whether no letter and no digit touches a value."""
    before, behind = _around(text, start, end)
    return not before[-1:].isalnum() and not behind[:1].isalnum()


def is_whole(text: EncodedText, start: int, end: int) -> bool:
    """Tells whether no groups are beside a value, which it could be a part of."""
    before, behind = _around(text, start, end)
    after_group = (before[-1:] == " " and before[-2:-1].isdigit()) or (before[-1:] == "-" and before[-2:-1].isalnum())
    before_group = (behind[:1] == " " and behind[1:2].isdigit()) or (behind[:1] == "-" and behind[1:2].isalnum())
    return not after_group and not before_group


def _around(text: EncodedText, start: int, end: int) -> tuple[str, str]:
    before = text.data[max(0, start - 5) : start].decode(errors="ignore")
    return before, text.data[end : end + 5].decode(errors="ignore")


def _named(text: EncodedText, start: int, words: Expression) -> bool:
    return words.found(context(text, start))


def _decoded(text: EncodedText, start: int, end: int) -> str:
    return text.data[start:end].decode(errors="replace")


@cache
def _top_level_domains() -> frozenset[str]:
    suffixes = PublicSuffixList(accept_unknown=False)
    return frozenset(suffix.rpartition(".")[2] for suffix in suffixes._publicsuffix)  # noqa: SLF001 - it has no other list of them


def _host(text: str) -> str:
    """The longest beginning of a text that is a name under a top-level domain; empty: there is none."""
    found = _DOMAIN.match(text)
    labels = found[0].split(".") if found else []
    good = next((at for at, label in enumerate(labels) if not _is_label(label)), len(labels))
    for count in range(good, 1, -1):
        if _is_top_level(labels[count - 1]):
            return ".".join(labels[:count])
    return ""


def _is_label(label: str) -> bool:
    return 0 < len(label) <= 63 and label.replace("-", "").isalnum() and label[0] != "-" and label[-1] != "-"


def _is_top_level(label: str) -> bool:
    try:
        return label.lower() in _top_level_domains() or label.lower().encode("idna").decode() in _top_level_domains()
    except UnicodeError:
        return False


def _is_phone_number(value: str, region: str | None) -> bool:
    if region is None and value.startswith("00"):
        value = "+" + value[2:]
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value, region))
    except phonenumbers.NumberParseException:
        return False


def _is_of_network(digits: str) -> bool:
    return any(first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _NETWORKS)


def _iban_ends(candidate: str) -> Iterator[int]:
    """Lengths of a candidate's beginnings that ISO 7064's check (mod 97) lets pass, the shortest first."""
    places = [(at, letter) for at, letter in enumerate(candidate, 1) if letter.isalnum()]
    head = "".join(str(int(letter, 36)) for _, letter in places[:4])
    shift = 10 ** len(head)
    rest = 0
    for count, (at, letter) in enumerate(places[4:], 1):
        value = int(letter, 36)
        rest = (rest * (100 if value > 9 else 10) + value) % 97
        if count >= 11 and (rest * shift + int(head)) % 97 == 1:
            yield at
