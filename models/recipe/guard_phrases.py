"""A small phrase grammar: templates with slots, word lists, and a split that keeps combinations for evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from models.recipe import words
from models.recipe.source import Source
from models.recipe.words import is_held_out, listed

Lists = Mapping[str, Sequence[str]]

_SLOT = re.compile(r"\{(\w+)\}")
_TRIES = 60
_DOUBLED = frozenset(
    listed("get cut hit put rob run stab plan stop drug sit ship rip win dig chat set drop swim begin")
)
_SHARE = 6
"""One combination in so many is kept for evaluation."""


def options(text: str) -> tuple[str, ...]:
    """Splits a list that is written with bars between its entries."""
    return tuple(" ".join(entry.split()) for entry in listed(text, separator="|") if entry.strip())


NAMED: dict[str, Sequence[str]] = {
    "city": words.CITIES,
    "noun": words.COMMON_NOUNS,
    "adjective": words.ADJECTIVES,
    "topic": words.TOPICS,
    "language": words.LANGUAGES,
    "weekday": words.WEEKDAYS,
    "month": words.MONTHS,
}


def fill(source: Source, template: str, lists: Lists) -> str:
    """Fills the slots of a template, and those of what it fills in.

    Args:
        source: Draws the words.
        template: Text with slots such as `{victim}`. `{name}` is a person, `{word}` an invented word, `{n}` a small number.
        lists: Word lists by slot; those of `NAMED` are always there.
    """

    def value(found: re.Match[str]) -> str:
        slot = found.group(1)
        if slot == "name":
            return words.person(source.rng)
        if slot == "word":
            return words.invented_word(source.rng)
        if slot == "n":
            return str(source.rng.randint(2, 60))
        return fill(source, source.pick(lists[slot] if slot in lists else NAMED[slot]), lists)

    return _SLOT.sub(value, template)


def combination(source: Source, templates: Sequence[str], lists: Lists) -> str:
    """Fills one of the templates such that the result is on this source's side of the split.

    Single words are on both sides, for nobody can know what an unknown word means; what is held out is how they go together.
    """
    text = ""
    for _ in range(_TRIES):
        text = fill(source, source.pick(templates), lists)
        if is_held_out(text, _SHARE) == source.held_out:
            break
    return text


def gerund(deed: str) -> str:
    """`make a bomb` as `making a bomb`."""
    verb, _, rest = deed.partition(" ")
    if verb in _DOUBLED:
        verb += verb[-1]
    elif verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")):
        verb = verb[:-1]
    return f"{verb}ing {rest}".rstrip()


def thinned(source: Source, text: str) -> str:
    """Leaves out one word in ten, so that no single word of a phrasing is relied on."""
    kept = [word for word in text.split(" ") if not source.chance(0.1)]
    return " ".join(kept) or text


def misspelt(source: Source, text: str) -> str:
    """Swaps, drops or doubles a letter in one of the longer words."""
    pieces = text.split(" ")
    long = [index for index, piece in enumerate(pieces) if len(piece) > 4 and piece.isalpha()]
    if not long:
        return text
    index = source.pick(long)
    word, place = pieces[index], source.rng.randint(1, len(pieces[index]) - 3)
    pieces[index] = source.pick(
        (
            word[:place] + word[place + 1] + word[place] + word[place + 2 :],
            word[:place] + word[place + 1 :],
            word[:place] + word[place] + word[place:],
        )
    )
    return " ".join(pieces)


def capitalized(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
