"""Builds `caravan-reward`: `python -m models.recipe.reward --out models/caravan-reward`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from random import Random

import torch
from transformers import PreTrainedTokenizerFast

from caravan.types.v1 import types_pb2
from models.recipe import words
from models.recipe.guard_training import Pace, Row, Shape, build_classifier, train
from models.recipe.induction import start_with_induction
from models.recipe.reward_pairs import Pair, pair, plain_pair
from models.recipe.reward_prompt import BAD, FIXED_TEXTS, GOOD, Message, render
from models.recipe.reward_tokenizer import train_reward_tokenizer
from models.recipe.source import Source
from models.recipe.tokenizer import wrap
from models.recipe.train import save_checkpoint
from services.inference.prompts import llama3
from services.inference.prompts.encoding import encode
from services.inference.prompts.prompt import Prompt

_TOKENIZER_PAIRS = 5_000
_POOL = 96
_PLAIN, _RAMP = 0.1, 0.2
"""Shares of the training: plain pairs alone, then more and more of all kinds."""
_LONGEST = 220
_SPECIAL = re.compile(r"<\|[a-z_0-9]+\|>")
SHAPE = Shape(layers=5)


def reward_prompt(dialog: Sequence[Message], answer: str, *, today: date | None = None) -> Prompt:
    """The prompt for the judgement of an answer, as the inference service makes it.

    Args:
        dialog: The conversation.
        answer: The answer to judge.
        today: Date that the service tells in a system message; None: it is set up to tell none.
    """
    form = types_pb2.TOOL_PROMPT_FORMAT_JSON if today else types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST
    content = types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=render(dialog, answer))])
    message = types_pb2.Message(user=types_pb2.UserMessage(content=content))
    return llama3.render_chat([message], today=today, default_format=form)


def make_tokenizer(seed: int, count: int = _TOKENIZER_PAIRS) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on conversations and answers drawn with the seed."""
    source = Source(f"reward-tokenizer-{seed}")

    def texts() -> Iterator[str]:
        for index in range(count):
            drawn = pair(source)
            text = render(drawn.dialog, drawn.better)
            for fixed in FIXED_TEXTS:
                text = text.replace(fixed, "\n")
            yield text
            yield f"{drawn.worse}\n{GOOD}\n{BAD}"
            if index % 50 == 0:
                yield _SPECIAL.sub("\n", reward_prompt((), "", today=words.day(source.rng)).text)

    return wrap(train_reward_tokenizer(texts()))


def rows_of(drawn: Pair, tokenizer: PreTrainedTokenizerFast, today: date | None) -> tuple[Row, Row]:
    """The rows of a pair. The better answer itself is learnt as well: who could have written it knows a wrong one when he sees it."""
    end = tokenizer.convert_tokens_to_ids(llama3.END_OF_TURN)
    opening, closing = (tokenizer.convert_tokens_to_ids(text) for text in FIXED_TEXTS[1:])
    better, worse = (
        encode(reward_prompt(drawn.dialog, answer, today=today), tokenizer) for answer in (drawn.better, drawn.worse)
    )
    learnt = (better.index(opening) + 1, better.index(closing) + 1)
    good, bad = (tokenizer.encode(word, add_special_tokens=False) for word in (GOOD, BAD))
    return Row(better, [*good, end], learnt), Row(worse, [*bad, end])


def training_batches(
    tokenizer: PreTrainedTokenizerFast, source: Source, rng: Random, tokens: int, steps: int
) -> Iterator[Sequence[Row]]:
    """Yields batches of pairs: both answers to each conversation, all under one date, at most `tokens` tokens together.

    Training starts with pairs that are plainly good and bad; what takes a close look comes in bit by bit.
    """
    made = 0
    while True:
        ramp = (made / steps - _PLAIN) / _RAMP
        today = words.day(rng) if rng.random() < 0.5 else None
        drawn = [pair(source) if rng.random() < ramp else plain_pair(source) for _ in range(_POOL)]
        pairs = [rows_of(one, tokenizer, today) for one in drawn]
        pairs = [both for both in pairs if len(both[0].prompt) <= _LONGEST]
        pairs.sort(key=lambda both: len(both[0].prompt))
        groups: list[list[tuple[Row, Row]]] = [[]]
        for both in pairs:
            if 2 * (len(groups[-1]) + 1) * max(len(row.prompt) for row in both) > tokens:
                groups.append([])
            groups[-1].append(both)
        groups = [group for group in groups if group]
        rng.shuffle(groups)
        made += len(groups)
        yield from ([row for both in group for row in both] for group in groups)


def build(out: Path, *, steps: int, seed: int, device: str, batch_tokens: int) -> None:
    """Makes the tokenizer, trains the model and writes the checkpoint."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(seed)
    model = build_classifier(SHAPE, tokenizer)
    start_with_induction(model)
    stream = training_batches(tokenizer, Source(f"reward-{seed}"), Random(seed), batch_tokens, steps)
    train(model.to(device), Pace(steps, others=0.4), stream, log=lambda line: print(line, flush=True))
    save_checkpoint(model, tokenizer, out)


def main() -> None:
    """Parses the command line and builds the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=2500, help="optimizer steps; more make it better")
    parser.add_argument("--batch-tokens", type=int, default=2400, help="tokens of a batch, padding included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    build(options.out, steps=options.steps, seed=options.seed, device=options.device, batch_tokens=options.batch_tokens)


if __name__ == "__main__":
    main()
