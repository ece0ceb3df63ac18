"""Builds `caravan-guard`: `python -m models.recipe.guard --out models/caravan-guard`."""

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
from models.recipe.guard_dialogs import GuardCase, Said, guard_case, plain_case
from models.recipe.guard_tokenizer import train_guard_tokenizer
from models.recipe.guard_training import Row, Shape, build_classifier, losses
from models.recipe.optimization import Pace, optimize
from models.recipe.source import Source
from models.recipe.tokenizer import wrap
from models.recipe.train import save_checkpoint
from services.inference.prompts import llama3
from services.inference.prompts.encoding import encode
from services.inference.prompts.prompt import Prompt
from services.safety.guard_prompts import Role, Turn, render
from services.safety.hazards import LLAMA_GUARD_3, Hazard

SHAPE = Shape()

_TOKENIZER_CASES = 10_000
_POOL = 384
_PLAIN, _RAMP = 0.08, 0.15
"""Shares of the training: plain messages alone, then more and more of all kinds."""
_EXCLUSIONS = 0.35
"""Share of the training after which messages of categories that are not listed come in."""
_CAUTION = 2.5
"""How much more a false alarm counts than a miss."""
_SPECIAL = re.compile(r"<\|[a-z_0-9]+\|>")


def guard_prompt(
    turns: Sequence[Said], listed: Sequence[Hazard] = LLAMA_GUARD_3, *, today: date | None = None
) -> Prompt:
    """The prompt of a guard as the inference service makes it of the safety service's message.

    Args:
        turns: The conversation.
        listed: Categories to look for.
        today: Date that the service tells in a system message; None: it is set up to tell none.
    """
    content = render([Turn(Role(who), text) for who, text in turns], listed)
    form = types_pb2.TOOL_PROMPT_FORMAT_JSON if today else types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST
    message = types_pb2.Message(user=types_pb2.UserMessage(content=content))
    return llama3.render_chat([message], today=today, default_format=form)


def answer_to(case: GuardCase, listed: Sequence[Hazard] = LLAMA_GUARD_3) -> str:
    """What the guard has to answer; a hazard that is not listed is no hazard."""
    return f"unsafe\n{case.code}" if any(hazard.code == case.code for hazard in listed) else "safe"


def make_tokenizer(seed: int, count: int = _TOKENIZER_CASES) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on conversations drawn with the seed, and on a few whole prompts."""
    source = Source(f"guard-tokenizer-{seed}")

    def texts() -> Iterator[str]:
        for index in range(count):
            case = guard_case(source)
            if index % 40 == 0:
                yield _SPECIAL.sub("\n\n", guard_prompt(case.turns, today=words.day(source.rng)).text)
            yield f"{answer_to(case)}\n" + "\n\n".join(f"{who}: {text}" for who, text in case.turns)

    return wrap(train_guard_tokenizer(texts()))


def training_batches(
    tokenizer: PreTrainedTokenizerFast, source: Source, rng: Random, size: int, steps: int
) -> Iterator[Sequence[Row]]:
    """Yields batches whose prompts differ in the conversation alone: categories, date and role are those of the batch.

    The order matters: with everything at once, training stays for long where it tells the categories apart but not safe from unsafe. So it
    starts with plain messages. That a hazard of a category which is not listed counts as safe comes last.
    """
    end = tokenizer.convert_tokens_to_ids(llama3.END_OF_TURN)
    made = 0
    while True:
        progress = made / steps
        listed = _some_hazards(rng)
        left_out = {hazard.code for hazard in LLAMA_GUARD_3} - {hazard.code for hazard in listed}
        may_be_left_out = 1.0 if progress > _EXCLUSIONS else 0.0
        today = words.day(rng) if rng.random() < 0.5 else None
        ramp = (progress - _PLAIN) / _RAMP
        role = "Agent" if rng.random() < 0.3 and ramp > 0 else "User"
        cases: list[GuardCase] = []
        while len(cases) < _POOL:
            case = guard_case(source) if rng.random() < ramp or role == "Agent" else plain_case(source)
            if case.turns[-1][0] == role and (case.code not in left_out or rng.random() < may_be_left_out):
                cases.append(case)
        rows = [
            Row(
                encode(guard_prompt(case.turns, listed, today=today), tokenizer),
                [*tokenizer.encode(answer_to(case, listed), add_special_tokens=False), end],
                weight=1.0 if case.code else _CAUTION,
            )
            for case in cases
        ]
        rows.sort(key=lambda row: len(row.prompt))
        groups = [rows[start : start + size] for start in range(0, len(rows), size)]
        rng.shuffle(groups)
        made += len(groups)
        yield from groups


def _some_hazards(rng: Random) -> tuple[Hazard, ...]:
    """All categories mostly; else some are left out, and now and then a foreign one is added."""
    if rng.random() < 0.8:
        return LLAMA_GUARD_3
    kept = rng.sample(LLAMA_GUARD_3, rng.randint(4, 13))
    listed = [hazard for hazard in LLAMA_GUARD_3 if hazard in kept]
    if rng.random() < 0.2:
        listed.append(Hazard(f"S{rng.randint(15, 20)}", words.phrase(rng).capitalize(), words.phrase(rng)))
    return tuple(listed)


def build(out: Path, *, steps: int, seed: int, device: str, batch: int, shape: Shape) -> None:
    """Makes the tokenizer, trains the model and writes the checkpoint."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(seed)
    model = build_classifier(shape, tokenizer).to(device)
    stream = training_batches(tokenizer, Source(f"guard-{seed}"), Random(seed), batch, steps)
    optimize(
        model.model.layers,
        [*model.model.embed_tokens.parameters(), *model.model.norm.parameters()],
        Pace(steps),
        (losses(model, rows) for rows in stream),
        log=lambda line: print(line, flush=True),
    )
    save_checkpoint(model, tokenizer, out)


def main() -> None:
    """Parses the command line and builds the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=3000, help="optimizer steps; more make it better")
    parser.add_argument("--batch", type=int, default=96, help="conversations of a batch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    build(
        options.out,
        steps=options.steps,
        seed=options.seed,
        device=options.device,
        batch=options.batch,
        shape=SHAPE,
    )


if __name__ == "__main__":
    main()
