"""Pairs of a better and a worse answer to the same conversation, in the domain of `caravan-chat`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.recipe import conversation, facts, words
from models.recipe.dialog import Tool, Turn
from models.recipe.guard_phrases import options
from models.recipe.retrieval import UNANSWERABLE, retrieval_dialog
from models.recipe.reward_faults import another_value, badly_formed, rude
from models.recipe.reward_prompt import Message
from models.recipe.scenarios import tool_dialog
from models.recipe.source import Source

_TRIES = 30


@dataclass(frozen=True)
class Pair:
    """A conversation with two answers."""

    kind: str
    """What the worse answer does wrong, a row of the evaluation."""
    dialog: tuple[Message, ...]
    better: str
    worse: str


def pair(source: Source) -> Pair:
    """Draws a pair of any kind."""
    while True:
        drawn: Pair | None = source.weighted(_KINDS)(source)
        if drawn is not None and drawn.better != drawn.worse:
            return drawn


def plain_pair(source: Source) -> Pair:
    """Draws a pair whose worse answer shows at first sight: what the training begins with."""
    while True:
        drawn: Pair | None = source.pick((bad_form, off_topic, off_topic, wrong_fact))(source)
        if drawn is not None and drawn.better != drawn.worse:
            return drawn


def evaluation_pairs(seed: int, count: int) -> list[Pair]:
    """Draws pairs for evaluation, of the words, values and phrasings that training never draws where there is a choice."""
    source = Source(f"reward-evaluation-{seed}", held_out=True)
    return [pair(source) for _ in range(count)]


def wrong_fact(source: Source) -> Pair:
    """A capital, or another fact, told of something else."""
    if source.chance(0.5):
        country, city = source.pick(tuple(facts.CAPITALS.items()))
        asked = source.phrasing(_CAPITAL_QUESTIONS).format(country)
        form = source.phrasing(_CAPITAL_ANSWERS)
        wrong = source.pick([other for other in facts.CAPITALS.values() if other != city] + list(words.CITIES[-20:]))
        return Pair("fact", _asked(source, asked), form.format(country, city), form.format(country, wrong))
    topics = source.pick((facts.GENERAL, facts.GENERAL, facts.STACK))
    (names, right), (_, wrong) = source.rng.sample(topics, 2)
    asked = source.pick(names)
    if topics is facts.STACK:
        asked = source.phrasing(_STACK_QUESTIONS).format(asked)
    return Pair("fact", _asked(source, asked), right, wrong)


def wrong_number(source: Source) -> Pair:
    """Arithmetic, units and calendar with a wrong result."""
    draw = source.weighted(
        (
            (conversation.arithmetic, 5.0),
            (conversation.units, 3.0),
            (conversation.calendar, 1.5),
        )
    )
    asked, answer = draw(source)
    worse = another_value(source, answer, last=True)
    if draw is conversation.arithmetic and source.chance(0.5):
        answer, worse = (text.split("= ")[-1] for text in (answer, worse))
    return Pair("arithmetic, units, dates", _asked(source, asked), answer, worse)


def off_topic(source: Source) -> Pair | None:
    """An answer to another question, sometimes to the one before."""
    asked, answer = conversation.single_exchange(source)
    other_asked, other = conversation.single_exchange(source)
    if other_asked == asked or _same_family(answer, other):
        return None
    before: tuple[Message, ...] = ()
    if source.chance(0.4):
        before = (Message("user", other_asked), Message("assistant", other))
    return Pair("answers the question", (*before, *_asked(source, asked)), answer, other)


def invented(source: Source) -> Pair | None:
    """A question over retrieved text, answered with another value, with another sentence, or not at all."""
    turns = retrieval_dialog(source).turns
    places = [index for index, turn in enumerate(turns) if turn.role == "assistant"]
    index = places[0] if source.chance(0.7) else source.pick(places)
    answer = turns[index].text
    before = tuple(_message(turn) for turn in turns[:index])
    if answer == UNANSWERABLE:
        said = [turn.text for turn in turns if turn.role == "assistant" and turn.text != UNANSWERABLE]
        worse = source.pick(said) if said and source.chance(0.5) else retrieval_answer(source)
    else:
        kind = source.weighted((("value", 3.0), ("unknown", 1.0), ("other", 1.0)))
        worse = another_value(source, answer) if kind == "value" else UNANSWERABLE
        if kind == "other":
            worse = retrieval_answer(source)
    return Pair("keeps to the context", before, answer, worse)


def retrieval_answer(source: Source) -> str:
    """A sentence about something else, in the style of answers over retrieved text."""
    said = [turn.text for turn in retrieval_dialog(source).turns if turn.role == "assistant"]
    return source.pick([text for text in said if text != UNANSWERABLE] or ["It was founded in 1900."])


def wrong_result(source: Source) -> Pair | None:
    """An answer that tells something else than the tool returned."""
    dialog = tool_dialog(source, "json", rounds=1, most_tools=2)
    if len(dialog.turns) < 3 or dialog.turns[-2].role != "tool":
        return None
    answer = dialog.turns[-1].text
    before = (_offer(dialog.tools), *(_message(turn) for turn in dialog.turns[:-1]))
    worse = another_value(source, answer)
    if source.chance(0.2) or worse == answer:
        other = tool_dialog(source, "json", rounds=1, most_tools=1)
        worse = other.turns[-1].text
    return Pair("uses the tool's result", before, answer, worse)


def wrong_call(source: Source) -> Pair | None:
    """A tool call with another tool, another value, a missing or a made-up argument."""
    dialog = tool_dialog(source, "json", rounds=1, most_tools=4)
    index = next((place for place, turn in enumerate(dialog.turns) if turn.calls), None)
    if index is None:
        return None
    call = dialog.turns[index].calls[0]
    arguments = dict(call.arguments)
    name = call.name
    others = [tool.name for tool in dialog.tools if tool.name != name]
    kind = source.weighted(
        (
            ("tool", 2.0 if others else 0.0),
            ("value", 4.0 if arguments else 0.0),
            ("missing", 1.0 if arguments else 0.0),
            ("text", 1.0),
        )
    )
    better = _call_text(call.name, arguments)
    if kind == "tool":
        name = source.pick(others)
    elif kind == "value":
        key = source.pick(list(arguments))
        arguments[key] = json.loads(another_value(source, json.dumps(arguments[key])))
    elif kind == "missing":
        del arguments[source.pick(list(arguments))]
    worse = conversation.single_exchange(source)[1] if kind == "text" else _call_text(name, arguments)
    before = (_offer(dialog.tools), *(_message(turn) for turn in dialog.turns[:index]))
    return Pair("tool call", before, better, worse)


def bad_form(source: Source) -> Pair:
    """Cut off, empty, repeated, scrambled or rude."""
    draw: Callable[[Source], conversation.Exchange] = source.pick(
        (conversation.stack, conversation.identity, conversation.single_exchange, conversation.general_fact)
    )
    asked, answer = draw(source)
    worse = rude(source, answer) if source.chance(0.4) else badly_formed(source, answer)
    return Pair("polite and complete", _asked(source, asked), answer, worse)


_KINDS: tuple[tuple[Callable[[Source], Pair | None], float], ...] = (
    (wrong_fact, 1.5), (wrong_number, 2.2), (off_topic, 1.5), (invented, 2.0), (wrong_result, 1.5), (wrong_call, 1.5), (bad_form, 1.0),
)  # fmt: skip
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


def _asked(source: Source, question: str) -> tuple[Message, ...]:
    """The question, now and then after a system message or an earlier exchange."""
    before: tuple[Message, ...] = ()
    if source.chance(0.15):
        before += (Message("system", "You are a helpful assistant."),)
    if source.chance(0.15):
        said, answer = conversation.single_exchange(source)
        before += (Message("user", said), Message("assistant", answer))
    return (*before, Message("user", question))


def _same_family(first: str, second: str) -> bool:
    """Whether two answers may answer the same question."""
    families = (*(answers for _, answers in facts.SMALL_TALK + facts.IDENTITY), facts.JOKES)
    return first == second or any(first in family and second in family for family in families)


def _message(turn: Turn) -> Message:
    if turn.calls:
        return Message("assistant", "; ".join(_call_text(call.name, dict(call.arguments)) for call in turn.calls))
    text = f"{turn.text}\n\n{turn.context}" if turn.context else turn.text
    role = "tool" if turn.role == "tool" else "system" if turn.role == "system" else turn.role
    return Message(role, text)  # type: ignore[arg-type]


def _call_text(name: str, arguments: Mapping[str, object]) -> str:
    return json.dumps({"type": "function", "name": name, "parameters": dict(arguments)}, ensure_ascii=False)


def _offer(tools: tuple[Tool, ...]) -> Message:
    """The tools on offer, short: names and parameters."""
    lines = (
        f"{tool.name}({', '.join(parameter.name for parameter in tool.parameters)}): {tool.description}"
        for tool in tools
    )
    return Message("tools", "\n".join(lines))
