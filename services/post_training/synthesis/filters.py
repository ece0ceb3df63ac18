"""Which answers are kept: Llama Stack's filters, pure and repeatable.

The same scores, numbers and seed always keep the same answers. What is left to chance is drawn for each answer, or each dialog, from the
seed and its place alone, so that neither the order in which answers are made nor an interruption changes anything.

    none            all
    random          a sample without replacement of the share r of n answers: floor(r n), and one more with the chance that makes the
                    share right on average, r n - floor(r n)
    top_k           the k highest scores
    top_p           the fewest of highest score whose share of all score reaches p. Shares are softmax(scores), which is positive and adds
                    up to 1, as in nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751)
    top_k_top_p     top_p among the k highest, the softmax over these alone
    sigmoid         each with the chance 1 / (1 + exp(-(score - shift) / scale))

Of equal scores the earlier answer comes first. With `per_dialog` the answers to each dialog are filtered by themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from caravan.synthetic_data.v1 import synthetic_data_pb2

DEFAULT_TOP_P = 0.9
DEFAULT_SAMPLE_RATE = 0.5

_BY_RANK = (
    synthetic_data_pb2.FILTERING_FUNCTION_TOP_K,
    synthetic_data_pb2.FILTERING_FUNCTION_TOP_P,
    synthetic_data_pb2.FILTERING_FUNCTION_TOP_K_TOP_P,
)
_WITH_TOP_K = (synthetic_data_pb2.FILTERING_FUNCTION_TOP_K, synthetic_data_pb2.FILTERING_FUNCTION_TOP_K_TOP_P)
_WITH_TOP_P = (synthetic_data_pb2.FILTERING_FUNCTION_TOP_P, synthetic_data_pb2.FILTERING_FUNCTION_TOP_K_TOP_P)


@dataclass(frozen=True, slots=True)
class FilterNumbers:
    """A filter with all its numbers."""

    function: int
    """Number of the filtering function."""
    seed: int
    """Seed of chance."""
    top_k: int
    """Answers to keep."""
    top_p: float = DEFAULT_TOP_P
    """Share of score to keep."""
    sample_rate: float = DEFAULT_SAMPLE_RATE
    """Share of answers to keep."""
    shift: float = 0.0
    """Score that is kept with chance one half."""
    scale: float = 1.0
    """Divides the score."""
    per_dialog: bool = False
    """Each dialog's answers are filtered by themselves."""


def numbers_of(function: int, params: synthetic_data_pb2.FilterParams, dialogs: int, seed: int) -> FilterNumbers:
    """Fills in what a request leaves out.

    Args:
        function: Number of the filtering function.
        params: The request's numbers.
        dialogs: Number of dialogs.
        seed: Seed, where the request has none.
    """
    return FilterNumbers(
        function=function or synthetic_data_pb2.FILTERING_FUNCTION_NONE,
        seed=params.seed if params.HasField("seed") else seed,
        top_k=params.top_k if params.HasField("top_k") else 1 if params.per_dialog else max(dialogs, 1),
        top_p=params.top_p if params.HasField("top_p") else DEFAULT_TOP_P,
        sample_rate=params.sample_rate if params.HasField("sample_rate") else DEFAULT_SAMPLE_RATE,
        shift=params.shift,
        scale=params.scale if params.HasField("scale") else 1.0,
        per_dialog=params.per_dialog,
    )


class Filter:
    """Decides which of the answers to a number of dialogs are kept."""

    def __init__(self, numbers: FilterNumbers, dialogs: int, answers: int) -> None:
        """Takes the numbers.

        Args:
            numbers: The filter's numbers.
            dialogs: Number of dialogs.
            answers: Number of answers to each.
        """
        self._numbers = numbers
        self._dialogs = dialogs
        self._answers = answers
        sampled = numbers.function == synthetic_data_pb2.FILTERING_FUNCTION_RANDOM and not numbers.per_dialog
        self._sample = self._drawn(dialogs * answers, str(numbers.seed)) if sampled else frozenset()

    @property
    def needs_all_scores(self) -> bool:
        """Nothing can be decided before all answers are scored."""
        return self._numbers.function in _BY_RANK and not self._numbers.per_dialog

    def of_dialog(self, dialog: int, scores: Sequence[float]) -> list[int]:
        """Returns which answers to a dialog are kept, by their places in it; only where not all scores are needed.

        Args:
            dialog: Its place among the dialogs.
            scores: Scores of its answers; empty where nothing scores them.
        """
        match self._numbers.function:
            case synthetic_data_pb2.FILTERING_FUNCTION_RANDOM if self._numbers.per_dialog:
                return sorted(self._drawn(self._answers, f"{self._numbers.seed}:{dialog}"))
            case synthetic_data_pb2.FILTERING_FUNCTION_RANDOM:
                first = dialog * self._answers
                return [place for place in range(self._answers) if first + place in self._sample]
            case synthetic_data_pb2.FILTERING_FUNCTION_SIGMOID:
                return [place for place, score in enumerate(scores) if self._is_lucky(dialog, place, score)]
            case function if function in _BY_RANK:
                return self._best(scores)
            case _:
                return list(range(self._answers))

    def of_all(self, scores: Sequence[float]) -> list[int]:
        """Returns which of all answers are kept, by their places among all, the first dialog's answers first.

        Args:
            scores: Scores of all answers in that order; empty where nothing scores them.
        """
        if self.needs_all_scores:
            return self._best(scores)
        kept = []
        for dialog in range(self._dialogs):
            first = dialog * self._answers
            kept += [first + place for place in self.of_dialog(dialog, scores[first : first + self._answers])]
        return kept

    def _best(self, scores: Sequence[float]) -> list[int]:
        numbers = self._numbers
        ranked = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
        if numbers.function in _WITH_TOP_K:
            ranked = ranked[: numbers.top_k]
        if numbers.function in _WITH_TOP_P:
            ranked = ranked[: fewest_to_reach(numbers.top_p, [scores[place] for place in ranked])]
        return sorted(ranked)

    def _drawn(self, count: int, seed: str) -> frozenset[int]:
        random = Random(seed)  # noqa: S311 - repeatable on purpose
        exact = self._numbers.sample_rate * count
        wanted = math.floor(exact)
        wanted += random.random() < exact - wanted
        return frozenset(random.sample(range(count), wanted))

    def _is_lucky(self, dialog: int, answer: int, score: float) -> bool:
        random = Random(f"{self._numbers.seed}:{dialog}:{answer}")  # noqa: S311 - repeatable on purpose
        return random.random() < sigmoid((score - self._numbers.shift) / self._numbers.scale)


def fewest_to_reach(share: float, scores: Sequence[float]) -> int:
    """Returns how many of the highest scores are needed for their share of all score to reach one.

    Args:
        share: The share to reach, above 0; at 1 all are needed.
        scores: The scores, highest first.
    """
    if share >= 1 or not scores:
        return len(scores)
    weights = [math.exp(score - scores[0]) for score in scores]
    wanted = share * math.fsum(weights)
    reached = 0.0
    for count, weight in enumerate(weights, start=1):
        reached += weight
        if reached >= wanted:
            return count
    return len(scores)


def sigmoid(value: float) -> float:
    """Returns 1 / (1 + exp(-value)), also where exp would overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    power = math.exp(value)
    return power / (1 + power)
