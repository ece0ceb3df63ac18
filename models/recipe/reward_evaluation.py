"""Measures `caravan-reward` through a running stack: `python -m models.recipe.reward_evaluation --address localhost:8321`."""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Sequence

import caravan
from caravan.inference.v1 import inference_pb2
from models.recipe.dialog import Dialog
from models.recipe.evaluation import Row, table
from models.recipe.render import messages, tool_definition
from models.recipe.reward_pairs import Ranked, evaluation_pairs
from models.recipe.reward_paraphrases import paraphrases

MODEL = "caravan-reward"
_AT_ONCE = 16
_HELD_OUT = 1000


async def evaluate(
    client: caravan.AsyncClient, model_id: str = MODEL, *, seed: int = 1
) -> tuple[list[Row], list[Ranked]]:
    """Scores both answers of each pair and counts how often the better one has the higher score.

    Args:
        client: Client of the stack.
        model_id: The reward model.
        seed: Start of the random sequence of the held-out pairs.

    Returns:
        The rows of the table, and the pairs that were judged wrong.
    """
    held_out, by_hand = evaluation_pairs(seed, _HELD_OUT), paraphrases()
    right = await _judge_all(client, model_id, held_out)
    right_by_hand = await _judge_all(client, model_id, by_hand)
    kinds: dict[str, list[bool]] = defaultdict(list)
    for drawn, is_right in zip(held_out, right, strict=True):
        kinds[drawn.kind].append(is_right)
    rows = [Row(MODEL, "prefers the better answer", ">= 90%", _count(right), _count(right_by_hand))]
    rows += [
        Row(MODEL, f"prefers the better answer: {kind}", "", _count(found)) for kind, found in sorted(kinds.items())
    ]
    missed = zip((*held_out, *by_hand), (*right, *right_by_hand), strict=True)
    return rows, [drawn for drawn, is_right in missed if not is_right]


async def _judge_all(client: caravan.AsyncClient, model_id: str, pairs: Sequence[Ranked]) -> list[bool]:
    free = asyncio.Semaphore(_AT_ONCE)

    async def judge(drawn: Ranked) -> bool:
        async with free:
            response = await client.call(_request(model_id, drawn), inference_pb2.ScoreAnswersResponse)
        better, *worse = response.scores
        return better > max(worse)

    return list(await asyncio.gather(*(judge(drawn) for drawn in pairs)))


def _request(model_id: str, drawn: Ranked) -> inference_pb2.ScoreAnswersRequest:
    answers = messages(Dialog((drawn.better, *drawn.worse)))
    return inference_pb2.ScoreAnswersRequest(
        model_id=model_id,
        messages=messages(drawn.dialog),
        answers=[answer.assistant for answer in answers],
        tools=[tool_definition(tool) for tool in drawn.dialog.tools],
    )


def _count(right: Sequence[bool]) -> tuple[int, int]:
    return sum(right), len(right)


async def _measure(address: str, wrong: int) -> None:
    async with caravan.AsyncClient(address) as client:
        rows, misses = await evaluate(client)
    print(table(rows))
    for drawn in misses[:wrong]:
        print(f"[{drawn.kind}] {drawn.dialog.turns[-1].text[-160:]!r}")
        for turn in (drawn.better, *drawn.worse):
            print(f"  {turn.text!r} {[(call.name, dict(call.arguments)) for call in turn.calls]}")


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="gateway of a stack that serves the reward model")
    parser.add_argument("--wrong", type=int, default=0, help="wrong pairs to show")
    options = parser.parse_args()
    asyncio.run(_measure(options.address, options.wrong))


if __name__ == "__main__":
    main()
