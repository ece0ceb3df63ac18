"""What tools return, errors now and then, and the answers made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from models.recipe import words
from models.recipe.parameters import Value
from models.recipe.source import Source

_ERRORS = ("Error: {} not found", "Error: {} timed out", "Error: {} is not available", "error: no access to {}")


def natural_outcome(
    source: Source, subject: str, results: Sequence[tuple[str, str]], texts: list[str]
) -> tuple[str, str]:
    """What a natural tool returns, an error now and then, and the answer made of it."""
    if source.chance(0.06):
        error = source.pick(_ERRORS).format(subject)
        return error, f"I am sorry, the tool failed: {re.sub('^[Ee]rror: ', '', error)}."
    result, answer = source.pick(results)
    draws = _draws(source)
    return result.format(*texts, **draws), answer.format(*texts, **draws)


def composed_outcome(source: Source, subject: str) -> tuple[str, str]:
    """What a composed tool returns: a word, a sentence or an object, and the answer made of it."""
    draws = _draws(source)
    if source.chance(0.06):
        error = source.pick(_ERRORS).format(subject)
        return error, f"I am sorry, the tool failed: {re.sub('^[Ee]rror: ', '', error)}."
    if source.chance(0.25):
        state = source.pick((draws["word"], draws["code"], draws["n"], draws["state"]))
        return state, f"The {subject} is {state}."
    if source.chance(0.25):
        sentence = f"{draws['word']} {source.pick(('has', 'found', 'made', 'needs'))} {draws['n']} {source.pick(words.COMMON_NOUNS)}"
        return sentence, f"For the {subject}: {sentence}."
    names = source.rng.sample(
        ("status", "price", "total", "owner", "name", "code", "count", "place", "date", "score"),
        source.rng.randint(1, 3),
    )
    values: dict[str, Value] = {name: _field(source, name) for name in names}
    said = [f"the {name} is {text}" for name, (_, text) in values.items()]
    body = ", ".join(f'"{name}": {value}' for name, (value, _) in values.items())
    answer = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    return "{" + body + "}", f"For the {subject}, {answer}."


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
    if name in ("price", "total", "count", "score"):
        number = str(source.rng.randint(1, 5000))
        return number, number
    text = {
        "status": lambda: source.pick(("open", "closed", "ready", "done", "active", "pending")),
        "owner": lambda: words.person(source.rng),
        "name": lambda: words.invented_name(source.rng),
        "code": lambda: words.code(source.rng),
        "place": lambda: words.place(source.rng),
        "date": lambda: words.iso_date(source.rng),
    }[name]()
    return f'"{text}"', text
