"""How people word a request for a composed tool: with its verb or without, politely or not, values anywhere, with talk around it."""

from __future__ import annotations

import re

from models.recipe import words
from models.recipe.source import Source

WITH_VERB = (
    "{v} the {n}", "{v} a {n}", "I need you to {v} the {n}", "Could you {v} a {n}", "Can you {v} the {n}", "{v} {n}", "I want to {v} a {n}",
    "Would you {v} the {n}", "Help me to {v} a {n}", "It is time to {v} the {n}", "Time to {v} a {n}", "Go and {v} the {n}",
    "I must {v} the {n}", "My boss wants to {v} a {n}", "We should {v} the {n}", "Use a tool to {v} the {n}", "Please {v} the {n}",
    "I would like to {v} the {n}", "I have to {v} a {n}", "Somebody should {v} the {n}", "They told me to {v} the {n}", "Let us {v} a {n}",
    "I forgot to {v} the {n}", "Kindly {v} the {n}", "We need to {v} a {n}", "Are you able to {v} the {n}", "Is it possible to {v} a {n}",
    "You should {v} the {n}", "Let me {v} a {n}", "How do I {v} the {n}", "I am trying to {v} my {n}", "{v} our {n}", "{v} that {n} for me",
    "Do me a favor and {v} the {n}", "Why not {v} the {n}", "Next you {v} the {n}", "I wonder if you could {v} the {n}",
    "Someone has to {v} this {n}", "I asked you to {v} the {n}", "Be so kind and {v} the {n}", "Mind if I {v} the {n}",
    "The plan is to {v} a {n}", "What about a {n}? {v} it", "There is a {n}, {v} it", "Here is a {n} to {v}", "{v} one more {n}",
    "It would help to {v} the {n}", "My team will {v} the {n}", "You may {v} the {n} now", "Make sure to {v} the {n}",
    "Do not forget to {v} the {n}", "I was told to {v} the {n}", "Ready to {v} the {n}", "Off you go, {v} the {n}", "May I {v} a {n}",
    "For the {n}: {v} it", "See to it that we {v} the {n}", "Have someone {v} the {n}", "I came to {v} the {n}",
    "Now is the moment to {v} a {n}",
    "Try to {v} the {n}", "I will {v} the {n}", "Should we {v} the {n}", "All I want is to {v} the {n}", "Somehow I must {v} the {n}",
)  # fmt: skip
"""Ways to ask with the tool's own verb."""
WITHOUT_VERB = (
    "I need the {n}", "I need a {n}", "The {n}", "A {n}", "What about the {n}", "I want the {n}", "My {n}", "It is about the {n}",
    "Let us have a {n}", "There should be a {n}", "I am waiting for the {n}", "Any news of the {n}", "Where is the {n}", "Is there a {n}",
    "Take care of the {n}", "Deal with the {n}", "I would like the {n}", "Do the {n}", "Handle the {n}", "We lack a {n}", "The {n}, please",
    "How about a {n}", "Could I have the {n}", "I am thinking of a {n}", "The {n} has to be seen to", "Somebody asked for the {n}",
    "My friend wants a {n}", "Something for the {n}", "The {n} is what I want", "About the {n}", "Next the {n}", "Are there any {n}s",
    "Which {n} is it", "Tell me of the {n}", "The {n} needs you", "Work on the {n}", "Concerning the {n}", "Does the {n} work",
    "I care for the {n}", "Be quick with the {n}", "This is for the {n}", "We talked about a {n}", "I have a {n} for you", "Our {n} again",
    "The {n} must not wait", "Go on with the {n}", "You know the {n}", "I dream of a {n}", "Nothing but the {n}", "They want the {n}",
)  # fmt: skip
"""Ways to ask that leave the verb to the reader; only the noun tells which tool is meant."""
POLITE = (
    "{}.", "{}.", "{}.", "{}?", "{}", "Please: {}.", "Hi! {}.", "{}, please.", "{}, thanks.", "Hello, {}.", "Now {}.", "Hey, {}.",
    "{}, will you?", "Next: {}.", "Ok, {}.", "{} right now.", "{}, if you can.", "So {}.", "One more thing: {}.", "Good morning! {}.",
    "Quickly: {}.", "{}!", "Dear assistant, {}.", "I have a task for you: {}.", "Well, {}.", "Right, {}.", "Excuse me, {}.",
    "Quick one: {}.", "Hello there! {}.", "Say, {}.", "{} for me.", "{}, would you?", "{} today.", "{} as soon as you can.", "Task: {}.",
    "Request: {}.", "{} now, please.", "{} when you have a moment.", "To do: {}.", "Good afternoon. {}.", "{}. Thank you.", "{}. Thanks!",
    "Could be urgent: {}.", "{}, it is important.", "Listen, {}.", "{} and tell me.", "First of all, {}.", "{}. That is all.",
    "{} - thanks.",
    "Sorry to ask, {}.", "{}, my dear.", "Here we go: {}.", "{}, and be quick.", "Assistant, {}.", "{}. Can you?", "By the way, {}.",
    "My wish: {}.", "{}. Go ahead.", "As I said, {}.", "{}, I beg you.", "Caravan, {}.", "{} at last.", "Good evening, {}.", "{} again.",
)  # fmt: skip
_CHATTER = (
    "I am in a hurry.", "It has been a long day.", "My sister wants it.", "We are all waiting.", "I lost my {0}.", "My boss asked for it.",
    "I hope that is fine.", "There is no time.", "You helped me before.", "We have guests.", "I am at work.", "Everything is ready.",
    "I could not sleep.", "I know it is late.", "My {0} is {1}.", "I bought a {1} {0}.", "Sorry for the trouble.", "It cannot wait.",
    "The {0} was {1} again.", "I nearly forgot it.", "That would help a lot.", "My friends are here.", "I have little time.",
    "I like my {0} {1}.",
)  # fmt: skip
_JOINTS = (" ", " ", " ", ", ", " and ")
_PLAIN = ("{}.", "{}.", "{}?", "{}")


