"""Builds `caravan-chat`: `python -m models.recipe.chat --out models/caravan-chat`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from models.recipe.batches import Encoder, batches
from models.recipe.render import render
from models.recipe.scenarios import training_dialogs
from models.recipe.source import Source
from models.recipe.tokenizer import train_tokenizer, wrap
from models.recipe.train import Architecture, Schedule, Trainer, build_model, save_checkpoint
from models.recipe.workers import Workers, run_workers

_TOKENIZER_FAMILIES = 6_000
_TAKEN = 2
"""Dialogs of each family that the tokenizer is trained on."""
_LONGEST_DIALOG = 1024
_SPECIAL = re.compile(r"<\|[a-z_0-9]+\|>")


def make_tokenizer(seed: int, families: int = _TOKENIZER_FAMILIES) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on dialogs drawn with the seed."""
    source = Source(f"tokenizer-{seed}")
    drawn = (dialog for _ in range(families) for dialog in training_dialogs(source, progress=1.0)[:_TAKEN])
    return wrap(train_tokenizer(_SPECIAL.sub("\n\n", render(dialog)) for dialog in drawn))


def build(
    out: Path, schedule: Schedule, *, seed: int, device: str, batch_tokens: int, workers: Workers | None = None
) -> None:
    """Makes the tokenizer, trains the model and writes the checkpoint; goes on where an earlier run was stopped.

    While it runs, `<out>.state` beside the checkpoint holds what is needed to go on. Delete it to start over.
    """
    torch.manual_seed(seed)
    rank = workers.rank if workers else 0
    state = out.with_name(out.name + ".state")
    tokenizer = wrap(Tokenizer.from_file(str(out / "tokenizer.json"))) if state.exists() else make_tokenizer(seed)

    def save(trainer: Trainer) -> None:
        if rank:
            return
        save_checkpoint(trainer.model, tokenizer, out)
        fresh = state.with_name(state.name + ".new")
        torch.save(trainer.state(), fresh)
        fresh.replace(state)

    def log(line: str) -> None:
        if not rank:
            print(line, flush=True)

    model = build_model(Architecture(), tokenizer).to(device)
    trainer = Trainer(model, schedule, save, log, workers=workers)
    if state.exists():
        trainer.restore(torch.load(state, map_location=device))
    source = Source(f"dialogs-{seed}-{rank}-{trainer.step}")
    stream = batches(
        lambda: training_dialogs(source, trainer.progress),
        Encoder(tokenizer.backend_tokenizer),
        Random(seed),
        tokens=batch_tokens,
        longest=_LONGEST_DIALOG,
    )
    trainer.run(stream)
    if not rank:
        state.unlink(missing_ok=True)


def main() -> None:
    """Parses the command line and builds the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=4200, help="optimizer steps; more make it better")
    parser.add_argument("--batch-tokens", type=int, default=3584, help="tokens of a worker's batch, without padding")
    parser.add_argument("--workers", type=int, default=2, help="processes that train together on a CPU")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    train = partial(
        build,
        options.out,
        Schedule(options.steps),
        seed=options.seed,
        device=options.device,
        batch_tokens=options.batch_tokens,
    )
    if options.device == "cpu" and options.workers > 1:
        run_workers(partial(_build_with, train), options.workers)
    else:
        train()


def _build_with(train: Callable[..., None], workers: Workers) -> None:
    train(workers=workers)


if __name__ == "__main__":
    main()
