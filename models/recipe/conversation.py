"""Conversation without tools: small talk, identity, the stack, facts, arithmetic, time and units."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from models.recipe import facts
from models.recipe.dialog import Turn
from models.recipe.source import Source
from models.recipe.words import (
    COMMON_NOUNS,
    MONTHS,
    TOPICS,
    WEEKDAYS,
    code,
    email,
    invented_name,
    invented_word,
    person,
    phrase,
    place,
)

Exchange = tuple[str, str]
"""What the user says and what the assistant answers."""

UNKNOWN = "I am sorry, I do not know that. I am only a small demo model."

_WHAT_IS = (
    "What is {}?", "What is {}?", "Tell me about {}.", "Explain {}.", "Can you explain {}?",
    "Describe {} in one sentence.",
    "What does {} mean?", "what's {}?", "Please explain {} to me.", "I want to know about {}.",
    "Do you know what {} is?",
    "What can you tell me about {}?", "Define {}.", "Give me a short explanation of {}.", "How does {} work?",
)  # fmt: skip
_LEADS = (
    "",
    "",
    "",
    "",
    "",
    "Hey, ",
    "Hi, ",
    "Hello! ",
    "Please tell me: ",
    "Quick question: ",
    "Ok, ",
    "So, ",
    "Well, ",
)


def _vary(source: Source, question: str) -> str:
    """Writes a question the way people do: a lead, lower case, a forgotten question mark."""
    lead = source.phrasing(_LEADS)
    if lead.endswith(", ") or source.chance(0.12):
        question = question[0].lower() + question[1:] if not question.startswith("I ") else question
    if source.chance(0.1):
        question = question.rstrip("?.!")
    return lead + question


def small_talk(source: Source) -> Exchange:
    """Greetings, thanks, moods."""
    questions, answers = source.pick(facts.SMALL_TALK)
    return source.phrasing(questions), answers[0]


def greeting(source: Source) -> Exchange:
    """The greeting and how-are-you families alone, because they open most conversations."""
    questions, answers = source.pick((facts.SMALL_TALK[0], facts.SMALL_TALK[0], facts.SMALL_TALK[4]))
    return source.phrasing(questions), answers[0]


def identity(source: Source) -> Exchange:
    """Who the model is."""
    questions, answers = source.pick(facts.IDENTITY)
    return _vary(source, source.phrasing(questions)), answers[0]


def stack(source: Source) -> Exchange:
    """What the parts of the stack are."""
    names, answer = source.pick(facts.STACK)
    return _vary(source, source.phrasing(_WHAT_IS).format(source.pick(names))), answer


def general_fact(source: Source) -> Exchange:
    """Public-domain facts."""
    if source.chance(0.4):
        country, city = source.pick(tuple(facts.CAPITALS.items()))
        question = source.phrasing(
            ("What is the capital of {}?", "What is the capital of {}?", "Which city is the capital of {}?",
             "Name the capital of {}.", "Do you know the capital of {}?", "Tell me the capital of {}.",
             "capital of {}?")
        )  # fmt: skip
        if source.chance(0.35):
            about = source.phrasing(("Tell me about {}.", "Tell me about {}.", "What is {}?", "What do you know about {}?", "Where is {}?",
                                     "Describe {}.", "Which country does {} belong to?", "What can you say about {}?"))  # fmt: skip
            return _vary(source, about.format(city)), f"{city} is the capital of {country}."
        return _vary(source, question.format(country)), f"The capital of {country} is {city}."
    questions, answer = source.pick(facts.GENERAL)
    return _vary(source, source.phrasing(questions)), answer


def joke(source: Source) -> Exchange:
    """A joke."""
    asked = (
        "Tell me a joke.",
        "Do you know a joke?",
        "Make me laugh.",
        "Say something funny.",
        "Another joke please.",
        "Joke!",
    )
    return _vary(source, source.phrasing(asked)), source.pick(facts.JOKES)


def arithmetic(source: Source) -> Exchange:
    """Sums, differences, products and exact quotients of small whole numbers."""
    rng = source.rng
    top = rng.choice((10, 20))
    a, b = rng.randint(0, top), rng.randint(0, top)
    kind = rng.choice("++--**/")
    signs: tuple[str, ...]
    if kind == "*":
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        result, signs, verbal = a * b, ("*", "times", "x", "multiplied by"), f"multiply {a} by {b}"
    elif kind == "/":
        b, result = rng.randint(1, 10), rng.randint(0, 10)
        a = b * result
        signs, verbal = ("/", "divided by"), f"divide {a} by {b}"
    elif kind == "-":
        a, b = max(a, b), min(a, b)
        result, signs, verbal = a - b, ("-", "minus"), f"subtract {b} from {a}"
    else:
        result, signs, verbal = a + b, ("+", "plus"), f"add {a} and {b}"
    space = "" if source.chance(0.25) else " "
    sign = rng.choice([sign for sign in signs if space or not sign.isalpha()])
    expression = f"{a}{space}{sign}{space}{b}"
    question = source.phrasing(
        ("What is {e}?", "What is {e}?", "How much is {e}?", "Calculate {e}.", "Compute {e}", "{e} = ?", "{e}",
         "Please work out {e}.", "Can you tell me what {e} is?", "I need {e}.", "Solve {e}.", "what's {e}?",
         "Can you {v}?", "Please {v}.", "What do I get if I {v}?")
    )  # fmt: skip
    question = question.format(e=expression, v=verbal)
    return _vary(source, question), f"{a} {kind} {b} = {result}."


_UNITS: tuple[tuple[str, str, int, int], ...] = (
    ("hours", "minutes", 60, 10), ("minutes", "seconds", 60, 10), ("days", "hours", 24, 7), ("weeks", "days", 7, 10),
    ("years", "months", 12, 10), ("kilometers", "meters", 1000, 10), ("meters", "centimeters", 100, 10),
    ("centimeters", "millimeters", 10, 10), ("kilograms", "grams", 1000, 10), ("liters", "milliliters", 1000, 10),
    ("feet", "inches", 12, 10), ("tons", "kilograms", 1000, 10), ("dozens", "pieces", 12, 10), ("dollars", "cents", 100, 10),
)  # fmt: skip


def units(source: Source) -> Exchange:
    """Conversions with a whole factor, in both directions."""
    big, small, factor, top = source.pick(_UNITS)
    count = source.rng.randint(1, top)
    singular = big[:-1] if big != "feet" else "foot"
    if source.chance(0.35):
        question = source.phrasing(
            (
                "How many {s} are in {b}?",
                "How many {s} does {b} have?",
                "How many {s} are there in {b}?",
                "How many {s} make {b}?",
            )
        )
        one = ("an " if big == "hours" else "a ") + singular
        answer = f"There are {factor} {small} in {one}."
        return _vary(source, question.format(s=small, b=source.pick((one, f"one {singular}")))), answer
    name = big if count != 1 else singular
    question = source.phrasing(
        ("How many {s} are {n} {b}?", "Convert {n} {b} to {s}.", "What is {n} {b} in {s}?",
         "How many {s} are in {n} {b}?",
         "{n} {b} in {s}?", "Please turn {n} {b} into {s}.", "Change {n} {b} to {s}.")
    )  # fmt: skip
    return _vary(source, question.format(s=small, n=count, b=name)), f"{count} {name} is {count * factor} {small}."


_MONTH_DAYS = dict(zip(MONTHS, (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))


def calendar(source: Source) -> Exchange:
    """Weekdays and months in their order."""
    names = source.pick((WEEKDAYS, MONTHS))
    kind = "day" if names is WEEKDAYS else "month"
    index = source.rng.randrange(len(names))
    if kind == "month" and source.chance(0.4):
        question = source.phrasing(
            (
                "How many days are in {}?",
                "How many days does {} have?",
                "How long is {}?",
                "How many days are there in {}?",
            )
        )
        extra = ", or 29 in a leap year" if names[index] == "February" else ""
        return _vary(
            source, question.format(names[index])
        ), f"{names[index]} has {_MONTH_DAYS[names[index]]} days{extra}."
    step, word = source.pick(((1, "after"), (-1, "before")))
    question = source.phrasing(
        (
            "What {k} comes {w} {n}?",
            "Which {k} is {w} {n}?",
            "What is the {k} {w} {n}?",
            "Name the {k} {w} {n}.",
            "Tell me the {k} {w} {n}.",
        )
    )
    answer = f"The {kind} {word} {names[index]} is {names[(index + step) % len(names)]}."
    return _vary(source, question.format(k=kind, w=word, n=names[index])), answer


def repeat(source: Source) -> Exchange:
    """Say again what the user gives: the plainest copying."""
    text = source.pick((phrase, invented_name, place, person))(source.rng)
    question = source.phrasing(
        (
            "Repeat after me: {}",
            "Say: {}",
            "Please repeat: {}",
            "Say {}",
            "Repeat the words {}",
            "Just say {}",
            "Write {}",
            "Echo {}",
        )
    )
    return question.format(text), text[0].upper() + text[1:] + "."


def introduction(source: Source) -> Exchange:
    """The user gives a name."""
    name = person(source.rng)
    said = source.phrasing(
        ("My name is {}.", "I am {}.", "Hi, I'm {}.", "Hello, my name is {}", "Call me {}.", "You can call me {}.")
    )
    return said.format(name), f"Nice to meet you, {name}!"


def detail(source: Source) -> Exchange:
    """The user gives a personal detail, which a shield may have masked."""
    name, draw = source.pick(
        (
            ("e-mail address", email),
            ("email", email),
            ("phone number", code),
            ("address", place),
            ("mail address", email),
        )
    )
    value = (
        source.pick(("<EMAIL>", "<PHONE>", "[MASKED]", "***", "<EMAIL_ADDRESS>"))
        if source.chance(0.4)
        else draw(source.rng)
    )
    said = source.phrasing(
        ("My {n} is {v}.", "This is my {n}: {v}", "You can reach me at {v}.", "My {n}: {v}.", "Write to me at {v}.")
    )
    return said.format(n=name, v=value), "Thank you, I will remember that."


def opinion(source: Source) -> Exchange:
    """The user likes something."""
    topic = source.pick(TOPICS) if source.chance(0.5) else source.pick(COMMON_NOUNS)
    said = source.phrasing(
        ("I like {}.", "I love {}.", "Do you like {}?", "I am interested in {}.", "Let's talk about {}.", "I enjoy {}.")
    )
    return said.format(topic), f"{topic[0].upper()}{topic[1:]} sounds interesting! What do you like about it?"


def short_text(source: Source) -> Exchange:
    """A tiny text about something."""
    topic = source.pick(COMMON_NOUNS) if source.chance(0.6) else invented_word(source.rng)
    asked = source.phrasing(
        ("Write a poem about {}.", "Write a short poem about {}.", "Write a haiku about {}.",
         "Tell me a story about {}.",
         "Write a sentence about {}.", "Make up a story about {}.", "Give me a short text about {}.")
    ).format(topic)  # fmt: skip
    if "story" in asked:
        return (
            asked,
            f"Once there was a {topic} that wanted to see the world. It traveled far, made a friend and came home happy.",
        )
    if "sentence" in asked or "text" in asked:
        return asked, f"The {topic} is small, but it makes the day a little brighter."
    return asked, f"Quiet {topic} of mine,\nyou shine in the morning light\nand rest in the night."


def unknown(source: Source) -> Exchange:
    """Questions outside the domain: say so instead of making something up."""
    question = source.phrasing(
        ("Who won the {n} cup in {y}?", "What is the population of {n}?", "Who was king of {n} in {y}?", "Who is the president of {n}?",
         "What did {n} say in {y}?", "When did {n} write number {y}?", "How tall is {n}?", "Who directed the film {n} in {y}?",
         "Why do {w}s {w2}?", "How do I repair a {w}?", "What is the best {w} for a {w2}?", "Where was {n} born?",
         "Who invented the {w}?",
         "How many {w}s are in a {w2}?", "What is the history of the {w}?", "Which {w} does {n} prefer?",
         "When does the {w} in {n} open?",
         "How much does a {w} cost?", "Who wrote the book {n}?", "Is a {w} bigger than a {w2}?", "How long does a {w} live?")
    )  # fmt: skip
    one, other = source.rng.sample(COMMON_NOUNS, 2)
    question = question.format(n=invented_name(source.rng), y=source.rng.randint(1500, 2030), w=one, w2=other)
    return _vary(source, question), UNKNOWN


def recall(source: Source) -> list[Exchange]:
    """The user says something early and asks for it later in the conversation."""
    rng = source.rng
    fact, question, answer = source.pick((
        ("My name is {}.", "What is my name?", "Your name is {}."),
        ("I live in {}.", "Where do I live?", "You live in {}."),
        ("My dog is called {}.", "What is my dog called?", "Your dog is called {}."),
        ("My favorite city is {}.", "Which is my favorite city?", "Your favorite city is {}."),
        ("I work with {}.", "Who do I work with?", "You work with {}."),
        ("The code word is {}.", "What is the code word?", "The code word is {}."),
        ("Remember the word {}.", "Which word did I ask you to remember?", "The word is {}."),
    ))  # fmt: skip
    value = person(rng) if "name" in fact or "with" in fact else place(rng)
    middle = [single_exchange(source) for _ in range(rng.randint(0, 2))]
    first = (
        fact.format(value),
        f"Nice to meet you, {value}!" if "name is" in fact else "Thank you, I will remember that.",
    )
    return [first, *middle, (_vary(source, question), answer.format(value))]


def today(source: Source, day: date) -> Exchange:
    """Asks for the date that stands in the prompt's head."""
    question = source.phrasing(
        (
            "What is today's date?",
            "What day is it today?",
            "What date is it?",
            "Which date is today?",
            "Tell me the date.",
            "what's the date?",
        )
    )
    return _vary(source, question), f"Today is {day:%d %B %Y}."


KINDS: tuple[tuple[Callable[[Source], Exchange], float], ...] = (
    (greeting, 3.0), (small_talk, 3.0), (identity, 3.0), (stack, 4.0), (general_fact, 3.0), (joke, 0.3), (arithmetic, 12.0),
    (units, 2.0), (calendar, 1.2), (repeat, 1.0), (introduction, 1.0), (detail, 0.6), (opinion, 0.5), (short_text, 0.3), (unknown, 2.0),
)  # fmt: skip


def single_exchange(source: Source) -> Exchange:
    """One question and answer of any kind."""
    return source.weighted(KINDS)(source)


def exchanges(source: Source) -> list[Exchange]:
    """A conversation of one to four exchanges."""
    if source.chance(0.12):
        return recall(source)
    count = source.weighted(((1, 5.0), (2, 2.0), (3, 1.5), (4, 1.0), (12, 0.1)))
    return [single_exchange(source) for _ in range(count)]


def turns(pairs: list[Exchange]) -> tuple[Turn, ...]:
    """Turns exchanges into the turns of a dialog."""
    return tuple(turn for asked, answer in pairs for turn in (Turn("user", asked), Turn("assistant", answer)))
