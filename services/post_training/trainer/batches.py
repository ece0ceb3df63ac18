"""Batches of encoded rows, as TRL's trainers take them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch

from services.post_training.trainer.encoding import IGNORED


def read(file: Path) -> datasets.Dataset:
    """Returns the rows of a file.

    Args:
        file: What `sequences.write` wrote.
    """
    return datasets.Dataset.from_file(str(file))


def with_rows(collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> Callable[[list[dict[str, Any]]], Any]:
    """Returns a collator that keeps the numbers of the rows that a batch is made of, and the number of its tokens.

    Args:
        collate: The collator.
    """

    def collated(examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate(examples)
        rows = [example["rows"] for example in examples]
        longest = max(len(numbers) for numbers in rows)
        batch["rows"] = torch.tensor([[*numbers, *[-1] * (longest - len(numbers))] for numbers in rows])
        batch["tokens"] = torch.tensor([_tokens(example) for example in examples])
        return batch

    return collated


def _tokens(example: Mapping[str, Any]) -> int:
    if "input_ids" in example:
        return len(example["input_ids"])
    return 2 * len(example.get("prompt_ids", ())) + len(example["chosen_ids"]) + len(example["rejected_ids"])


@dataclass(frozen=True)
class PackedCollator:
    """Batches of sequences of several rows.

    Each row has positions of its own and there is no mask of padding: by that Transformers knows that sequences are packed, and masks the
    rows from one another with any attention. (TRL's padding-free batches are one long sequence, whose mask grows with the batch's square.)
    """

    pad_token_id: int
    """Token that fills up sequences; filled up is a row of its own that nothing is learnt of."""

    def __call__(self, examples: list[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Makes a batch.

        Args:
            examples: Sequences with `input_ids`, `labels` and the `lengths` of their rows.
        """
        longest = max(len(example["input_ids"]) for example in examples)
        ids, labels, positions = [], [], []
        for example in examples:
            left = longest - len(example["input_ids"])
            ids.append([*example["input_ids"], *[self.pad_token_id] * left])
            labels.append([*example["labels"], *[IGNORED] * left])
            positions.append([at for length in (*example["lengths"], left) for at in range(length)])
        return {
            "input_ids": torch.tensor(ids),
            "labels": torch.tensor(labels),
            "position_ids": torch.tensor(positions),
        }
