"""Measures the demo models through a running stack and prints the table: `python -m models.recipe.evaluate`.

What a stack serves is measured: `caravan-chat`, and the guard, the reward model and the prompt guard where they are served.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import caravan
from models.recipe import chat_evaluation, guard_evaluation, injection_evaluation, reward_evaluation
from models.recipe.cases import Answer, Case
from models.recipe.evaluation import Row, table
from models.recipe.render import written
from models.recipe.running_stack import running_stack


async def _measure(address: str, chat_model: str | None, only: str | None, wrong: int) -> list[Row]:
    """Measures what a stack serves and there is an evaluation for: every model, or the one that is named."""
    rows: list[Row] = []
    async with caravan.AsyncClient(address) as client:
        asked = {only} if only else {chat_evaluation.MODEL, *await _served(client)}
        if chat_evaluation.MODEL in asked:
            rows, misses = await chat_evaluation.evaluate(client, chat_model or chat_evaluation.MODEL)
            _show(misses, wrong)
        for kind in (guard_evaluation, reward_evaluation, injection_evaluation):
            if kind.MODEL in asked:
                rows += (await kind.evaluate(client))[0]
    return rows


async def _served(client: caravan.AsyncClient) -> set[str]:
    """Identifiers of the models that the stack serves, those behind its shields among them."""
    models = {model.model_id async for model in client.models.list()}
    shields = {shield.shield_id async for shield in client.shields.list()}
    return models | ({injection_evaluation.MODEL} if injection_evaluation.SHIELD in shields else set())


def _show(misses: Sequence[tuple[Case, Answer]], limit: int) -> None:
    """Prints some wrong answers of each row."""
    shown: Counter[str] = Counter()
    for case, answer in misses:
        shown[case.row] += 1
        if shown[case.row] <= limit:
            turns = case.before.turns
            said = [turn.text for turn in turns if turn.role in ("user", "tool")][-1]
            expected = written(replace(case.before, turns=(*turns, case.expected)), len(turns))
            print(f"[{case.row}] {said!r}\n  expected {expected!r}\n  answered {answer.text!r} {list(answer.calls)}")


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", help="gateway of a running stack; default: start one")
    parser.add_argument("--model", type=Path, help="folder of another chat model, for the stack that is started")
    parser.add_argument("--chat-model", help="chat model to ask, by its id; default: the demo model")
    parser.add_argument("--only", help="the one model to measure; default: every one that is served")
    parser.add_argument("--wrong", type=int, default=0, help="wrong answers to show for each row")
    options = parser.parse_args()
    chat_model = options.chat_model or (options.model and options.model.name)
    with nullcontext(options.address) if options.address else running_stack(options.model) as address:
        print(table(asyncio.run(_measure(address, chat_model, options.only, options.wrong))))


if __name__ == "__main__":
    main()
