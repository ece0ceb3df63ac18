"""The questions, and what the answers of a search to them are worth."""

import statistics
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.retrieval.corpus import standing_in

FILE = Path(__file__).with_name("questions.toml")


@dataclass(frozen=True)
class Question:
    """One question."""

    text: str
    """In a person's words."""
    passages: Sequence[tuple[str, str]]
    """Path and words of each passage that is needed to answer it."""

    @property
    def hops(self) -> int:
        """Number of passages that are needed."""
        return len(self.passages)

    def places(self, found: Sequence[tuple[str, str]]) -> list[int | None]:
        """Returns for each passage the place of the first hit that holds it, from 1. None: there is none.

        Args:
            found: Path and text of each hit, best first.
        """
        return [
            next(
                (place for place, (hit, text) in enumerate(found, 1) if hit == path and standing_in(words, text)), None
            )
            for path, words in self.passages
        ]


@dataclass
class Quality:
    """How well a kind of search answers some questions."""

    places: list[list[int | None]] = field(default_factory=list)
    """Places of the passages of each question."""
    seconds: list[float] = field(default_factory=list)
    """How long each search took."""

    def recall(self, k: int) -> float:
        """Share of the passages that are among the first k hits, averaged over questions."""
        return statistics.mean(statistics.mean(_within(place, k) for place in places) for places in self.places)

    def complete(self, k: int) -> float:
        """Share of the questions all of whose passages are among the first k hits."""
        return statistics.mean(all(_within(place, k) for place in places) for places in self.places)

    @property
    def reciprocal_rank(self) -> float:
        """Mean of 1 / the place of a passage (0: not found), over passages, then over questions."""
        return statistics.mean(
            statistics.mean(1 / place if place else 0.0 for place in places) for places in self.places
        )

    @property
    def median_ms(self) -> float:
        """Median time of a search in milliseconds."""
        return statistics.median(self.seconds) * 1000


def read(file: Path = FILE) -> list[Question]:
    """Reads the questions.

    Args:
        file: A TOML file.
    """
    entries = tomllib.loads(file.read_text())["question"]
    return [Question(entry["text"], [(path, words) for path, words in entry["passages"]]) for entry in entries]


def _within(place: int | None, k: int) -> bool:
    return place is not None and place <= k
