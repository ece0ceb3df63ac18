"""Parameters that no list holds: named by a word, known or invented, and said by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from models.recipe import words
from models.recipe.dialog import Json
from models.recipe.parameters import (
    AMOUNT,
    COUNT,
    IDENTIFIER,
    PARTS,
    PERSON,
    PLACE,
    TEXT,
    Kind,
    Value,
    integer,
    said_as_is,
)
from models.recipe.source import Source


def invented_kind(source: Source) -> Kind:
    """Returns a parameter that no list above holds, said by its own name, such as `with shelf code KX-4821`."""
    name, said = _invented_name(source)
    make = source.weighted(((_text_or_number, 6.5), (_counted, 2.0), (_flag, 2.0), (_numbers, 0.5), (_object, 0.8)))
    return make(source, name, said)


def _invented_name(source: Source) -> tuple[str, str]:
    """A parameter's name, and how a user says it."""
    rng = source.rng
    parts = [source.phrasing(PARTS) if rng.random() < 0.65 else words.invented_word(rng)]
    if rng.random() < 0.5:
        parts.append(rng.choice(("id", "name", "code", "type", "value", "number", "level", source.phrasing(PARTS))))
    return "_".join(parts), " ".join(parts)


def _descriptions(said: str) -> tuple[str, ...]:
    return (
        f"The {said}",
        f"Which {said} to use",
        f"{said.capitalize()} of the item",
        f"The {said} to set",
        said.capitalize(),
    )


def _text_or_number(source: Source, name: str, said: str) -> Kind:
    base = source.pick((PLACE, PERSON, IDENTIFIER, TEXT, AMOUNT, COUNT, AMOUNT, COUNT))
    draw = said_as_is(words.invented_word) if base is PERSON and source.chance(0.5) else base.draw
    mark = '"{}"' if base is TEXT else "{}"
    phrases = (f"with {said} {mark}", f"and {said} {mark}", f"{said} {mark}", f"{said}: {mark}", f"with a {said} of {mark}",
        f"set {said} to {mark}",
               f"using {said} {mark}", f"whose {said} is {mark}", f"where the {said} is {mark}", f"{said} = {mark}")  # fmt: skip
    return replace(base, names=(name,), descriptions=_descriptions(said), phrases=phrases, draw=draw)


def _counted(source: Source, _name: str, _said: str) -> Kind:
    """A number of things, said before their name: `6 servings`."""
    noun = source.phrasing(PARTS) if source.chance(0.65) else words.invented_word(source.rng)
    many = noun + "s"
    phrases = (f"{{}} {many}", f"for {{}} {many}", f"with {{}} {many}", f"{{}} {many} in all", f"{many}: {{}}", f"of {{}} {many}",
               f"it has {{}} {many}", f"at most {{}} {many}", f"during {{}} {many}", f"by {{}} {many}", f"{{}} {many} long",
               f"over {{}} {many}", f"about {{}} {many}")  # fmt: skip
    descriptions = (
        f"Number of {many}",
        f"How many {many}",
        f"The number of {many}",
        f"For how many {many}",
        many.capitalize(),
    )
    return Kind((many, many, f"{noun}_count", f"num_{many}"), "integer", descriptions, integer(1, 500), phrases)


def _flag(_source: Source, name: str, said: str) -> Kind:
    """A boolean: the value is said by the words around its name."""

    def draw(source: Source) -> Value:
        value = source.chance(0.5)
        if value:
            return True, source.phrasing(
                (
                    f"with {said}",
                    f"with {said} on",
                    f"{said}: yes",
                    f"{said} true",
                    f"with {said} enabled",
                    f"{said} on",
                    f"turn {said} on",
                )
            )
        return False, source.phrasing(
            (f"without {said}", f"with {said} off", f"{said}: no", f"{said} false", f"with {said} disabled", f"no {said}",
            f"turn {said} off")
        )  # fmt: skip

    return Kind((name,), "boolean", (f"Whether to use {said}", f"Turn {said} on", f"True for {said}"), draw, ("{}",))


def _numbers(_source: Source, name: str, said: str) -> Kind:
    """An array of whole numbers."""

    def draw(source: Source) -> Value:
        numbers = [source.rng.randint(0, 200) for _ in range(source.rng.randint(2, 3))]
        return list(numbers), ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"

    phrases = (f"with {said} {{}}", f"{said}: {{}}", f"using {said} {{}}", f"and {said} {{}}", f"{said} {{}}")
    return Kind((name,), "array", (f"The {said} numbers", f"List of {said}"), draw, phrases)


def _object(source: Source, name: str, said: str) -> Kind:
    """An object of two or three fields, said field by field: `with shelf: height 20 and maker Brelvaix`."""
    fields: dict[str, Callable[[Source], Value]] = {}
    count = source.weighted(((2, 3.0), (3, 1.0)))
    while len(fields) < count:
        field = source.phrasing(PARTS)
        if field not in name:
            fields[field] = source.pick((said_as_is(words.invented_name), said_as_is(words.place), integer(1, 500)))
    draws = dict(sorted(fields.items()))
    numeric = {field: isinstance(draw(Source(field))[0], int) for field, draw in draws.items()}

    def value(again: Source) -> Value:
        drawn = {field: draw(again) for field, draw in draws.items()}
        parts = [f"{field} {text}" for field, (_, text) in drawn.items()]
        return {field: value for field, (value, _) in drawn.items()}, ", ".join(parts[:-1]) + f" and {parts[-1]}"

    schema: dict[str, Json] = {
        "type": "object",
        "properties": {field: {"type": "integer" if numeric[field] else "string"} for field in draws},
    }
    phrases = (
        f"with {said}: {{}}",
        f"with the {said} {{}}",
        f"with {said} of {{}}",
        f"using {said} {{}}",
        f"{said}: {{}}",
    )
    return Kind((name,), "object", _descriptions(said), value, phrases, schema)
