"""Secrets without a form of their own: what is assigned to a name like `password`, stands in a URL, or looks random."""

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from services.safety.expressions import EncodedText, Expression

_PASSWORDS = r"\bpw|(?:\b|_|-)pass|passw(?:or)?d|passwort|passphrase|passwd|pwd|kennwort|contraseña|mot de passe|senha|wachtwoord"
_KEYS = (
    r"secret|api[_. -]?key|access[_. -]?key|private[_. -]?key|signing[_. -]?key|encryption[_. -]?key|account[_. -]?key"
    r"|auth[_. -]?token|token|credentials?"
)
# Repetitions are without bounds, and lengths checked afterwards: counting makes large automata.
_NAMED = Expression(
    rf"((?:({_PASSWORDS})|{_KEYS})(?:s|[_.\d-][\w-]*)?)[\"'`\]]{{0,2}}\s{{0,4}}(?::=|=>|[:=]|\bis\b:?|\blautet\b|\best\b)\s{{0,4}}"
    r"(?:\"([^\"\n]+)\"|'([^'\n]+)'|`([^`\n]+)`|([^\s\"'`,;(){}<>\[\]]+))",
    ignore_case=True,
)
_IN_URL = Expression(r"[A-Za-z0-9]://[^\s:/?#@\[\]\"'<>]*:([^\s/?#@\"'<>]+)@[A-Za-z0-9\[]")
_IN_COMMAND = Expression(
    r"(?:^|\s)(?:-u|--user|--proxy-user)[= ][\"']?[^\s:\"'$]+:([^\s\"'$]+)|\bsshpass +-p *[\"']?([^\s\"'$]+)"
    r"|\b(?:mysql|mysqldump|mariadb) [^\n|;&]*?-p([^\s\"'$-][^\s\"'$]+)|\bredis-cli [^\n|;&]*?-a +[\"']?([^\s\"'$]+)"
)
_IN_XML = Expression(rf"\b(?:key|name)=\"([^\"]*(?:({_PASSWORDS})|{_KEYS}))\"\s+value=\"([^\"\n]+)\"", ignore_case=True)
_QUOTED = Expression(r"([\w.-]{0,40})[\"']?\s{0,2}[:=(,\[]?\s{0,2}[\"'`]([A-Za-z0-9+/_-]{24,120}={0,2})[\"'`]")

_PLACEHOLDER = re.compile(
    r"[<\[{$%(].*|.*(?:\$\{|\{\{|<[a-z]).*|(?:x|\*|\.|-|_|#)+|.*(?:your|example|placeholder|redacted|changeme|change_me|insert|replace|dummy"
    r"|xxxx|\*\*\*|\.\.\.).*|(?:none|null|nil|true|false|undefined|todo|empty|required|optional|string|password|passwd|pass|pwd|secret|token"
    r"|hidden|masked|unset|default|os\.environ.*|process\.env.*|env\..*|getenv.*)",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"(?:0x)?[0-9a-f]+", re.IGNORECASE)
_PATH = re.compile(r"(?:\.{0,2}/|~/|[a-z]{2,10}://|[A-Z]:\\)", re.IGNORECASE)
_BENIGN_NAME = re.compile(
    r"sha\d*|hash|digest|checksum|integrity|etag|commit|revision|uuid|guid|nonce|image|base64|data|src|href|path|file|version|fingerprint|public"
    r"|cursor|page|request|trace|span|session_?id|id$",
    re.IGNORECASE,
)
_SYLLABLES = re.compile(r"[A-Z][a-z]{3,}|[a-z]{4,}")
_LONGEST = 500
_LEAST_ENTROPY = 4.0
_LEAST_CHANGES = 0.4


@dataclass(frozen=True, slots=True)
class Value:
    """A value that may be a secret."""

    start: int
    """Its first byte."""
    end: int
    """The byte behind it."""
    category: str
    """What it is."""
    score: float
    """How sure that is."""


