"""Questions about retrieved text: facts about invented things, with an answer in the text or without.

An answer is the sentence of the text that holds it, so that the model has to find and to copy, not to know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from models.recipe import words
from models.recipe.dialog import Dialog, Turn
from models.recipe.source import Source

UNANSWERABLE = "I do not know: the text does not say."


@dataclass(frozen=True)
class Relation:
    """A kind of fact; `{s}` is what it is about, `{v}` its value."""

    statements: tuple[str, ...]
    questions: tuple[str, ...]
    draw: Callable[[Random], str]


@dataclass(frozen=True)
class Fact:
    """A statement with the questions that it answers."""

    relation: Relation
    subject: str
    value: str
    sentence: str


def _number(rng: Random) -> str:
    return str(rng.randint(2, 9999))


def _year(rng: Random) -> str:
    return str(rng.randint(1500, 2030))


RELATIONS: tuple[Relation, ...] = (
    Relation(("The capital of {s} is {v}.", "{v} is the capital of {s}."),
             ("What is the capital of {s}?", "Which city is the capital of {s}?", "Tell me the capital of {s}."), words.place),
    Relation(("{s} was founded in {v}.", "In {v}, {s} was founded."),
             ("When was {s} founded?", "In which year was {s} founded?", "How old is {s}?", "What year was {s} founded in?"), _year),
    Relation(("{s} was founded by {v}.", "{v} founded {s}."),
             ("Who founded {s}?", "Who is the founder of {s}?", "Who started {s}?"), words.person),
    Relation(("{s} has {v} employees.", "{v} people work at {s}."),
             ("How many employees does {s} have?", "How many people work at {s}?", "How many workers does {s} have?"), _number),
    Relation(("{s} is located in {v}.", "You find {s} in {v}."),
             ("Where is {s}?", "Where is {s} located?", "In which place is {s}?", "Where can I find {s}?"), words.place),
    Relation(("The manager of {s} is {v}.", "{v} manages {s}."),
             ("Who manages {s}?", "Who is the manager of {s}?", "Who leads {s}?"), words.person),
    Relation(("{s} opens at {v}.", "The opening time of {s} is {v}."),
             ("When does {s} open?", "What are the opening times of {s}?", "At what time does {s} open?"), words.clock_time),
    Relation(("A ticket for {s} costs {v} dollars.", "The price of {s} is {v} dollars.", "{s} costs {v} dollars."),
             ("How much does {s} cost?", "What is the price of {s}?", "How expensive is {s}?"), _number),
    Relation(("The color of {s} is {v}.", "{s} is painted {v}."),
             ("What color is {s}?", "Which color does {s} have?", "What is the color of {s}?"), lambda rng: rng.choice(words.COLOURS)),
    Relation(("The code of {s} is {v}.", "{s} has the code {v}."),
             ("What is the code of {s}?", "Which code does {s} have?", "Tell me the code of {s}."), words.code),
    Relation(("{s} is made of {v}.", "They make {s} from {v}."),
             ("What is {s} made of?", "What do they make {s} from?"), lambda rng: rng.choice(words.COMMON_NOUNS)),
    Relation(("{s} speaks {v}.", "The language of {s} is {v}."),
             ("Which language does {s} speak?", "What is the language of {s}?"), lambda rng: rng.choice(words.LANGUAGES)),
)  # fmt: skip
_VALUES = (words.place, words.person, words.code, words.clock_time, _number, _year, words.invented_name, words.phrase)
_THINGS = words.listed(
    "bridge harbor museum bakery library ferry company school station tower hotel garden festival river team printer engine "
    "server project policy order train machine club market clinic theater warehouse mine castle lamp robot ship"
)
_ENDS = (
    " in the north",
    " every summer",
    ", as always",
    " since May",
    " on the second floor",
    ", by contract",
    " this year",
)
_HEADERS = (
    "Here are the retrieved documents for relevant context:\n=== START-RETRIEVED-CONTEXT ===\n",
    "Here are the retrieved documents for relevant context:\n\n", "Relevant context:\n", "Retrieved context:\n\n",
    "Context:\n", "The following was found:\n", "Documents that may help:\n", "Use this context to answer:\n",
)  # fmt: skip
_FOOTERS = (
    "\n=== END-RETRIEVED-CONTEXT ===\n", "\n", "", "\n=== END ===", "\nEnd of the context.", "\nThat is all that was found.",
)  # fmt: skip


def retrieval_dialog(source: Source) -> Dialog:
    """Questions with retrieved text beside the first; a third of them the text does not answer."""
    rng = source.rng
    facts = _facts(source)
    cases = [_question(source, facts) for _ in range(source.weighted(((1, 2.0), (2, 3.0), (3, 3.0), (4, 1.0))))]
    context = _context(source, [fact.sentence for fact in facts])
    turns: list[Turn] = []
    for index, (asked, answer, value) in enumerate(cases):
        turns += [Turn("user", asked, context="" if index else context), Turn("assistant", answer, key=value)]
    return Dialog(tuple(turns), today=words.day(rng), dated=source.chance(0.85), tags=("retrieval",))


def _facts(source: Source) -> list[Fact]:
    """Two to six facts about one to three things, no relation twice for a thing."""
    rng = source.rng
    subjects = [_subject(source) for _ in range(rng.randint(1, 3))]
    facts: dict[tuple[str, str], Fact] = {}
    for _ in range(rng.randint(2, 6)):
        relation, subject = _relation(source), rng.choice(subjects)
        value = relation.draw(rng)
        sentence = source.phrasing(relation.statements).format(s=subject, v=value)
        facts.setdefault((relation.questions[0], subject), Fact(relation, subject, value, _dressed(source, sentence)))
    return list(facts.values())


def _question(source: Source, facts: list[Fact]) -> tuple[str, str, str]:
    """A question, its answer and the value in it; without one in the text, the thing or what is asked of it occurs there all the same."""
    fact = source.pick(facts)
    if not source.chance(0.28):
        return source.phrasing(fact.relation.questions).format(s=fact.subject), fact.sentence, fact.value
    known = {(item.relation.questions[0], item.subject) for item in facts}
    for _ in range(8):
        relation, subject = (
            (_relation(source), fact.subject) if source.chance(0.5) else (fact.relation, source.pick(facts).subject)
        )
        if (relation.questions[0], subject) not in known:
            return source.phrasing(relation.questions).format(s=subject), UNANSWERABLE, ""
    return source.phrasing(fact.relation.questions).format(s=_subject(source)), UNANSWERABLE, ""


def _relation(source: Source) -> Relation:
    """One of the relations above, or one of any noun: `the depth of {s} is {v}`."""
    if source.chance(0.55):
        return source.pick(RELATIONS)
    noun = source.phrasing(words.COMMON_NOUNS) if source.chance(0.35) else words.invented_word(source.rng)
    if source.chance(0.3):
        noun = f"{source.phrasing(words.ADJECTIVES)} {noun}"
    return Relation(
        (f"The {noun} of {{s}} is {{v}}.", f"{{s}} has the {noun} {{v}}.", f"The {noun} for {{s}} is called {{v}}."),
        (f"What is the {noun} of {{s}}?", f"Which {noun} does {{s}} have?", f"Tell me the {noun} of {{s}}.",
         f"What {noun} does {{s}} have?", f"Do you know the {noun} of {{s}}?"),
        source.pick(_VALUES),
    )  # fmt: skip


def _subject(source: Source) -> str:
    """A proper name, or a thing with one."""
    name = words.invented_name(source.rng)
    if source.chance(0.5):
        return name
    thing = source.phrasing(_THINGS) if source.chance(0.6) else words.invented_word(source.rng)
    return source.pick((f"the {thing} {name}", f"the {name} {thing}", f"the {name} {thing}", f"the {thing}"))


def _dressed(source: Source, sentence: str) -> str:
    """The sentence, now and then with a phrase before or behind it."""
    if source.chance(0.1):
        sentence = sentence.removesuffix(".") + source.phrasing(_ENDS) + "."
    return sentence[0].upper() + sentence[1:]


def _context(source: Source, sentences: list[str]) -> str:
    """The retrieved text: as the agents service sets chunks out, or as it is."""
    rng = source.rng
    if source.chance(0.3):
        return source.pick(("", "", "Context: ", "Context:\n")) + " ".join(sentences)
    cut = rng.randint(0, len(sentences))
    chunks = [" ".join(part) for part in (sentences[:cut], sentences[cut:]) if part]
    lines = [
        f"id:{source.pick((words.invented_word(rng), words.code(rng), f'doc-{rng.randint(1, 99)}'))}; content:{chunk}"
        for chunk in chunks
    ]
    return source.pick(_HEADERS) + "\n".join(lines) + source.pick(_FOOTERS)
