"""Questions about retrieved text: facts about invented things, with an answer in the text or without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from models.recipe import words
from models.recipe.dialog import Dialog, Turn
from models.recipe.source import Source

UNANSWERABLE = "The text does not say."


@dataclass(frozen=True)
class Relation:
    """A kind of fact; `{s}` is what it is about, `{v}` its value."""

    statements: tuple[str, ...]
    questions: tuple[str, ...]
    answer: str
    draw: Callable[[Random], str]


def _number(rng: Random) -> str:
    return str(rng.randint(2, 9999))


def _year(rng: Random) -> str:
    return str(rng.randint(1500, 2030))


RELATIONS: tuple[Relation, ...] = (
    Relation(("The capital of {s} is {v}.", "{v} is the capital of {s}."), ("What is the capital of {s}?",
    "Which city is the capital of {s}?"),
             "The capital of {s} is {v}.", words.place),
    Relation(("{s} was founded in {v}.", "In {v}, {s} was founded."), ("When was {s} founded?",
    "In which year was {s} founded?"),
             "{s} was founded in {v}.", _year),
    Relation(("{s} was founded by {v}.", "{v} founded {s}."), ("Who founded {s}?", "Who is the founder of {s}?"),
             "{s} was founded by {v}.", words.person),
    Relation(("{s} has {v} employees.", "{v} people work at {s}."), ("How many employees does {s} have?",
    "How many people work at {s}?"),
             "{s} has {v} employees.", _number),
    Relation(("{s} is located in {v}.", "You find {s} in {v}."), ("Where is {s}?", "Where is {s} located?",
    "In which place is {s}?"),
             "{s} is located in {v}.", words.place),
    Relation(("The manager of {s} is {v}.", "{v} manages {s}."), ("Who manages {s}?", "Who is the manager of {s}?"),
             "The manager of {s} is {v}.", words.person),
    Relation(("{s} opens at {v}.", "The opening time of {s} is {v}."), ("When does {s} open?",
    "What are the opening times of {s}?"),
             "{s} opens at {v}.", words.clock_time),
    Relation(("A ticket for {s} costs {v} dollars.", "The price of {s} is {v} dollars."), ("How much does {s} cost?",
    "What is the price of {s}?"),
             "{s} costs {v} dollars.", _number),
    Relation(("The color of {s} is {v}.", "{s} is {v}."), ("What color is {s}?", "Which color does {s} have?"),
             "{s} is {v}.", lambda rng: rng.choice(words.COLOURS)),
    Relation(("The code of {s} is {v}.", "{s} has the code {v}."), ("What is the code of {s}?",
    "Which code does {s} have?"),
             "The code of {s} is {v}.", words.code),
    Relation(("{s} is made of {v}.", "They make {s} from {v}."), ("What is {s} made of?",
    "What do they make {s} from?"),
             "{s} is made of {v}.", lambda rng: rng.choice(words.COMMON_NOUNS)),
    Relation(("{s} speaks {v}.", "The language of {s} is {v}."), ("Which language does {s} speak?",
    "What is the language of {s}?"),
             "{s} speaks {v}.", lambda rng: rng.choice(words.LANGUAGES)),
)  # fmt: skip
_HEADERS = (
    "Here are the retrieved documents for relevant context:\n=== START-RETRIEVED-CONTEXT ===\n",
    "Here are the retrieved documents for relevant context:\n\n", "Relevant context:\n", "Retrieved context:\n\n",
    "Context:\n",
)  # fmt: skip
_FOOTERS = ("\n=== END-RETRIEVED-CONTEXT ===\n", "\n", "", "\n=== END ===")


def retrieval_dialog(source: Source) -> Dialog:
    """A question with retrieved text beside it; in one of four the text does not hold the answer."""
    rng = source.rng
    chosen = rng.sample(RELATIONS, rng.randint(2, 5))
    subjects = [words.invented_name(rng) for _ in range(rng.randint(1, 3))]
    facts = [(relation, rng.choice(subjects), relation.draw(rng)) for relation in chosen]
    relation, subject, value = rng.choice(facts)
    answer = relation.answer.format(s=subject, v=value)
    if source.chance(0.25):
        facts = [fact for fact in facts if fact[0] is not relation]
        answer = UNANSWERABLE
    sentences = [source.phrasing(fact.statements).format(s=about, v=said) for fact, about, said in facts]
    question = source.phrasing(relation.questions).format(s=subject)
    turns = (Turn("user", question, context=_context(source, sentences)), Turn("assistant", answer))
    return Dialog(turns, today=words.day(rng), tags=("retrieval",))


def _context(source: Source, sentences: list[str]) -> str:
    """The retrieved chunks as the agents service sets them out."""
    rng = source.rng
    cut = rng.randint(0, len(sentences))
    chunks = [" ".join(part) for part in (sentences[:cut], sentences[cut:]) if part]
    lines = [
        f"id:{source.pick((words.invented_word(rng), words.code(rng), f'doc-{rng.randint(1, 99)}'))}; content:{chunk}"
        for chunk in chunks
    ]
    return source.pick(_HEADERS) + "\n".join(lines) + source.pick(_FOOTERS)
