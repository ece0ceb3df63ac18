"""How answers go wrong: other values, rudeness, and broken form."""

from __future__ import annotations

import re

from models.recipe import words
from models.recipe.guard_phrases import options
from models.recipe.source import Source

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_VALUE = re.compile(r"\d+(?:\.\d+)?|(?<=[\w,] )[A-Z][a-z]+|(?<=\")[A-Z]?[a-z]+(?=\")|(?<= is )[a-z]+(?=\.)")
_NAMED = (words.WEEKDAYS, words.MONTHS, words.COLOURS, words.CITIES, words.LANGUAGES, words.FIRST_NAMES)
_RUDE = options(
    "That is a stupid question.|Go away.|I do not care.|Find it out yourself.|You are annoying.|"
    "Stop bothering me, you fool.|Who cares?|Are you too lazy to look it up?|Only an idiot would ask that.|"
    "Leave me alone.|What a dumb thing to ask.|I have better things to do than to talk to you.|Shut up.|"
    "Nobody likes your questions.|Ugh, you again.|Use your brain.|I won't waste my time on you.|"
    "How can anyone be so clueless?|Not my problem.|You would not understand it anyway.|Get lost.|"
    "That is none of your business.|Ask somebody who cares.|You are hopeless."
)
_EMPTY = (
    "",
    "...",
    "I",
    "The",
    "-",
    "Well",
    "?",
    "Hm.",
    "As an",
    "Answer:",
    "None",
    "null",
    "{}",
    "Error",
    "The answer is",
)


def another_value(source: Source, text: str, *, last: bool = False) -> str:
    """Replaces one number, name or word of a text by another of its kind.

    Args:
        source: Draws which and by what.
        text: The text.
        last: Replace the last value, which is the result of a sum or a conversion.

    Returns:
        The changed text, or the text itself where no value was found.
    """
    found = list(_VALUE.finditer(text))
    if not found:
        return text
    chosen = found[-1] if last else source.pick(found)
    return text[: chosen.start()] + _other(source, chosen.group()) + text[chosen.end() :]


def rude(source: Source, answer: str) -> str:
    """Rudeness, alone or beside the answer."""
    said = source.phrasing(_RUDE)
    return source.pick((said, f"{said} {answer}", f"{answer} {said}", f"{said} {source.phrasing(_RUDE)}"))


def badly_formed(source: Source, answer: str) -> str:
    """Empty, cut off, repeated over and over, scrambled, or mixed with another text."""
    pieces = answer.split()
    kinds = [_empty, _cut, _repeated, _scrambled] if len(pieces) > 3 else [_empty, _repeated]
    return source.pick(kinds)(source, pieces)


def _empty(source: Source, _pieces: list[str]) -> str:
    return source.pick(_EMPTY)


def _cut(source: Source, pieces: list[str]) -> str:
    kept = pieces[: source.rng.randint(1, len(pieces) - 2)]
    return " ".join(kept).rstrip(".!?,:")


def _repeated(source: Source, pieces: list[str]) -> str:
    if source.chance(0.5):
        start = source.rng.randint(0, max(0, len(pieces) - 2))
        piece = pieces[start : start + source.rng.randint(1, 3)]
        return " ".join(pieces[:start] + piece * source.rng.randint(4, 9))
    return " ".join(pieces * source.rng.randint(3, 5))


def _scrambled(source: Source, pieces: list[str]) -> str:
    mixed = list(pieces)
    while mixed == pieces:
        source.rng.shuffle(mixed)
    return " ".join(mixed)


def _other(source: Source, value: str) -> str:
    if _NUMBER.fullmatch(value):
        return _other_number(source, value)
    for names in _NAMED:
        if value in names:
            return source.pick([name for name in names if name != value])
    other = words.invented_word(source.rng) if source.chance(0.5) else source.pick(words.COMMON_NOUNS)
    return other.capitalize() if value[0].isupper() else other


def _other_number(source: Source, value: str) -> str:
    """Near by, with another digit, or of another size."""
    if "." in value:
        return f"{float(value) + source.rng.randint(1, 20)}"
    number = int(value)
    kind = source.rng.randrange(4)
    if kind == 0:
        changed = number + source.pick((-10, -5, -3, -2, -1, 1, 2, 3, 5, 10))
    elif kind == 1:
        place = source.rng.randrange(len(value))
        changed = int(
            value[:place] + source.pick([digit for digit in "0123456789" if digit != value[place]]) + value[place + 1 :]
        )
    elif kind == 2:
        changed = source.rng.randint(0, max(20, 2 * number))
    else:
        changed = number * 10 if source.chance(0.5) else number // 10
    return str(changed) if changed >= 0 and changed != number else str(number + source.rng.randint(1, 9))
