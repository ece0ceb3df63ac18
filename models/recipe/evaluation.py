"""What the evaluation of every demo model ends in: rows of right and asked answers, and the Markdown table of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Counts = tuple[int, int]
"""Right answers, and answers in all."""


@dataclass(frozen=True)
class Row:
    """One figure of a model and the goal it has to reach."""

    model: str
    name: str
    """What is measured, for instance `tool call, json, single`."""
    goal: str
    """The goal as text, for instance `>= 95%`; empty where none is set."""
    held_out: Counts
    """On words, names, tools and values that training never draws."""
    paraphrase: Counts | None = None
    """On wordings written separately, which training never sees; None where there are none."""


def table(rows: Iterable[Row]) -> str:
    """Writes rows as a Markdown table."""
    head = "| model | what | goal | held out | answers | paraphrased | answers |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *(_line(row) for row in rows)])


def _line(row: Row) -> str:
    cells = [row.model, row.name, row.goal, *_cells(row.held_out), *_cells(row.paraphrase)]
    return f"| {' | '.join(cells)} |"


def _cells(counts: Counts | None) -> tuple[str, str]:
    if counts is None or counts[1] == 0:
        return "", ""
    right, total = counts
    return f"{right / total:.1%}", str(total)
