"""A small shield for the shared code: finds patterns, masks some of what it finds."""

import re
from collections.abc import Sequence

from caravan.types.v1 import types_pb2
from services.safety.parameters import ShieldParams
from services.safety.ports import TextFinding, TextShield
from services.safety.provider import ReadyShield, ShieldProvider, ShieldProviderConfig
from services.safety.texts import Text

ERROR, WARN, INFO = types_pb2.VIOLATION_LEVEL_ERROR, types_pb2.VIOLATION_LEVEL_WARN, types_pb2.VIOLATION_LEVEL_INFO


class WordParams(ShieldParams):
    """Words by what becomes of them."""

    bad: str = r"\bbomb\b"
    """What is an error."""
    odd: str = r"\bhm+\b"
    """What is a warning."""
    secret: str = r"\bkey-\d{1,8}\b"
    """What is masked."""
    overlap: int | None = 16
    """How far the shield sees."""


class WordShield(TextShield):
    """Finds words in the folded text."""

    def __init__(self, params: WordParams) -> None:
        self.overlap = params.overlap
        self._patterns = [
            (re.compile(params.bad, re.IGNORECASE), "bad_word", ERROR, None),
            (re.compile(params.odd, re.IGNORECASE), "odd_word", WARN, None),
            (re.compile(params.secret, re.IGNORECASE), "secret", INFO, "[key]"),
        ]

    def scan(self, text: Text) -> Sequence[TextFinding]:
        view = text.folded
        return [
            TextFinding(*view.span(*found.span()), category, f"a {category}", level=level, replacement=replacement)
            for pattern, category, level, replacement in self._patterns
            for found in pattern.finditer(view.text)
        ]


class WordProvider(ShieldProvider[WordParams]):
    """Serves word shields."""

    params_type = WordParams

    def __init__(self, config: ShieldProviderConfig | None = None) -> None:
        super().__init__("words", "inline::words", config or ShieldProviderConfig())
        self.prepared = 0

    async def prepare(self, provider_shield_id: str, params: WordParams) -> TextShield:
        self.prepared += 1
        return WordShield(params)


def ready(**params: object) -> ReadyShield[WordParams]:
    """A word shield that is ready."""
    given = WordParams.model_validate(params)
    return ReadyShield("words", given, WordShield(given))
