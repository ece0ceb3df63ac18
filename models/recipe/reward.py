"""Builds `caravan-reward`: `python -m models.recipe.reward --out models/caravan-reward`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models.recipe.optimization import Losses, Pace, optimize
from models.recipe.reward_pairs import training_example
from models.recipe.reward_prompt import CHAT_TEMPLATE
from models.recipe.reward_training import RewardTraining, batches
from models.recipe.source import Source
from models.recipe.train import save_checkpoint

_BASE = Path(__file__).parents[1] / "caravan-chat"
_LONGEST = 420


def make_tokenizer(base: Path) -> PreTrainedTokenizerFast:
    """The chat model's tokenizer with the reward model's chat template."""
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build(out: Path, *, base: Path, pace: Pace, seed: int, device: str, batch_tokens: int) -> None:
    """Trains the model from the chat model and writes the checkpoint."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(base)
    training = RewardTraining(base, device)
    source = Source(f"reward-{seed}")

    def losses() -> Iterator[Losses]:
        for rows in batches(
            lambda: training_example(source), tokenizer, Random(seed), tokens=batch_tokens, longest=_LONGEST
        ):
            yield training.losses(rows)

    layers = training.model.model.layers
    optimize(layers, training.others, pace, losses(), log=lambda line: print(line, flush=True))
    save_checkpoint(training.model, tokenizer, out)


def main() -> None:
    """Parses the command line and builds the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--base", type=Path, default=_BASE, help="folder of the chat model to start from")
    parser.add_argument("--steps", type=int, default=900, help="optimizer steps; more make it better")
    parser.add_argument("--batch-tokens", type=int, default=2400, help="tokens of a batch, padding included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    pace = Pace(options.steps, muon_rate=0.006, adam_rate=1e-3)
    build(
        options.out,
        base=options.base,
        pace=pace,
        seed=options.seed,
        device=options.device,
        batch_tokens=options.batch_tokens,
    )


if __name__ == "__main__":
    main()
