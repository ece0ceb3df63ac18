"""Finds the rows that a filter fits. Blocks: it runs in a worker process or, over a little, in a thread."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from services.post_training.datasets import filters, segments
from services.post_training.datasets.canonical import parsed


@dataclass(frozen=True, slots=True)
class Scan:
    """What is looked for, and where. Plain values: it travels as JSON."""

    folder: str
    """Folder of the data set."""
    segments: list[tuple[str, int]]
    """The segments and the number of rows in each."""
    condition: str
    """The filter."""
    first_row: int
    """Number of the row to begin at."""
    limit: int
    """Most rows to find."""
    count_all: bool
    """Whether to count those beyond the limit too."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was found."""

    rows: list[int]
    """Numbers of the rows that fit, at most `limit`."""
    next_row: int
    """Number of the row to go on at; the number of all rows when nothing is left."""
    total: int
    """Number of rows that fit from `first_row` on; meaningful when all were counted."""


def run(task: Scan) -> Scanned:
    """Looks for rows.

    Args:
        task: What to look for.

    Raises:
        FileNotFoundError: The data set is gone.
    """
    wanted = filters.parse(task.condition)
    found: list[int] = []
    total, begin = 0, 0
    next_row = sum(rows for _, rows in task.segments)
    full = False
    for name, rows in task.segments:
        skipped = min(rows, max(0, task.first_row - begin))
        if skipped < rows:
            texts = islice(segments.lines(Path(task.folder), name), skipped, rows)
            for number, text in enumerate(texts, begin + skipped):
                if not wanted.fits(parsed(text.decode())):
                    continue
                if len(found) >= task.limit:
                    if not full:
                        full, next_row = True, number
                    if not task.count_all:
                        return Scanned(found, next_row, total)
                else:
                    found.append(number)
                total += 1
        begin += rows
    return Scanned(found, next_row, total)
