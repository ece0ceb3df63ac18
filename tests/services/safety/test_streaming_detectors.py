"""The shields that scan texts, streamed: the decision is the one on the whole text, and what is masked never gets out."""

import asyncio
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.safety.parameters import ShieldParams
from services.safety.provider import ReadyShield
from services.safety.providers.pii.config import PiiConfig
from services.safety.providers.pii.provider import PiiProvider
from services.safety.providers.rules.config import RulesConfig
from services.safety.providers.rules.provider import RulesProvider
from services.safety.providers.secrets.config import SecretsConfig
from services.safety.providers.secrets.provider import SecretsProvider
from tests.services.safety.test_streaming import masked_text, released, stream, verdict, whole
from tests.services.safety.word_shield import ERROR

RULES = {
    "deny": [
        {"name": "weapon", "pattern": "gren(ade|adier)s?"},
        {"name": "key", "pattern": "key-[0-9]{2,8}", "replacement": "[key]", "level": "info"},
    ],
    "topics": [{"name": "gossip", "phrases": ["the boss", "an affair"], "level": "warn"}],
    "length": {"maximum": 300},
}
PIECES = {
    "rules": ["grenade", "grena", "dier", "key-", "1", "23", "the boss", "the  bo", "ss", " ", "\n", "gr\u200benade", "x"],
    "secrets": [
        "AKIA", "IOSFODNN7", "EXAMPLQ", " ", "\n", "password = ", "'hunter2hunter2'", "ghp_", "0123456789abcdefghijABCDEFGHIJ012345",
        "https://user:", "p4ssw0rd@", "host", "x", "eyJhbGciOiJIUzI1NiJ9", ".", "-----BEGIN RSA PRIVATE KEY-----\n", "MIIEow",
    ],
    "pii": [
        "ada", "@", "example", ".com", " ", "4111", "1111", "-", "+1 415 ", "555 2671", "DE89", "3704 0044 0532 0130 00", "x", "\n",
        "call ", "078-05-1120", ".", "192.168.0.1",
    ],
}  # fmt: skip


@cache
def shield(kind: str, mode: str) -> ReadyShield[ShieldParams]:
    providers = {
        "rules": lambda: RulesProvider("p", RulesConfig()),
        "secrets": lambda: SecretsProvider("p", SecretsConfig()),
        "pii": lambda: PiiProvider("p", PiiConfig()),
    }
    provider = providers[kind]()
    params = provider.params_type.model_validate(RULES if kind == "rules" else {"mode": mode})
    return ReadyShield(kind, params, asyncio.run(provider.prepare(kind, params)))


@pytest.mark.parametrize(
    ("kind", "mode"), [("rules", ""), *((k, m) for k in ("secrets", "pii") for m in ("mask", "block"))]
)
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_streamed_text_is_decided_and_masked_as_the_whole_one(kind: str, mode: str, data: st.DataObject):
    words = st.lists(st.sampled_from(PIECES[kind]), max_size=8).map("".join)
    fillers = st.integers(0, 400).map(lambda count: "la " * (count // 3))
    chunks = data.draw(st.lists(st.tuples(words, fillers).map("".join), max_size=5))
    size = data.draw(st.integers(1, 60))
    text = "".join(chunks)
    ready = shield(kind, mode)

    async def check() -> None:
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        events, expected = await stream(ready, pieces), await whole(ready, text)
        result = verdict(events)
        assert result.violation.violation_level == expected.violation.violation_level
        if result.violation.violation_level == ERROR:
            first = min(f.location.start for f in expected.findings if f.violation_level == ERROR)
            assert all(event.released.end <= first for event in events if event.HasField("released"))
        else:
            assert released(events) == masked_text(expected, text)

    asyncio.run(check())
