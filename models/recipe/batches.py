"""Turns dialogs into batches of token ids of about equal length, with the loss mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer

from models.recipe.dialog import Dialog
from models.recipe.render import render

_POOL = 384


@dataclass(frozen=True)
class Example:
    """The token ids of a dialog and the places whose token the model has to predict."""

    ids: list[int]
    targets: list[bool]


@dataclass(frozen=True)
class Batch:
    """Token ids, right-padded, and a mask of the tokens that count; both [dialogs, tokens]."""

    ids: torch.Tensor
    targets: torch.Tensor


class Encoder:
    """Encodes dialogs and marks the assistant's turns."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._opening = tokenizer.encode("<|start_header_id|>assistant<|end_header_id|>\n\n").ids
        self._ends = {_required_id(tokenizer, token) for token in ("<|eot_id|>", "<|eom_id|>")}
        self.pad_id = _required_id(tokenizer, "<|finetune_right_pad_id|>")

    def example(self, dialog: Dialog) -> Example:
        """Returns the ids of a dialog; targets are the assistant's tokens, the closing one included."""
        ids: list[int] = self._tokenizer.encode(render(dialog)).ids
        targets = [False] * len(ids)
        inside, size = False, len(self._opening)
        for index, token in enumerate(ids):
            targets[index] = inside
            opened = ids[max(0, index + 1 - size) : index + 1] == self._opening
            inside = opened or (inside and token not in self._ends)
        return Example(ids, targets)

    def batch(self, examples: list[Example]) -> Batch:
        """Stacks examples, padded on the right to the longest."""
        width = max(len(example.ids) for example in examples)
        ids = torch.full((len(examples), width), self.pad_id, dtype=torch.long)
        targets = torch.zeros((len(examples), width), dtype=torch.bool)
        for row, example in enumerate(examples):
            ids[row, : len(example.ids)] = torch.tensor(example.ids)
            targets[row, : len(example.ids)] = torch.tensor(example.targets)
        return Batch(ids, targets)


def _required_id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        message = f"the tokenizer lacks {token}"
        raise ValueError(message)
    return found


def batches(
    draw: Callable[[], Dialog], encoder: Encoder, rng: Random, *, tokens: Callable[[], int], longest: int
) -> Iterator[Batch]:
    """Yields batches for ever.

    Dialogs of like length go together, so hardly any padding is computed and no dialog sees another one's text, as would
    happen where several are packed into one row.

    Args:
        draw: Makes one dialog.
        encoder: Encodes it.
        rng: Shuffles the batches of a pool.
        tokens: Tells the size of a batch, padding included; it may grow during training.
        longest: Longer dialogs are dropped.
    """
    while True:
        pool = [example for example in (encoder.example(draw()) for _ in range(_POOL)) if len(example.ids) <= longest]
        pool.sort(key=lambda example: len(example.ids))
        groups: list[list[Example]] = [[]]
        limit = tokens()
        for example in pool:
            if (len(groups[-1]) + 1) * len(example.ids) > limit and groups[-1]:
                groups.append([])
            groups[-1].append(example)
        rng.shuffle(groups)
        yield from (encoder.batch(group) for group in groups)
