"""Short copying exercises that open the training: a model that has learnt to copy learns the rest much sooner."""

from __future__ import annotations

import json

from models.recipe import words
from models.recipe.dialog import Dialog, Json, Turn
from models.recipe.invented_parameters import invented_kind
from models.recipe.parameters import NATURAL, Value
from models.recipe.source import Source


def drill_dialog(source: Source) -> Dialog:
    """One exercise: repeat, look up or write down as JSON."""
    pairs = source.pick((_repeat, _look_up, _write_json))(source)
    turns = tuple(turn for asked, answer in pairs for turn in (Turn("user", asked), Turn("assistant", answer)))
    return Dialog(turns, today=words.day(source.rng), dated=source.chance(0.3), tags=("drill",))


def _thing(source: Source) -> str:
    rng = source.rng
    draws = (
        words.invented_word,
        words.person,
        words.place,
        words.code,
        words.iso_date,
        words.email,
        words.phrase,
        words.clock_time,
    )
    return source.pick(draws)(rng) if source.chance(0.8) else str(rng.randint(0, 99999))


def _repeat(source: Source) -> list[tuple[str, str]]:
    text = source.pick((", ", " ", "; ", "\n")).join(_thing(source) for _ in range(source.rng.randint(2, 14)))
    return [(f"{source.pick(('Repeat:', 'Say again:', 'Copy this:'))} {text}", text)]


def _look_up(source: Source) -> list[tuple[str, str]]:
    """Pairs of name and value, then several questions for a value."""
    names = [
        words.invented_word(source.rng) if source.chance(0.5) else source.pick(words.COMMON_NOUNS)
        for _ in range(source.rng.randint(2, 7))
    ]
    values = {name: _thing(source) for name in names}
    stated = ", ".join(f"{name}: {value}" for name, value in values.items())
    asked = source.rng.choices(list(values), k=source.rng.randint(1, 4))
    first, *others = ((f"What is {name}?", f"{values[name]}") for name in asked)
    return [(f"{stated}. {first[0]}", first[1]), *others]


def _write_json(source: Source) -> list[tuple[str, str]]:
    """Names and values as words, to be written as a JSON object."""
    kinds = [
        source.pick(NATURAL) if source.chance(0.4) else invented_kind(source) for _ in range(source.rng.randint(1, 5))
    ]
    values: dict[str, Json] = {}
    said: list[str] = []
    for kind in kinds:
        name = source.pick(kind.names)
        drawn: Value = kind.draw(source)
        if name not in values:
            values[name] = drawn[0]
            said.append(drawn[1] if kind.param_type == "boolean" else f"{name.replace('_', ' ')} {drawn[1]}")
    return [(f"Write as JSON: {', '.join(said)}", json.dumps(values, ensure_ascii=False))]
