"""Parameters that name the tool's own subject: a request says them behind its noun, such as `locker T-417`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from models.recipe import words
from models.recipe.parameters import Kind, Value, said_as_is
from models.recipe.source import Source

_CODES = ("{n} {v}", "{n} {v}", "{n} with the id {v}", "{n} number {v}", "{n} {v}", "{n} by the code {v}", "{n} marked {v}", "{v} {n}",
          "{n} no. {v}", "{n} having the id {v}")  # fmt: skip
_NAMES = ("{n} {v}", "{n} called {v}", "{n} {v}", "{v} {n}", "{n} of {v}", "{n} named {v}", "{n} by the name of {v}", "{n} at {v}",
          "{n} for {v}", "{n} in {v}", "{n} known as {v}")  # fmt: skip
_NUMBERS = ("{n} {v}", "{n} number {v}", "{n} {v}", "{n} with the number {v}", "{n} no. {v}", "{n} {v}")


def subject_kind(source: Source, noun: str) -> Kind:
    """Returns a parameter for the thing itself: its id, name or number. The phrases hold the noun as `{n}` and the value as `{v}`."""
    stem = noun.replace(" ", "_")
    form = source.weighted((("code", 4.0), ("name", 4.0), ("number", 1.5)))
    if form == "number":
        return Kind(
            (f"{stem}_number", f"{stem}_id", stem, "number"), "integer", (f"The number of the {noun}", f"Which {noun}", f"{noun} number"),
            _number, _NUMBERS,
        )  # fmt: skip
    draw: Callable[[Random], str]
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    phrases: tuple[str, ...]
    if form == "code":
        names, draw, phrases = (f"{stem}_id", f"{stem}_code", stem, "id", "code"), words.code, _CODES
        descriptions = (f"The id of the {noun}", f"The code of the {noun}", f"Which {noun}", f"Unique id of the {noun}")
    else:
        names, draw, phrases = (stem, f"{stem}_name", "name", stem), _name, _NAMES
        descriptions = (f"The name of the {noun}", f"Which {noun}", f"The {noun}", f"Name of the {noun}")
    return Kind(names, "string", descriptions, said_as_is(draw), phrases)


def _number(source: Source) -> Value:
    number = source.rng.randint(1, 500)
    return number, str(number)


def _name(rng: Random) -> str:
    return rng.choice((words.invented_name, words.invented_name, words.place, words.person))(rng)