def request(source: Source, openings: tuple[str, ...], verb: str, noun: str, pieces: list[str]) -> str:
    """Words a request.

    Args:
        source: Where it is drawn from.
        openings: Ways to ask with other verbs that mean the same.
        verb: The tool's own verb.
        noun: What the tool is about, perhaps with a value of its own: `locker T-417`.
        pieces: The other values with the words around them, in any order.
    """
    opening = _opening(source, openings, verb, noun)
    before = [pieces.pop()] if pieces and source.chance(0.07) else []
    joint = source.pick(_JOINTS)
    if pieces and source.chance(0.07):
        said = f"{opening}. {_capital(joint.join(pieces))}"
    else:
        said = opening + (joint if joint == ", " else " ") + joint.join(pieces) if pieces else opening
    if before:
        said = f"{before[0]}{source.pick((', ', ' ', ': '))}{_small(said)}"
    said = with_articles(said.replace(" : ", ": ").replace(", : ", ": ").removeprefix(": "))
    polite = source.pick(_PLAIN) if source.chance(0.5) else source.disturbed(source.phrasing(POLITE))
    said = _capital(polite.format(said if polite[0] == "{" or polite[1] in ":!" else _small(said)))
    return _with_chatter(source, said)


def with_articles(text: str) -> str:
    """Writes `an` before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def _opening(source: Source, openings: tuple[str, ...], verb: str, noun: str) -> str:
    if source.chance(0.04):
        noun = f"{source.phrasing(words.ADJECTIVES)} {noun}"
    way = source.weighted((("other", 6.0), ("verb", 3.0), ("none", 1.0)))
    if way == "other":
        return _capital(source.disturbed(source.phrasing(openings)).format(noun))
    return _capital(
        source.disturbed(source.phrasing(WITH_VERB if way == "verb" else WITHOUT_VERB)).format(v=verb, n=noun)
    )


def _with_chatter(source: Source, said: str) -> str:
    """Now and then puts a sentence that means nothing for the call before or behind the request."""
    if not source.chance(0.07):
        return said
    talk = source.phrasing(_CHATTER).format(source.phrasing(words.COMMON_NOUNS), source.phrasing(words.ADJECTIVES))
    if source.chance(0.5):
        return f"{talk} {said}"
    return f"{said if said[-1] in '.?!' else said + '.'} {talk}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _small(text: str) -> str:
    return text if text.startswith("I ") else text[0].lower() + text[1:]
