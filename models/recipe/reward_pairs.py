"""Conversations with a better answer and worse ones, in the domain of `caravan-chat`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from models.recipe import conversation, facts, words
from models.recipe.dialog import Call, Dialog, Json, Turn
from models.recipe.guard_phrases import options
from models.recipe.retrieval import UNANSWERABLE, retrieval_dialog
from models.recipe.reward_faults import another_value, badly_formed, rude
from models.recipe.scenarios import NO_TOOL_FITS, tool_dialog
from models.recipe.source import Source

_TRIES = 30


@dataclass(frozen=True)
class Ranked:
    """A conversation with an answer and worse ones."""

    kind: str
    """What the worse answers do wrong, a row of the evaluation."""
    dialog: Dialog
    """The conversation before the answer."""
    better: Turn
    worse: tuple[Turn, ...]


Spoil = Callable[[], Turn | None]
"""Draws a worse answer; None where this time none came out."""


def ranked(source: Source, faults: int = 1) -> Ranked:
    """Draws a conversation of any kind, as often as it counts in the evaluation.

    Args:
        source: Draws it.
        faults: Number of worse answers, all different; fewer where the kind has no more.
    """
    return _ranked(source, [(kind, asked) for kind, asked, _ in _KINDS], faults)


def training_example(source: Source) -> Ranked:
    """Draws a conversation with up to three worse answers: two of its kind, and one that shows at first sight.

    What is short and has to be known by heart is drawn more often than the evaluation has it, or it would drown in long conversations.
    """
    drawn = _ranked(source, [(kind, trained) for kind, _, trained in _KINDS], faults=2)
    return _with_gross_fault(source, drawn)


def _ranked(source: Source, kinds: Sequence[tuple[Draw, float]], faults: int) -> Ranked:
    while True:
        drawn = source.weighted(kinds)(source)
        if drawn is None:
            continue
        worse: list[Turn] = []
        for _ in range(_TRIES):
            turn = drawn.spoil()
            if turn is not None and turn != drawn.better and turn not in worse:
                worse.append(turn)
            if len(worse) == faults:
                break
        if worse:
            return Ranked(drawn.kind, drawn.dialog, drawn.better, tuple(worse))


def _with_gross_fault(source: Source, drawn: Ranked) -> Ranked:
    """Adds a worse answer that is rude, broken, or an answer to something else."""
    text = drawn.better.text
    kind = source.weighted((("rude", 1.0), ("form", 1.5), ("other", 2.0)))
    if kind == "rude" and text:
        text = rude(source, text)
    elif kind == "form":
        text = badly_formed(source, text or "ok")
    else:
        text = _other_answer(source)
    worse = Turn("assistant", text)
    if worse == drawn.better or worse in drawn.worse or _same_family(drawn.better.text, text):
        return drawn
    return replace(drawn, worse=(*drawn.worse, worse))


def evaluation_pairs(seed: int, count: int) -> list[Ranked]:
    """Draws pairs for evaluation, of the words, values and phrasings that training never draws where there is a choice."""
    source = Source(f"reward-evaluation-{seed}", held_out=True)
    return [ranked(source) for _ in range(count)]


@dataclass(frozen=True)
class Drawn:
    """A conversation with an answer, and a way to spoil it."""

    kind: str
    dialog: Dialog
    better: Turn
    spoil: Spoil


Draw = Callable[[Source], Drawn | None]


def _wrong_fact(source: Source) -> Drawn:
    """A capital, or another fact, told of something else."""
    if source.chance(0.5):
        country, city = source.pick(tuple(facts.CAPITALS.items()))
        asked = source.phrasing(_CAPITAL_QUESTIONS).format(country)
        form = source.phrasing(_CAPITAL_ANSWERS)
        others = [other for other in facts.CAPITALS.values() if other != city] + list(words.CITIES[-20:])
        return _texts(
            "fact", _asked(source, asked), form.format(country, city), lambda: form.format(country, source.pick(others))
        )
    topics = source.pick((facts.GENERAL, facts.GENERAL, facts.STACK))
    names, right = source.pick(topics)
    asked = source.pick(names)
    if topics is facts.STACK:
        asked = source.phrasing(_STACK_QUESTIONS).format(asked)
    return _texts("fact", _asked(source, asked), right, lambda: source.pick(topics)[1])


def _wrong_number(source: Source) -> Drawn:
    """Arithmetic, units and calendar with a wrong result."""
    draw = source.weighted(((conversation.arithmetic, 5.0), (conversation.units, 3.0), (conversation.calendar, 1.5)))
    asked, answer = draw(source)
    short = draw is conversation.arithmetic and source.chance(0.5)

    def told(text: str) -> str:
        return text.rsplit("= ", maxsplit=1)[-1] if short else text

    return _texts(
        "arithmetic, units, dates",
        _asked(source, asked),
        told(answer),
        lambda: told(another_value(source, answer, last=True)),
    )


def _off_topic(source: Source) -> Drawn:
    """An answer to another question, sometimes to the one before; or none although the answer is known."""
    asked, answer = conversation.single_exchange(source)
    before = conversation.exchanges(source) if source.chance(0.4) else []
    turns = (*conversation.turns(before), Turn("user", asked))

    def other() -> str:
        if before and source.chance(0.4):
            return source.pick(before)[1]
        return conversation.UNKNOWN if source.chance(0.1) else conversation.single_exchange(source)[1]

    def spoil() -> Turn | None:
        text = other()
        return None if _same_family(answer, text) else Turn("assistant", text)

    return Drawn("answers the question", _undated(turns), Turn("assistant", answer), spoil)


def _forgotten(source: Source) -> Drawn:
    """What the user said before, told wrong."""
    pairs = conversation.recall(source)
    turns = (*conversation.turns(pairs[:-1]), Turn("user", pairs[-1][0]))
    answer = pairs[-1][1]
    return _texts("answers the question", turns, answer, lambda: another_value(source, answer, last=True))


def _invented(source: Source) -> Drawn:
    """A question over retrieved text, answered with another value, with another sentence, or not at all."""
    turns = retrieval_dialog(source).turns
    places = [index for index, turn in enumerate(turns) if turn.role == "assistant"]
    index = places[0] if source.chance(0.6) else source.pick(places)
    answer = turns[index].text
    said = [turn.text for turn in turns if turn.role == "assistant" and turn.text not in (UNANSWERABLE, answer)]

    def other() -> str:
        return source.pick(said) if said and source.chance(0.6) else _retrieval_answer(source)

    def spoiled() -> str:
        if answer == UNANSWERABLE:
            return other()
        kind = source.weighted((("value", 3.0), ("unknown", 1.0), ("other", 1.5)))
        return {"value": lambda: another_value(source, answer), "unknown": lambda: UNANSWERABLE, "other": other}[kind]()

    return _texts("keeps to the context", turns[:index], answer, spoiled)


def _retrieval_answer(source: Source) -> str:
    """A sentence about something else, in the style of answers over retrieved text."""
    said = [turn.text for turn in retrieval_dialog(source).turns if turn.role == "assistant"]
    return source.pick([text for text in said if text != UNANSWERABLE] or ["It was founded in 1900."])


def _wrong_result(source: Source) -> Drawn | None:
    """An answer that tells something else than the tool returned."""
    dialog = tool_dialog(source, "json", rounds=1, most_tools=2)
    if len(dialog.turns) < 3 or dialog.turns[-2].role != "tool":
        return None
    answer = dialog.turns[-1].text

    def spoiled() -> str:
        worse = another_value(source, answer)
        if source.chance(0.15) or worse == answer:
            worse = tool_dialog(source, "json", rounds=1, most_tools=1).turns[-1].text
        return worse

    offered = dialog.tools if source.chance(0.8) else ()
    return _texts("uses the tool's result", dialog.turns[:-1], answer, spoiled, replace(dialog, tools=offered))


def _wrong_call(source: Source) -> Drawn | None:
    """A tool call with another tool, another value, a missing or a made-up argument, or no call at all."""
    dialog = tool_dialog(source, "json", rounds=1, most_tools=3)
    index = next((place for place, turn in enumerate(dialog.turns) if turn.calls), None)
    if index is None:
        return None
    better = dialog.turns[index]
    others = [tool.name for tool in dialog.tools if all(tool.name != call.name for call in better.calls)]

    def spoil() -> Turn | None:
        place = source.rng.randrange(len(better.calls))
        changed = _other_call(source, better.calls[place], others)
        if changed is None:
            return Turn("assistant", NO_TOOL_FITS if source.chance(0.5) else conversation.single_exchange(source)[1])
        calls = (*better.calls[:place], changed, *better.calls[place + 1 :])
        return replace(better, calls=calls)

    return Drawn("tool call", replace(dialog, turns=dialog.turns[:index], dated=False), better, spoil)


def _other_call(source: Source, call: Call, others: list[str]) -> Call | None:
    """A call spoiled in one place; None: there should be no call at all."""
    arguments = dict(call.arguments)
    kind = source.weighted(
        (
            ("tool", 2.0 if others else 0.0),
            ("value", 4.0 if arguments else 0.0),
            ("missing", 1.0 if arguments else 0.0),
            ("none", 1.0),
        )
    )
    if kind == "none":
        return None
    if kind == "tool":
        return Call(source.pick(others), arguments)
    key = source.pick(list(arguments))
    if kind == "missing":
        del arguments[key]
    else:
        arguments[key] = _other_argument(source, arguments[key])
    return Call(call.name, arguments)


def _other_argument(source: Source, value: Json) -> Json:
    if isinstance(value, bool):
        return not value
    changed: Json = json.loads(another_value(source, json.dumps(value)))
    if changed == value:
        return words.phrase(source.rng)
    return changed


def _bad_form(source: Source) -> Drawn:
    """Cut off, empty, repeated, scrambled or rude."""
    draw: Callable[[Source], conversation.Exchange] = source.pick(
        (conversation.stack, conversation.identity, conversation.single_exchange, conversation.general_fact)
    )
    asked, answer = draw(source)
    return _texts(
        "polite and complete",
        _asked(source, asked),
        answer,
        lambda: rude(source, answer) if source.chance(0.4) else badly_formed(source, answer),
    )


_KINDS: tuple[tuple[Draw, float, float], ...] = (
    (_wrong_fact, 1.5, 3.0), (_wrong_number, 2.2, 9.0), (_off_topic, 1.3, 1.3), (_forgotten, 0.4, 0.4), (_invented, 2.0, 2.0),
    (_wrong_result, 1.5, 1.0), (_wrong_call, 1.5, 1.5), (_bad_form, 1.0, 1.0),
)  # fmt: skip
"""Kinds with their weights in evaluation and in training."""
_CAPITAL_QUESTIONS = options(
    "What is the capital of {}?|Which city is the capital of {}?|Name the capital of {}.|"
    "Do you know the capital of {}?|Tell me the capital of {}.|capital of {}?|What city is {}'s capital?|"
    "I forgot the capital of {}. Which is it?|What is {}'s capital city?|Which capital does {} have?"
)
_CAPITAL_ANSWERS = options(
    "The capital of {} is {}.|The capital of {0} is {1}.|{1} is the capital of {0}.|It is {1}.|{1}.|"
    "{0} has the capital {1}.|That is {1}.|The capital is {1}."
)
_STACK_QUESTIONS = options(
    "What is {}?|Tell me about {}.|Explain {}.|Can you explain {}?|What does {} mean?|Please explain {} to me.|"
    "What can you tell me about {}?|Define {}.|Give me a short explanation of {}.|Describe {}."
)


def _asked(source: Source, question: str) -> tuple[Turn, ...]:
    """The question, now and then after a system message or an earlier exchange."""
    before: tuple[Turn, ...] = ()
    if source.chance(0.15):
        before += (Turn("system", "You are a helpful assistant."),)
    if source.chance(0.15):
        before += conversation.turns([conversation.single_exchange(source)])
    return (*before, Turn("user", question))


def _texts(
    kind: str, turns: tuple[Turn, ...], better: str, spoiled: Callable[[], str], dialog: Dialog | None = None
) -> Drawn:
    """A conversation whose answers are plain texts."""
    before = replace(dialog, turns=turns, dated=False) if dialog else _undated(turns)
    return Drawn(kind, before, Turn("assistant", better), lambda: Turn("assistant", spoiled()))


def _undated(turns: tuple[Turn, ...]) -> Dialog:
    return Dialog(turns, dated=False)


def _other_answer(source: Source) -> str:
    return _retrieval_answer(source) if source.chance(0.3) else conversation.single_exchange(source)[1]


def _same_family(first: str, second: str) -> bool:
    """Whether two answers may answer the same question."""
    families = (*(answers for _, answers in facts.SMALL_TALK + facts.IDENTITY), facts.JOKES)
    return first == second or any(first in family and second in family for family in families)
