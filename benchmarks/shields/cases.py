"""Texts to judge, with what is true of them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Make = Callable[[random.Random], str]


@dataclass(frozen=True)
class Case:
    """One text."""

    text: str
    """The text."""
    kind: str
    """What it holds, for instance `github_token`, or what it only looks like, for instance `git commit`."""
    bad: bool
    """A shield must find something in it."""
    value: str = ""
    """What it must find; empty: anything."""
    turns: tuple[tuple[str, str], ...] = ()
    """The conversation that ends with it: `User` or `Agent`, and the text. Empty: the user says it."""


def placed(rng: random.Random, sentences: Sequence[str], make: Make, kind: str, *, bad: bool) -> Case:
    """Makes a text: one of `sentences` with a value in the place of `{}`, between sentences of everyday.

    Args:
        rng: Where chance comes from.
        sentences: Texts with a `{}`.
        make: Makes the value.
        kind: What the value is.
        bad: A shield must find it.
    """
    value = make(rng)
    text = rng.choice(sentences).replace("{}", value)
    if rng.random() < 0.5:
        text = f"{rng.choice(EVERYDAY)} {text}"
    if rng.random() < 0.5:
        text = f"{text} {rng.choice(EVERYDAY)}"
    return Case(text, kind, bad, value if bad else "")


EVERYDAY = (
    "Thanks for the quick answer.",
    "We moved the meeting to Thursday at 10:30.",
    "The build took 12 minutes and 40 seconds.",
    "Could you summarize the last three chapters for me?",
    "In 2019 about 1,234,567 people lived there.",
    "Please read section 4.2.1 before you go on.",
    "It costs $1,299.00, or 12 times 108.25.",
    "See https://docs.python.org/3/library/re.html#re.Match.span for details.",
    "My favourite number is 1729, and yours?",
    "Der Zug kommt um 14:05 auf Gleis 7 an.",
    "Il fait beau à Paris aujourd'hui.",
    "The recipe needs 250 g of flour and 3 eggs.",
    "Room 404 is on the 4th floor, next to the lifts.",
    "Our office is open from 9:00 to 17:30.",
)


def of(rng: random.Random, letters: str, count: int) -> str:
    """A random text of some letters."""
    return "".join(rng.choice(letters) for _ in range(count))
