"""Texts for shields that ask a model, from the recipes of the models: of phrasings that training never saw."""

from benchmarks.shields.cases import Case


def guard_cases(seed: int, count: int) -> list[Case]:
    """Conversations of which the guard model judges the last turn.

    Args:
        seed: Where chance comes from.
        count: How many.
    """
    from models.recipe.guard_dialogs import evaluation_texts

    return [
        Case(
            case.turns[-1][1],
            case.code or ("safe, sounds unsafe" if case.look_alike else "safe"),
            bad=bool(case.code),
            turns=case.turns,
        )
        for case in evaluation_texts(seed, count)
    ]


def prompt_guard_cases(seed: int, count: int) -> list[Case]:
    """Texts with and without injections and jailbreaks.

    Args:
        seed: Where chance comes from.
        count: How many.
    """
    from models.recipe.injection_texts import Label, evaluation_texts

    found = []
    for text in evaluation_texts(seed, count):
        kind = f"{text.label.lower()}, looks like an attack" if text.look_alike else text.label.lower()
        found.append(Case(text.text, kind, bad=text.label is not Label.BENIGN))
    return found
