"""The ports between the safety domain and what judges.

A provider (`services.safety.provider`) prepares shields: objects that have their parameters and are ready to judge. There are two kinds. A
`TextShield` looks at one text at a time and knows nothing of messages: walking messages, offsets, masking, threads and streams are shared
code. A `ConversationShield` judges the messages itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.safety.texts import Text

Level: TypeAlias = types_pb2.ViolationLevel.ValueType


@dataclass(frozen=True, slots=True)
class TextFinding:
    """One thing that was found in a text."""

    start: int
    """Its first code point in the text as it was sent (`Text.original`)."""
    end: int
    """The code point after its last one."""
    category: str
    """What was found, in the shield's own words, for instance `email_address`."""
    description: str
    """What the category means. Never the found text."""
    level: Level = types_pb2.VIOLATION_LEVEL_ERROR
    """How severe it is."""
    score: float | None = None
    """How sure the shield is, 0 to 1. None: it does not say."""
    replacement: str | None = None
    """Text to stand in for it. None: it stays."""
    metadata: Mapping[str, str | float | bool] = field(default_factory=dict)
    """Facts for programs to read. Never the found text when that is a secret."""


class TextShield(ABC):
    """Finds things in one text. It has its parameters and keeps no state between texts: `scan` runs in several threads at once."""

    overlap: int | None = None
    """How far the shield sees, in code points: no finding depends on text further than this from its first or last code point, and none is
    longer. While a text streams, this much is held back. None: there is no bound, and nothing is released before the text is whole."""
    quick_chars: int = 1000
    """Longest text that `scan` is done with in about a millisecond; longer ones go to a thread."""

    @abstractmethod
    def scan(self, text: Text) -> Sequence[TextFinding]:
        """Returns what is in a text, in any order.

        The text may be a part of a longer one that streams (`text.offset` code points are before it) if `overlap` is set.

        Raises:
            CaravanError: It cannot judge. Never return nothing for a text that was not read to its end.
        """


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a shield says about a conversation."""

    findings: Sequence[results_pb2.ShieldFinding] = ()
    """Everything it found, in any order; `violation_level` is set in each. Nothing: it is safe."""
    score: float | None = None
    """How sure it is that the conversation is unsafe, 0 to 1. None: it does not say."""


@dataclass(frozen=True, slots=True)
class Steps:
    """How a growing text is judged by a shield that reads conversations."""

    stride: int
    """Code points after which the text is judged again."""
    window: int | None = None
    """Code points of its end that are judged then, beside all that is not released yet. None: all of it."""


class ConversationShield(ABC):
    """Judges messages, for instance by asking a model or a server."""

    steps: Steps | None = None
    """How a growing text is judged. None: only when it is whole."""

    @abstractmethod
    async def judge(self, messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Verdict:
        """Judges messages; roles, levels and timeouts of `ShieldParams` are shared code's business.

        Args:
            messages: The conversation, oldest message first, up to the last message to judge.
            judged: Indices of the messages to judge, ascending, at least one; the others are context. Findings name these indices.

        Raises:
            NotFoundError: What it needs, a model for instance, is gone.
            CaravanError: It cannot judge: the failure policy decides. An answer that it cannot read is an error, never safe.
        """


Shield: TypeAlias = TextShield | ConversationShield
