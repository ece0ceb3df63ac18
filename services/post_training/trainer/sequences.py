"""Encoded rows as an Arrow file in the job's folder, which all processes map into memory. Imports no torch."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from services.post_training.trainer.encoding import IGNORED, EncodedDialog, EncodedPair
from services.post_training.trainer.packing import pack
from services.post_training.trainer.recipe import Recipe

_ROWS_OF_A_PART = 1000
_NUMBERS = pa.list_(pa.int32())


@dataclass
class Counts:
    """What became of rows."""

    rows: int = 0
    """Rows that are trained on."""
    tokens: int = 0
    """Their tokens."""
    truncated: int = 0
    """Rows that were cut at their end."""
    left_out: int = 0
    """Rows of which nothing is left to learn once they are cut."""
    sequences: int = 0
    """Sequences, which are rows unless they are packed."""


def write(
    encoded: Iterable[EncodedDialog | EncodedPair],
    file: Path,
    recipe: Recipe,
    max_length: int,
    *,
    between: Callable[[Counts], None] = lambda _: None,
    written: Callable[[Counts], None] = lambda _: None,
) -> Counts:
    """Writes rows to a file, which is there when it is complete.

    Args:
        encoded: The rows.
        file: The file.
        recipe: The training.
        max_length: Longest sequence in tokens.
        between: Called now and then with what was done so far; may raise to stop.
        written: Called before the file is there; may raise to leave it.
    """
    counts = Counts()
    unfinished = file.with_name(f".{file.name}-{os.getpid()}")
    kept = _kept(encoded, counts, max_length, between)
    if recipe.packed:
        rows = [row for row in kept if isinstance(row, EncodedDialog)]
        sequences = pack([len(row.ids) for row in rows], max_length)
        columns: Iterator[dict[str, Any]] = (_packed([rows[number] for number in numbers]) for numbers in sequences)
    elif recipe.kind == "supervised_fine_tune":
        columns = (_packed([row]) for row in kept if isinstance(row, EncodedDialog))
    elif recipe.kind == "preference_optimize":
        columns = (_pair(row) for row in kept if isinstance(row, EncodedPair))
    else:
        columns = (_scored(row) for row in kept if isinstance(row, EncodedPair))
    schema = _schema(recipe)
    try:
        with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            while part := list(islice(columns, _ROWS_OF_A_PART)):
                counts.sequences += len(part)
                writer.write_batch(pa.RecordBatch.from_pylist(part, schema=schema))
        written(counts)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return counts


def _kept(
    encoded: Iterable[EncodedDialog | EncodedPair],
    counts: Counts,
    max_length: int,
    between: Callable[[Counts], None],
) -> Iterator[EncodedDialog | EncodedPair]:
    for row in encoded:
        if (counts.rows + counts.left_out) % 100 == 0:
            between(counts)
        counts.truncated += row.full_length > max_length
        if not row.learnt:
            counts.left_out += 1
            continue
        counts.rows += 1
        if isinstance(row, EncodedDialog):
            counts.tokens += len(row.ids)
        else:
            counts.tokens += 2 * len(row.prompt) + len(row.chosen) + len(row.rejected)
        yield row


def _schema(recipe: Recipe) -> pa.Schema:
    names = {
        "supervised_fine_tune": ("rows", "input_ids", "labels", "lengths"),
        "preference_optimize": ("rows", "prompt_ids", "chosen_ids", "rejected_ids"),
        "train_reward_model": ("rows", "chosen_ids", "rejected_ids"),
    }[recipe.kind]
    return pa.schema([(name, _NUMBERS) for name in names])


def _packed(rows: Sequence[EncodedDialog]) -> dict[str, Any]:
    return {
        "rows": [row.row for row in rows],
        "input_ids": [token for row in rows for token in row.ids],
        # What a row begins with does not follow from the row before it.
        "labels": [label for row in rows for label in (IGNORED, *row.labels[1:])],
        "lengths": [len(row.ids) for row in rows],
    }


def _pair(row: EncodedPair) -> dict[str, Any]:
    return {"rows": [row.row], "prompt_ids": row.prompt, "chosen_ids": row.chosen, "rejected_ids": row.rejected}


def _scored(row: EncodedPair) -> dict[str, Any]:
    return {"rows": [row.row], "chosen_ids": row.prompt + row.chosen, "rejected_ids": row.prompt + row.rejected}
