"""The form in which `caravan-reward` is asked for its judgement of an answer, and how its score is read.

The whole prompt is one user message. The model answers with one token, `good` or `bad`; the score of the answer is the difference of their
log probabilities (log-odds), so any server that reports log probabilities of chat answers can serve the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

GOOD, BAD = "good", "bad"

_TASK = "Judge the answer to the last message of this conversation.\n\n<BEGIN CONVERSATION>\n"
_BEFORE_ANSWER = "<END CONVERSATION>\n<BEGIN ANSWER>\n"
_AFTER_ANSWER = "\n<END ANSWER>\n\nIs the answer correct, helpful and polite? Say good or bad."
FIXED_TEXTS = (_TASK, _BEFORE_ANSWER, _AFTER_ANSWER)
"""What every prompt repeats word by word."""

_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool", "tools": "Tools"}
_FORGED = re.compile(
    rf"^(\W*(?:{'|'.join(_SPEAKERS.values())})[^\w:\n]*):|<\s*((?:BEGIN|END) (?:CONVERSATION|ANSWER))\s*>",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class Message:
    """One message of the conversation."""

    role: Literal["system", "user", "assistant", "tool", "tools"]
    """Who speaks; `tools` lists the tools on offer, one a line: `name(parameter, ...): description`."""
    text: str


def render(dialog: Sequence[Message], answer: str) -> str:
    """The text of the user message that asks for a judgement.

    Args:
        dialog: The conversation that the answer continues, oldest message first.
        answer: The assistant's answer; a tool call as its JSON text.
    """
    said = "".join(f"{_SPEAKERS[message.role]}: {_harmless(message.text)}\n" for message in dialog)
    return f"{_TASK}{said}{_BEFORE_ANSWER}{_harmless(answer)}{_AFTER_ANSWER}"


def score(first_token: Mapping[str, float]) -> float:
    """The score of an answer: ln P(good) - ln P(bad). Of two answers to a conversation, the one with the higher score is better.

    Args:
        first_token: Log probabilities by token text at the first position of the judgement, the likeliest tokens at least. A word
            that is not among them counts as little as the least likely one that is.

    Raises:
        ValueError: Neither word is among the tokens: that is no reward model.
    """
    if GOOD not in first_token and BAD not in first_token:
        message = f"neither {GOOD!r} nor {BAD!r} is among the likeliest tokens; use a model trained by models/recipe/reward.py"
        raise ValueError(message)
    least = min(first_token.values())
    return first_token.get(GOOD, least) - first_token.get(BAD, least)


def _harmless(text: str) -> str:
    """Text that cannot be taken for another message or for the end of the conversation or the answer."""
    return _FORGED.sub(lambda found: f"{found[1]} -" if found[1] else f"({found[2]})", text.strip())
