"""What identifies a person, and what looks like it. All of it is drawn from a seed."""

import importlib
import random
import string
from collections.abc import Callable, Mapping

import phonenumbers

from benchmarks.shields.cases import Case, Make, of, placed

_DIGITS = string.digits


def _email(rng: random.Random) -> str:
    name = rng.choice(["jane.doe", "m.schulz", "ana_lopez", "li.wei88", "o'brien", "tom+news", "x"])
    host = rng.choice(
        ["gmail.com", "example.co.uk", "uni-bonn.de", "mail.company.io", "posteo.net", "bücher.example.org"]
    )
    return f"{name}@{host}"


def luhn_digit(digits: str) -> str:
    """The check digit that ISO/IEC 7812 puts behind digits."""
    doubled = [int(digit) * (2 if at % 2 == 0 else 1) for at, digit in enumerate(reversed(digits))]
    return str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def _card(rng: random.Random) -> str:
    prefix, length = rng.choice([("4", 16), ("51", 16), ("55", 16), ("34", 15), ("37", 15), ("6011", 16)])
    digits = prefix + of(rng, _DIGITS, length - len(prefix) - 1)
    return _grouped(rng, digits + luhn_digit(digits))


def _bad_card(rng: random.Random) -> str:
    digits = "4" + of(rng, _DIGITS, 14)
    return _grouped(rng, digits + str((int(luhn_digit(digits)) + rng.randint(1, 9)) % 10))


def _grouped(rng: random.Random, digits: str) -> str:
    sign = rng.choice(["", " ", "-"])
    sizes = (4, 6, 5) if len(digits) == 15 else (4, 4, 4, 4)
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at : at + size])
        at += size
    return sign.join(parts)


def _iban(rng: random.Random, wrong: int = 0) -> str:
    country, account = rng.choice(
        [
            ("DE", of(rng, _DIGITS, 18)),
            ("AT", of(rng, _DIGITS, 16)),
            ("CH", of(rng, _DIGITS, 17)),
            ("GB", "NWBK" + of(rng, _DIGITS, 14)),
        ]
    )
    number = int("".join(str(int(letter, 36)) for letter in f"{account}{country}00"))
    whole = f"{country}{(98 - number % 97 + wrong - 2) % 97 + 2:02d}{account}"
    return " ".join(whole[at : at + 4] for at in range(0, len(whole), 4)) if rng.random() < 0.5 else whole


def _phone(rng: random.Random) -> str:
    region = rng.choice(["US", "DE", "GB", "FR", "IN", "BR", "JP", "ES"])
    while True:
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        national = str(example.national_number)
        digits = national[:-6] + of(rng, _DIGITS, 6)
        number = phonenumbers.PhoneNumber(country_code=example.country_code, national_number=int(digits))
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def _us_phone(rng: random.Random) -> str:
    while True:
        area, exchange, line = rng.randint(201, 989), rng.randint(200, 999), rng.randint(0, 9999)
        if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{area}{exchange}{line:04d}")):
            return rng.choice(
                [f"({area}) {exchange}-{line:04d}", f"{area}-{exchange}-{line:04d}", f"{area}.{exchange}.{line:04d}"]
            )


def _valid(module: str, draw: Make) -> Make:
    """Draws until the digits are right."""
    check: Callable[[str], bool] = importlib.import_module(f"stdnum.{module}").is_valid

    def make(rng: random.Random) -> str:
        return next(value for value in iter(lambda: draw(rng), None) if check(value))

    return make


def _pattern(form: str) -> Make:
    """Draws a digit for every 9."""
    return lambda rng: "".join(rng.choice(_DIGITS) if letter == "9" else letter for letter in form)


def _address(rng: random.Random) -> str:
    rest = ".".join(str(rng.randint(1, 254)) for _ in range(2))
    return f"{rng.choice([45, 81, 93, 151])}.{rng.randint(60, 254)}.{rest}"


def _birth(rng: random.Random) -> str:
    return f"{rng.randint(1, 28)}.{rng.randint(1, 12)}.{rng.randint(1940, 2010)}"


def _ssn(rng: random.Random) -> str:
    return f"{rng.randint(1, 665):03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def _fiscal(rng: random.Random) -> str:
    letters = string.ascii_uppercase
    place = f"{rng.choice('ABCDEFGHI')}{rng.randint(100, 999)}"
    return f"{of(rng, letters, 6)}{rng.randint(40, 99)}{rng.choice('ABCDEHLMPRST')}{rng.randint(10, 28)}{place}{rng.choice(letters)}"


def _date_number(rng: random.Random) -> str:
    return f"{rng.randint(40, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"


_EMAIL_IN = ("Write to {}.", "I am {} by the way", "contact: {}", "From: Jane <{}>", '{"email": "{}"}', "cc {}, please")
_PHONE_IN = ("Call me at {}.", "Phone: {}", "You reach me on {} after six", '{"tel": "{}"}')
_CARD_IN = ("My card is {}.", "Charge {} please", "{} exp 04/29", "cc: {}")
_IBAN_IN = ("Transfer it to {}.", "IBAN: {}", "my account {} at the bank", "IBAN {}, BIC on request")
_ANY_IN = ("It is {}.", "{}", "Note: {} (see above)")

