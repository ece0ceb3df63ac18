"""Answers to ask of a chat model, taken from dialogs, and the judgement of what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from models.recipe import facts
from models.recipe.dialog import Dialog, Json, Turn
from models.recipe.retrieval import UNANSWERABLE
from models.recipe.scenarios import NO_TOOL_FITS

_ANSWER_FAMILIES = (
    *(set(answers) for _, answers in facts.SMALL_TALK + facts.IDENTITY),
    set(facts.JOKES),
)


@dataclass(frozen=True)
class Answer:
    """What a model said: its text, and its calls as pairs of name and arguments."""

    text: str
    calls: tuple[tuple[str, Mapping[str, Json]], ...] = ()


@dataclass(frozen=True)
class Case:
    """One answer to ask for."""

    row: str
    """Row of the table."""
    before: Dialog
    """The conversation up to the answer."""
    expected: Turn
    """The reference answer."""
    evidence: str = ""
    """Tool output that the answer has to use."""


def cases(dialog: Dialog) -> Iterator[Case]:
    """Yields a case for each assistant turn of a dialog, the first of each tool conversation and later ones alike."""
    for index, turn in enumerate(dialog.turns):
        if turn.role == "assistant":
            before = replace(dialog, turns=dialog.turns[:index])
            yield Case(_row(dialog, index), before, turn, _evidence(dialog.turns, index))


def is_right(case: Case, answer: Answer) -> bool:
    """Judges an answer: calls by equality, the others by what they have to hold."""
    expected = case.expected
    if expected.calls:
        return answer.calls == tuple((call.name, dict(call.arguments)) for call in expected.calls)
    return not answer.calls and (answer.text.strip() == expected.text or _says_the_same(case, answer.text.strip()))


def _says_the_same(case: Case, text: str) -> bool:
    expected = case.expected
    if expected.text == NO_TOOL_FITS:
        return False
    if expected.text == UNANSWERABLE:
        return "know" in text and "not" in text
    if case.row == "no tool needed":
        return bool(text) and text != NO_TOOL_FITS
    if case.evidence and not expected.key:
        needed = _words(case.evidence) & _words(expected.text)
        return bool(needed) and needed <= _words(text)
    if expected.key:
        return _words(expected.key) <= _words(text)
    return any({text, expected.text} <= family for family in _ANSWER_FAMILIES)


def _row(dialog: Dialog, index: int) -> str:
    turn, before = dialog.turns[index], dialog.turns[index - 1]
    if turn.calls:
        return f"tool call, {dialog.tool_format}, {'parallel' if len(turn.calls) > 1 else 'single'}"
    if before.role == "tool":
        return "answer uses the tool result"
    if turn.text == NO_TOOL_FITS:
        return "no tool fits: says so"
    if turn.text == UNANSWERABLE:
        return "context lacks the answer: says so"
    if turn.key:
        return "context question answered"
    return "no tool needed" if dialog.tools else "conversation"


def _evidence(turns: tuple[Turn, ...], index: int) -> str:
    outputs: list[str] = []
    while index > 0 and turns[index - 1].role == "tool":
        index -= 1
        outputs.append(turns[index].text)
    return " ".join(outputs)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))
