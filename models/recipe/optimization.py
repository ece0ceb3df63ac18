"""The loop that trains the small classifiers: Muon for the matrices, AdamW for the rest, a warm-up and then a cosine."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import torch

Losses = Mapping[str, torch.Tensor]
"""The terms of a step's loss by name; their sum is what falls."""

_WARM_UP_STEPS = 30
_REPORTED = 50


@dataclass(frozen=True)
class Pace:
    """How long to train and how fast to learn."""

    steps: int
    muon_rate: float = 0.02
    adam_rate: float = 3e-3

    def factor(self, step: int) -> float:
        """What the rates are multiplied with at a step."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return min((step + 1) / _WARM_UP_STEPS, 0.02 + 0.98 * cosine)


def optimize(
    layers: torch.nn.Module,
    others: Iterable[torch.nn.Parameter],
    pace: Pace,
    losses: Iterable[Losses],
    log: Callable[[str], None] = print,
) -> None:
    """Trains for the steps of the pace.

    Args:
        layers: Their matrices are Muon's; their other weights count among the others.
        others: All weights that AdamW trains beside those of the layers.
        pace: Length and learning rates.
        losses: Computes the losses of the next batch whenever it is asked for them.
        log: Called with a line of progress.
    """
    matrices = [weight for weight in layers.parameters() if weight.ndim == 2]
    rest = [*(weight for weight in layers.parameters() if weight.ndim != 2), *others]
    optimizers: tuple[tuple[torch.optim.Optimizer, float], ...] = (
        (torch.optim.Muon(matrices, lr=pace.muon_rate, momentum=0.95, weight_decay=0.01, ns_steps=4), pace.muon_rate),
        (torch.optim.AdamW(rest, lr=pace.adam_rate, betas=(0.9, 0.98), weight_decay=0.0), pace.adam_rate),
    )
    started, sums = time.monotonic(), defaultdict[str, float](float)
    for step, terms in enumerate(islice(losses, pace.steps)):
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * pace.factor(step)
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_([*matrices, *rest], 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for name, term in terms.items():
            sums[name] += float(term.detach()) / _REPORTED
        if (step + 1) % _REPORTED == 0:
            spent = (time.monotonic() - started) / 60
            said = " ".join(f"{name} {value:.4f}" for name, value in sums.items())
            log(f"step {step + 1}/{pace.steps} {said} {spent:.1f} minutes")
            sums.clear()
