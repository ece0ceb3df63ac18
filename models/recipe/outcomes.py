"""What tools return, errors now and then, and the answers made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from models.recipe import words
from models.recipe.parameters import Value
from models.recipe.source import Source

_ERRORS = ("Error: {} not found", "Error: {} timed out", "Error: {} is not available", "error: no access to {}")
FIELDS = ("status", "price", "total", "owner", "name", "code", "count", "place", "date", "score", "time", "distance", "level", "title",
           "temperature", "weight", "manager", "city", "number", "rating")  # fmt: skip
_NUMERIC = ("price", "total", "count", "score", "distance", "level", "temperature", "weight", "number", "rating")


def natural_outcome(
    source: Source, subject: str, results: Sequence[tuple[str, str]], texts: list[str]
) -> tuple[str, str]:
    """What a natural tool returns, an error now and then, and the answer made of it."""
    if source.chance(0.06):
        return _error(source, subject)
    if source.chance(0.15):
        return _object(source)
    if source.chance(0.12):
        return _plain_words(source)
    result, answer = source.pick(results)
    draws = _draws(source)
    return result.format(*texts, **draws), answer.format(*texts, **draws)


def composed_outcome(source: Source, subject: str) -> tuple[str, str]:
    """What a composed tool returns: a word, a sentence or an object, and the answer made of it."""
    if source.chance(0.06):
        return _error(source, subject)
    kind = source.weighted((("word", 2.0), ("sentence", 1.0), ("plain", 1.5), ("done", 0.7), ("object", 5.0)))
    if kind == "object":
        return _object(source)
    if kind == "done":
        return source.pick(("ok", "done", "success", '{"status": "ok"}', '{"success": true}', "null")), "Done."
    if kind == "plain":
        return _plain_words(source)
    draws = _draws(source)
    if kind == "word":
        more = (
            words.email(source.rng),
            words.place(source.rng),
            words.person(source.rng),
            words.iso_date(source.rng),
            words.phrase(source.rng),
        )
        state = source.pick((draws["word"], draws["code"], draws["n"], draws["state"], draws["clock"], *more))
        return state, f"The {subject} is {state}."
    sentence = f"{draws['word']} {source.pick(('has', 'found', 'made', 'needs', 'is'))} {draws['n']} {source.pick(words.COMMON_NOUNS)}"
    return sentence, f"{sentence}."


def _plain_words(source: Source) -> tuple[str, str]:
    """Words that are an answer already, such as `Sunny, 21 degrees.`, which the model repeats as a sentence."""
    rng, draws = source.rng, _draws(source)
    noun, place, person = rng.choice(words.COMMON_NOUNS), words.place(rng), words.person(rng)
    count, mood, state, clock = draws["n"], draws["mood"], draws["state"], draws["clock"]
    text = source.pick(
        (
            f"{mood}, {count} degrees", f"{count} {noun} in {place}", words.phrase(rng), f"{mood} and {count} {noun}", f"{person}, {state}",
            f"{noun} {state} at {clock}", f"{draws['word']} is {state}", f"{clock}, {place}", f"{person} from {place}, {count} {noun}",
        )
    )  # fmt: skip
    sentence = f"{text[0].upper()}{text[1:]}."
    return (sentence if source.chance(0.5) else text), sentence


def _error(source: Source, subject: str) -> tuple[str, str]:
    error = source.pick(_ERRORS).format(subject)
    return error, f"I am sorry, the tool failed: {re.sub('^[Ee]rror: ', '', error)}."


def _object(source: Source) -> tuple[str, str]:
    """A JSON object of one to four fields, each of which the answer tells."""
    count = source.weighted(((1, 3.0), (2, 3.0), (3, 1.5), (4, 0.5)))
    names = source.rng.sample(FIELDS, count)
    if source.chance(0.25):
        names[0] = source.pick((words.invented_word(source.rng), *source.rng.sample(words.OBJECTS, 2)))
    values: dict[str, Value] = {name: _field(source, name.rsplit("_", 1)[-1]) for name in names}
    said = [f"the {name.replace('_', ' ')} is {text}" for name, (_, text) in values.items()]
    body = ", ".join(f'"{name}": {value}' for name, (value, _) in values.items())
    answer = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    return "{" + body + "}", f"{answer[0].upper()}{answer[1:]}."


def _draws(source: Source) -> dict[str, str]:
    rng = source.rng
    return {
        "n": str(rng.randint(1, 999)),
        "m": str(rng.randint(1000, 9_999_999)),
        "code": words.code(rng),
        "word": words.invented_name(rng),
        "word2": words.invented_word(rng),
        "clock": words.clock_time(rng),
        "mood": rng.choice(("sunny", "cloudy", "rainy", "windy", "clear", "foggy", "snowy")),
        "state": rng.choice(("shipped", "delivered", "delayed", "on its way", "being packed", "lost", "ready")),
    }


def _field(source: Source, name: str) -> Value:
    """A field of a result object: its JSON text and its spoken form."""
    rng = source.rng
    if name in _NUMERIC:
        number = str(rng.randint(1, 5000)) if source.chance(0.8) else str(round(rng.uniform(0, 100), 1))
        return number, number
    drawers = {
        "status": lambda: source.pick(("open", "closed", "ready", "done", "active", "pending")),
        "owner": lambda: words.person(rng),
        "manager": lambda: words.person(rng),
        "code": lambda: words.code(rng),
        "place": lambda: words.place(rng),
        "city": lambda: words.place(rng),
        "date": lambda: words.iso_date(rng),
        "time": lambda: words.clock_time(rng),
        "title": lambda: words.phrase(rng),
    }
    text = drawers.get(name, lambda: words.invented_name(rng))()
    return f'"{text}"', text
