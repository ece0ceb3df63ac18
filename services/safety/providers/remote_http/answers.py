"""What endpoints answer, as categories. An answer that does not say clearly whether a text is flagged is an error, never safe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.safety.providers.remote_http.config import TemplateFormat
from services.safety.providers.remote_http.endpoint import broken

UNNAMED = "flagged"
"""Category of a text that is flagged without one."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an endpoint says about one text."""

    flagged: bool
    """It is not safe."""
    categories: Sequence[str] = ()
    """What it is flagged for; empty when the endpoint does not say."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Scores by category, 0 to 1; of no category in particular: under the empty name."""


def of_openai(answer: Any, count: int) -> list[Judgement]:
    """Reads an answer of OpenAI's moderation API.

    Args:
        answer: The answer's JSON.
        count: Number of texts that were sent.

    Raises:
        UnavailableError: It is malformed.
    """
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != count:
        raise broken(f"does not have {count} results")
    return [_openai_result(result) for result in results]


def of_template(answer: Any, wanted: TemplateFormat) -> Judgement:
    """Reads an answer by pointers.

    Args:
        answer: The answer's JSON.
        wanted: Where what is.

    Raises:
        UnavailableError: Something is not where it should be, or is not what it should be.
    """
    categories = _categories(_at(answer, wanted.categories)) if wanted.categories is not None else ()
    scores = _scores(_at(answer, wanted.scores)) if wanted.scores is not None else {}
    flagged = _is_flagged(_at(answer, wanted.flagged), wanted) if wanted.flagged is not None else bool(categories)
    return Judgement(flagged, categories, scores)


def _openai_result(result: Any) -> Judgement:
    if not isinstance(result, dict) or not isinstance(result.get("flagged"), bool):
        raise broken("does not say whether a text is flagged")
    categories = _categories(result["categories"]) if "categories" in result else ()
    scores = _scores(result["category_scores"]) if "category_scores" in result else {}
    return Judgement(result["flagged"], categories, scores)


def _at(answer: Any, pointer: str) -> Any:
    """The value that a JSON Pointer names."""
    value = answer
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(value):
            value = value[int(name[:9])]
        else:
            raise broken(f"has nothing at {pointer}")
    return value


def _is_flagged(value: Any, wanted: TemplateFormat) -> bool:
    if not isinstance(value, bool) and isinstance(value, str | int):
        if value in wanted.flagged_values:
            return True
        if value in wanted.safe_values:
            return False
    if isinstance(value, bool):
        return value
    raise broken(f"has neither a boolean nor a known value at {wanted.flagged}")


def _categories(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict) and all(isinstance(one, bool | None) for one in value.values()):
        return tuple(name for name, is_set in value.items() if is_set)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise broken("has no categories where they should be")


def _scores(value: Any) -> dict[str, float]:
    scores = value if isinstance(value, dict) else {"": value}
    numbers = {name: _number(score) for name, score in scores.items() if score is not None}
    if not numbers and value != {}:
        raise broken("has no scores where they should be")
    return numbers


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise broken("has a score that is no number from 0 to 1")
    return float(value)