def named_values(text: EncodedText) -> Iterator[Value]:
    """Yields values that are assigned to names of secrets."""
    for expression in (_NAMED, _IN_XML):
        for _, name, password, *forms in expression.groups(text):
            at = next(place for place, span in enumerate(forms) if span[0] >= 0)
            start, end = forms[at]
            value = _decoded(text, start, end)
            bare = len(forms) > 1 and at == len(forms) - 1
            if bare:
                stripped = value.rstrip(".?:")
                end -= len(value) - len(stripped)
                value = stripped
            is_password = password[0] >= 0
            if _is_secret(value, _decoded(text, *name), is_password=is_password, quoted=not bare):
                yield Value(start, end, "password" if is_password else "secret_value", 0.65 if bare else 0.75)


def url_passwords(text: EncodedText) -> Iterator[Value]:
    """Yields passwords in URLs and in the arguments of commands."""
    for expression in (_IN_URL, _IN_COMMAND):
        for _, *forms in expression.groups(text):
            start, end = next(span for span in forms if span[0] >= 0)
            value = _decoded(text, start, end)
            if 3 <= len(value) <= _LONGEST and not _PLACEHOLDER.fullmatch(value):
                yield Value(start, end, "url_password", 0.85)


def random_values(text: EncodedText) -> Iterator[Value]:
    """Yields quoted values that look random and are nothing well known."""
    for _, name, (start, end) in _QUOTED.groups(text):
        if not _BENIGN_NAME.search(_decoded(text, *name)) and _looks_random(_decoded(text, start, end)):
            yield Value(start, end, "high_entropy_string", 0.55)


def _decoded(text: EncodedText, start: int, end: int) -> str:
    return text.data[start:end].decode(errors="replace")


def _is_secret(value: str, name: str, *, is_password: bool, quoted: bool) -> bool:
    if (
        not 6 <= len(value) <= _LONGEST
        or _PLACEHOLDER.fullmatch(value)
        or _PATH.match(value)
        or _DOTTED.fullmatch(value)
    ):
        return False
    if any(letter.isspace() for letter in value):
        # A sentence about the secret.
        return False
    letters = any(letter.isalpha() for letter in value)
    digits = any(letter.isdigit() for letter in value)
    signs = any(not letter.isalnum() and letter not in "-_." for letter in value)
    if is_password:
        return digits or signs or (quoted and letters)
    if name.lower().endswith(
        ("tokens", "_type", "_count", "_name", "_id", "_url", "_path", "_file")
    ) or _UUID.fullmatch(value):
        return False
    return letters and digits and (quoted or len(value) >= 12) and len(set(value)) >= 5


def _looks_random(value: str) -> bool:
    bare = value.rstrip("=")
    if _UUID.fullmatch(bare) or _HEX.fullmatch(bare) or bare.startswith(("sha1-", "sha256-", "sha384-", "sha512-")):
        return False
    kinds = (any(map(str.isupper, bare)), any(map(str.islower, bare)), sum(map(str.isdigit, bare)) >= 2)
    if not all(kinds) or "//" in bare or _PATH.match(bare):
        return False
    if sum(map(len, _SYLLABLES.findall(bare))) > len(bare) / 2:
        # A name made of words.
        return False
    return _entropy(bare) >= _LEAST_ENTROPY and _changes(bare) >= _LEAST_CHANGES and not _is_encoded_text(value)


def _entropy(value: str) -> float:
    """Shannon's, in bits a character."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())


def _changes(value: str) -> float:
    """Share of neighbours of different kinds: high in random text, low in names made of words."""
    kinds = [(letter.isupper(), letter.isdigit(), letter.isalpha()) for letter in value]
    return sum(one != other for one, other in pairwise(kinds)) / max(1, len(kinds) - 1)


def _is_encoded_text(value: str) -> bool:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode("ascii").isprintable()
    except (binascii.Error, ValueError):
        return False
