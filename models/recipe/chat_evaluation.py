"""Measures `caravan-chat` through a running stack: answers over gRPC, counted in rows.

The history before each answer is the dialog's own, not the model's.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import caravan
from models.recipe import paraphrases
from models.recipe.cases import Answer, Case, cases, is_right
from models.recipe.dialog import Dialog
from models.recipe.evaluation import Row
from models.recipe.render import messages, tool_definition
from models.recipe.retrieval import retrieval_dialog
from models.recipe.scenarios import chat_dialog, tool_dialog
from models.recipe.source import Source

MODEL = "caravan-chat"
_AT_ONCE = 16
_LONGEST_ANSWER = 160
_PER_ROW = 120
_GOALS = {
    "tool call, json, single": ">= 95%",
    "tool call, json, parallel": ">= 95%",
    "tool call, function_tag, single": ">= 90%",
    "tool call, python_list, single": ">= 90%",
    "tool call, python_list, parallel": ">= 90%",
    "no tool needed": ">= 95%",
    "no tool fits: says so": "",
    "answer uses the tool result": ">= 95%",
    "context question answered": ">= 90%",
    "context lacks the answer: says so": ">= 90%",
    "conversation": "",
}


@dataclass
class Score:
    """Right answers of a row, with the wrong ones to look at."""

    right: int = 0
    total: int = 0
    wrong: list[tuple[Case, Answer]] = field(default_factory=list)


async def evaluate(
    client: caravan.AsyncClient, model_id: str = MODEL, *, seed: int = 1
) -> tuple[list[Row], list[tuple[Case, Answer]]]:
    """Asks everything and counts.

    Args:
        client: Client of the stack.
        model_id: The model to ask.
        seed: Start of the random sequence of the held-out dialogs.

    Returns:
        The rows of the table, and the wrong answers.
    """
    held_out = await _ask_all(client, model_id, held_out_cases(seed))
    paraphrased = await _ask_all(client, model_id, paraphrased_cases())
    rows = []
    for name, goal in _GOALS.items():
        score, other = held_out[name], paraphrased.get(name)
        rows.append(Row(MODEL, name, goal, (score.right, score.total), (other.right, other.total) if other else None))
    return rows, [miss for score in (*held_out.values(), *paraphrased.values()) for miss in score.wrong]


def held_out_cases(seed: int) -> list[Case]:
    """Draws dialogs of words, names, tools and phrasings that training never draws, until each row has its answers."""
    source = Source(f"evaluation-{seed}", held_out=True)
    makers: tuple[Callable[[], Dialog], ...] = (
        lambda: chat_dialog(source),
        lambda: retrieval_dialog(source),
        *(lambda form=form: tool_dialog(source, form) for form in ("json", "function_tag", "python_list")),
    )
    rows: dict[str, list[Case]] = {name: [] for name in _GOALS}
    turn = 0
    while any(len(found) < _PER_ROW for found in rows.values()):
        for case in cases(makers[turn % len(makers)]()):
            # The stack tells the model today's date, not the dialog's.
            if len(rows[case.row]) < _PER_ROW and not case.expected.text.startswith("Today is "):
                rows[case.row].append(case)
        turn += 1
    return list(chain.from_iterable(rows.values()))


def paraphrased_cases() -> Iterator[Case]:
    """The last answer of each dialog of the wordings that were written by hand."""
    formats = ("json", "function_tag", "python_list")
    dialogs: Iterable[Dialog] = chain(
        *(paraphrases.call_dialogs(form) for form in formats),
        *(paraphrases.parallel_dialogs(form) for form in ("json", "python_list")),
        paraphrases.no_tool_dialogs(),
        paraphrases.result_dialogs(),
        paraphrases.context_dialogs(),
    )
    for dialog in dialogs:
        *_, last = cases(dialog)
        yield last


async def _ask_all(client: caravan.AsyncClient, model_id: str, asked: Iterable[Case]) -> dict[str, Score]:
    free = asyncio.Semaphore(_AT_ONCE)
    scores: dict[str, Score] = defaultdict(Score)

    async def ask(case: Case) -> None:
        async with free:
            answer = await _answer(client, model_id, case.before)
        score = scores[case.row]
        score.total += 1
        if is_right(case, answer):
            score.right += 1
        else:
            score.wrong.append((case, answer))

    async with asyncio.TaskGroup() as group:
        for case in asked:
            group.create_task(ask(case))
    return scores


async def _answer(client: caravan.AsyncClient, model_id: str, dialog: Dialog) -> Answer:
    tools = [tool_definition(tool) for tool in dialog.tools]
    if tools:
        reply = await client.chat(
            model_id,
            messages(dialog),
            tools=tools,
            tool_prompt_format=dialog.tool_format,
            temperature=0.0,
            max_tokens=_LONGEST_ANSWER,
        )
    else:
        reply = await client.chat(model_id, messages(dialog), temperature=0.0, max_tokens=_LONGEST_ANSWER)
    return Answer(reply.text, tuple((call.tool_name, caravan.tool_arguments(call)) for call in reply.tool_calls))
