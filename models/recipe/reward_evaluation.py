"""Measures `caravan-reward` through a running stack: `python -m models.recipe.reward_evaluation --address localhost:8321`."""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Sequence

import caravan
from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from models.recipe.evaluation import Row, table
from models.recipe.reward_pairs import Pair, evaluation_pairs
from models.recipe.reward_paraphrases import paraphrases
from models.recipe.reward_prompt import Message, render, score

MODEL = "caravan-reward"
_AT_ONCE = 16
_HELD_OUT = 1000
_CANDIDATES = 20


async def evaluate(
    client: caravan.AsyncClient, model_id: str = MODEL, *, seed: int = 1
) -> tuple[list[Row], list[Pair]]:
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


async def _judge_all(client: caravan.AsyncClient, model_id: str, pairs: Sequence[Pair]) -> list[bool]:
    free = asyncio.Semaphore(_AT_ONCE)

    async def judge(drawn: Pair) -> bool:
        async with free:
            better = await _score(client, model_id, drawn.dialog, drawn.better)
            return better > await _score(client, model_id, drawn.dialog, drawn.worse)

    return list(await asyncio.gather(*(judge(drawn) for drawn in pairs)))


async def _score(client: caravan.AsyncClient, model_id: str, dialog: Sequence[Message], answer: str) -> float:
    item = types_pb2.InterleavedContentItem(text=render(dialog, answer))
    request = inference_pb2.ChatCompletionRequest(
        model_id=model_id,
        messages=[types_pb2.Message(user=types_pb2.UserMessage(content=types_pb2.InterleavedContent(items=[item])))],
        sampling_params=types_pb2.SamplingParams(greedy=types_pb2.GreedySamplingStrategy(), max_tokens=1),
        logprobs=types_pb2.LogProbConfig(top_k=_CANDIDATES),
    )
    response = await client.call(request, inference_pb2.ChatCompletionResponse)
    return score(response.logprobs[0].logprobs_by_token)


def _count(right: Sequence[bool]) -> tuple[int, int]:
    return sum(right), len(right)


async def _measure(address: str, wrong: int) -> None:
    async with caravan.AsyncClient(address) as client:
        rows, misses = await evaluate(client)
    print(table(rows))
    for drawn in misses[:wrong]:
        print(f"[{drawn.kind}] {drawn.dialog[-1].text[-160:]!r}\n  better {drawn.better!r}\n  worse {drawn.worse!r}")


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="gateway of a stack that serves the reward model")
    parser.add_argument("--wrong", type=int, default=0, help="wrong pairs to show")
    options = parser.parse_args()
    asyncio.run(_measure(options.address, options.wrong))


if __name__ == "__main__":
    main()
