"""A random source that knows which phrasings training may use and which are kept for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import TypeVar

from models.recipe.words import FILLERS, held_out_part, training_part

T = TypeVar("T")


@lru_cache(maxsize=1024)
def _part(items: tuple[T, ...], *, held_out: bool) -> tuple[T, ...]:
    return held_out_part(items[2:]) if held_out else (*items[:2], *training_part(items[2:]))


class Source:
    """Draws phrasings and values for one dialog after another.

    Args:
        seed: Start of the random sequence; equal seeds give equal dialogs.
        held_out: Draw what training never sees where there is a choice, instead of what it sees.
    """

    def __init__(self, seed: int | str, *, held_out: bool = False) -> None:
        self.rng = Random(seed)
        self.held_out = held_out
        self.noise = 0.0
        """Share of the templates in which words that only fill a sentence are replaced."""

    def pick(self, items: Sequence[T]) -> T:
        """Picks from everything: use it for values that need no split."""
        return self.rng.choice(items)

    def phrasing(self, items: Sequence[T]) -> T:
        """Picks from the side of the split that this source may use. Short lists, and the first two of any, are not held out."""
        if len(items) < 4:
            return self.rng.choice(items)
        part: tuple[T, ...] = _part(tuple(items), held_out=self.held_out)
        return self.rng.choice(part or items)

    def disturbed(self, template: str) -> str:
        """Replaces, drops and adds words of a template, so that no phrasing is relied on; its slots stay.

        For templates whose meaning is in their slots. Without `noise` they stay as they are.
        """
        if not self.noise or not self.chance(self.noise):
            return template
        told: list[str] = []
        for word in template.split(" "):
            change = "" if "{" in word else self.weighted((("", 6.0), ("drop", 1.5), ("replace", 2.0), ("add", 0.8)))
            if change in {"", "add"}:
                told.append(word)
            if change in {"replace", "add"}:
                told.append(self.pick(FILLERS))
        return " ".join(told)

    def chance(self, probability: float) -> bool:
        """Returns true with the given probability."""
        return self.rng.random() < probability

    def weighted(self, weights: Sequence[tuple[T, float]]) -> T:
        """Picks an item by its weight."""
        return self.rng.choices([item for item, _ in weights], [weight for _, weight in weights])[0]