_BAD: Mapping[str, tuple[Make, tuple[str, ...]]] = {
    "email_address": (_email, _EMAIL_IN),
    "phone_number (+)": (_phone, (*_PHONE_IN, "{}", "It is {}, I think")),
    "phone_number (US)": (_us_phone, _PHONE_IN),
    "credit_card": (_card, _CARD_IN),
    "iban": (_iban, _IBAN_IN),
    "ip_address": (_address, ("He logged in from {}.", "client {} was blocked", "ip={}")),
    "date_of_birth": (_birth, ("Date of birth: {}", "She was born on {}.", "DOB {}", "geboren am {}")),
    "us_ssn": (_valid("us.ssn", _ssn), ("My SSN is {}.", "social security number {}", "{} is on the form")),
    "it_fiscal_code": (_valid("it.codicefiscale", _fiscal), ("Codice fiscale: {}", "{}")),
    "br_cpf": (_valid("br.cpf", _pattern("999.999.999-99")), ("CPF {}", "{}")),
    "de_tax_id": (_valid("de.idnr", _pattern("99 999 999 999")), ("Steuer-ID {}", "meine Steueridentifikationsnummer ist {}")),
    "uk_nhs": (_valid("gb.nhs", _pattern("999 999 9999")), ("NHS number {}", "her NHS no. is {}")),
    "pl_pesel": (_valid("pl.pesel", lambda rng: _date_number(rng) + of(rng, _DIGITS, 5)), ("PESEL {}", "numer PESEL: {}")),
    "es_dni": (_valid("es.dni", lambda rng: of(rng, _DIGITS, 8) + rng.choice("TRWAGMYFPDXBNJZSQVHLCKE")), ("Mi DNI es {}", "{}")),
    "nl_bsn": (_valid("nl.bsn", _pattern("999999999")), ("BSN {}", "mijn burgerservicenummer is {}")),
}  # fmt: skip
_BENIGN: Mapping[str, Make] = {
    "order number": lambda rng: f"Order #{rng.randrange(10**7, 10**12)} has shipped.",
    "16 digits, wrong check digit": lambda rng: f"Reference {_bad_card(rng)}",
    "test card": lambda rng: (
        f"Stripe's test card is {rng.choice(['4242 4242 4242 4242', '4111111111111111', '5555 5555 5555 4444'])}."
    ),
    "IBAN, wrong check digits": lambda rng: f"id {_iban(rng, wrong=rng.randint(1, 90))}",
    "git commit": lambda rng: f"fixed in {of(rng, '0123456789abcdef', 40)}",
    "UUID": lambda rng: (
        f"{of(rng, _DIGITS, 8)}-{of(rng, _DIGITS, 4)}-4{of(rng, _DIGITS, 3)}-8{of(rng, _DIGITS, 3)}-{of(rng, _DIGITS, 12)}"
    ),
    "version": lambda rng: (
        f"version {rng.randint(1, 40)}.{rng.randint(0, 40)}.{rng.randint(0, 300)}.{rng.randint(0, 254)}"
    ),
    "timestamp": lambda rng: (
        f"{rng.randint(2000, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d} {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:00"
    ),
    "unix time": lambda rng: (
        f"at {rng.randrange(1_500_000_000, 1_800_000_000)} and {rng.randrange(1_500_000_000_000, 1_800_000_000_000)} ms"
    ),
    "ISBN": lambda rng: f"ISBN 978-3-{of(rng, _DIGITS, 2)}-{of(rng, _DIGITS, 6)}-{rng.randint(0, 9)}",
    "private address": lambda rng: (
        f"listening on 10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}:8080 and 127.0.0.1"
    ),
    "coordinates": lambda rng: f"{rng.uniform(-90, 90):.6f}, {rng.uniform(-180, 180):.6f}",
    "image name": lambda rng: f"icon@{rng.randint(2, 3)}x.png and logo@dark.svg",
    "repository": lambda _: "git clone git@github.com:acme/tools.git",
    "handle": lambda rng: f"ask @user{rng.randint(1, 999)} or @team.lead on the forum",
    "part number": lambda rng: f"part {of(rng, _DIGITS, 3)}-{of(rng, _DIGITS, 5)}-{of(rng, _DIGITS, 2)}",
    "tracking number": lambda rng: f"tracking 1Z{of(rng, string.ascii_uppercase + _DIGITS, 16)}",
    "calculation": lambda rng: (
        f"{rng.randint(100, 999)} - {rng.randint(100, 999)} - {rng.randint(1000, 9999)} = x, 3.14159265358979"
    ),
    "invoice": lambda rng: f"invoice {rng.randint(2015, 2026)}-{rng.randint(1, 999999):06d}",
    "table": lambda rng: "  ".join(str(rng.randint(1000, 99999)) for _ in range(8)),
    "historic date": lambda rng: f"The treaty was signed on {rng.randint(1, 28)} May {rng.randint(1600, 1950)}.",
    "11 digits": lambda rng: f"batch {of(rng, _DIGITS, 11)}",
}


def pii_cases(seed: int, count: int) -> list[Case]:
    """Makes texts, half of them with something that identifies a person.

    Args:
        seed: Where chance comes from.
        count: How many.
    """
    rng = random.Random(seed)
    bad, benign = list(_BAD.items()), list(_BENIGN.items())
    cases = []
    for at in range(count // 2):
        kind, (make, sentences) = bad[at % len(bad)]
        cases.append(placed(rng, sentences, make, kind, bad=True))
        kind, make = benign[at % len(benign)]
        cases.append(placed(rng, _ANY_IN[1:2], make, kind, bad=False))
    return cases
