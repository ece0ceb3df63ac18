"""Questions about retrieved text: facts about invented things, with an answer in the text or without.

An answer is the sentence of the text that holds it, so that the model has to find and to copy, not to know.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
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


def _small_number(rng: Random) -> str:
    return str(rng.randint(2, 90))


def _year(rng: Random) -> str:
    return str(rng.randint(1500, 2030))


_SPOKEN_HOURS = words.listed("one two three four five six seven eight nine ten eleven noon midnight")


def _hour(rng: Random) -> str:
    """A time of day, in figures or in words."""
    if rng.random() < 0.7:
        return words.clock_time(rng)
    return rng.choice(_SPOKEN_HOURS)


def _noun(rng: Random) -> str:
    return rng.choice(words.COMMON_NOUNS)


def _things(rng: Random) -> str:
    """One or two things, now and then with an adjective."""
    first = f"{rng.choice(words.ADJECTIVES)} {_noun(rng)}" if rng.random() < 0.4 else _noun(rng)
    return f"{first} and {_noun(rng)}" if rng.random() < 0.4 else first


RELATIONS: tuple[Relation, ...] = (
    Relation(("The capital of {s} is {v}.", "{v} is the capital of {s}."),
             ("What is the capital of {s}?", "Which city is the capital of {s}?", "Tell me the capital of {s}."), words.place),
    Relation(("{s} was founded in {v}.", "In {v}, {s} was founded.", "{s} dates from {v}.", "{s} has existed since {v}."),
             ("When was {s} founded?", "In which year was {s} founded?", "How old is {s}?", "What year was {s} founded in?",
              "Since when does {s} exist?"), _year),
    Relation(("{s} was founded by {v}.", "{v} founded {s}.", "The founder of {s} is {v}."),
             ("Who founded {s}?", "Who is the founder of {s}?", "Who started {s}?", "By whom was {s} founded?"), words.person),
    Relation(("{s} has {v} employees.", "{v} people work at {s}.", "{s} employs {v} people."),
             ("How many employees does {s} have?", "How many people work at {s}?", "How many workers does {s} have?",
              "How many people does {s} employ?"), _number),
    Relation(("{s} is located in {v}.", "You find {s} in {v}.", "{s} is in {v}.", "{s} stands in {v}.", "{s} lies near {v}."),
             ("Where is {s}?", "Where is {s} located?", "In which place is {s}?", "Where can I find {s}?", "In which city is {s}?",
              "Where does {s} stand?"), words.place),
    Relation(("The manager of {s} is {v}.", "{v} manages {s}.", "{v} is in charge of {s}.", "{s} is led by {v}."),
             ("Who manages {s}?", "Who is the manager of {s}?", "Who leads {s}?", "Who is in charge of {s}?",
              "What is the name of the manager of {s}?"), words.person),
    Relation(("{s} opens at {v}.", "The opening time of {s} is {v}.", "The doors of {s} open at {v}."),
             ("When does {s} open?", "What are the opening times of {s}?", "At what time does {s} open?", "How early does {s} open?"),
             _hour),
    Relation(("{s} closes at {v}.", "At {v}, {s} closes.", "{s} is closed after {v}."),
             ("When does {s} close?", "At what time does {s} close?", "Until when is {s} open?"), _hour),
    Relation(("A ticket for {s} costs {v} dollars.", "The price of {s} is {v} dollars.", "{s} costs {v} dollars."),
             ("How much does {s} cost?", "What is the price of {s}?", "How expensive is {s}?", "What does {s} cost?",
              "How much is {s}?"), _number),
    Relation(("The color of {s} is {v}.", "{s} is painted {v}.", "{s} is {v}."),
             ("What color is {s}?", "Which color does {s} have?", "What is the color of {s}?"), lambda rng: rng.choice(words.COLOURS)),
    Relation(("The code of {s} is {v}.", "{s} has the code {v}.", "{s} is listed under the code {v}."),
             ("What is the code of {s}?", "Which code does {s} have?", "Tell me the code of {s}."), words.code),
    Relation(("{s} is made of {v}.", "They make {s} from {v}.", "{s} consists of {v}."),
             ("What is {s} made of?", "What do they make {s} from?", "From what is {s} made?"), _noun),
    Relation(("{s} speaks {v}.", "The language of {s} is {v}."),
             ("Which language does {s} speak?", "What is the language of {s}?"), lambda rng: rng.choice(words.LANGUAGES)),
    Relation(("{s} was built in {v}.", "In {v}, they built {s}.", "Work on {s} ended in {v}."),
             ("When was {s} built?", "In what year was {s} built?", "What year was {s} built in?"), _year),
    Relation(("{s} belongs to {v}.", "The owner of {s} is {v}.", "{v} owns {s}."),
             ("Who owns {s}?", "To whom does {s} belong?", "Who is the owner of {s}?"), words.person),
    Relation(("{s} was invented by {v}.", "{v} invented {s}.", "{v} came up with {s}."),
             ("Who invented {s}?", "Who came up with {s}?", "By whom was {s} invented?"), words.person),
    Relation(("{s} is called {v}.", "People call {s} {v}.", "{s} bears the name {v}."),
             ("What is {s} called?", "What is the name of {s}?", "How do people call {s}?"), words.invented_name),
    Relation(("{s} is {v} meters long.", "The length of {s} is {v} meters."),
             ("How long is {s}?", "What is the length of {s}?", "How many meters long is {s}?"), _number),
    Relation(("{s} is {v} meters high.", "The height of {s} is {v} meters."),
             ("How high is {s}?", "How tall is {s}?", "What is the height of {s}?"), _number),
    Relation(("{s} is {v} meters deep.", "The depth of {s} is {v} meters."), ("How deep is {s}?", "What is the depth of {s}?"), _number),
    Relation(("{s} weighs {v} kilograms.", "The weight of {s} is {v} kilograms."),
             ("How heavy is {s}?", "What does {s} weigh?", "What is the weight of {s}?"), _number),
    Relation(("{s} lasts {v} days.", "{s} takes {v} days.", "{s} is over after {v} days."),
             ("How long does {s} last?", "How many days does {s} take?", "How long does {s} take?"), _small_number),
    Relation(("{s} goes to {v}.", "{s} travels to {v}.", "The way of {s} ends in {v}."),
             ("Where does {s} go?", "Where does {s} travel to?", "What is the destination of {s}?"), words.place),
    Relation(("{s} leaves at {v}.", "{s} departs at {v}.", "At {v}, {s} leaves."),
             ("When does {s} leave?", "At what time does {s} depart?", "When does {s} depart?",
             "What time does {s} leave?"), _hour),
    Relation(("{s} arrives at {v}.", "At {v}, {s} arrives.", "{s} is there by {v}."),
             ("When does {s} arrive?", "At what time does {s} arrive?", "When is {s} there?"), _hour),
    Relation(("{s} starts on {v}.", "{s} begins on {v}.", "The first day of {s} is {v}."),
             ("When does {s} start?", "On which day does {s} begin?", "When does {s} begin?"), words.iso_date),
    Relation(("{s} ends on {v}.", "The last day of {s} is {v}.", "{s} is over on {v}."),
             ("When does {s} end?", "On which day does {s} end?", "What is the last day of {s}?"), words.iso_date),
    Relation(("You can buy {s} in {v}.", "{s} is sold in {v}.", "They sell {s} in {v}."),
             ("Where can I buy {s}?", "Where is {s} sold?", "Where do they sell {s}?"), words.place),
    Relation(("{s} was bought in {v}.", "They bought {s} in {v}."), ("When was {s} bought?", "In which year was {s} bought?"), _year),
    Relation(("{s} comes from {v}.", "The home of {s} is {v}."), ("Where does {s} come from?", "What is the home of {s}?"), words.place),
)  # fmt: skip
_DOINGS = words.listed(
    "sells|sell makes|make uses|use needs|need carries|carry hosts|host buys|buy repairs|repair teaches|teach grows|grow exports|export "
    "builds|build stores|store prints|print plays|play studies|study guards|guard paints|paint cooks|cook likes|like collects|collect "
    "offers|offer delivers|deliver serves|serve shows|show rents|rent cleans|clean breeds|breed imports|import wants|want drinks|drink"
)
_DEEDS = words.listed(
    "painted designed opened visited repaired planned discovered directed trained sold cleaned described measured restored named copied "
    "financed tested photographed inspected closed moved guarded followed praised saved"
)
_VALUES = (words.place, words.person, words.code, words.clock_time, _number, _year, words.invented_name)
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
    " with the others",
    " behind the station",
    " from gate three",
    " at the old wall",
    ", they say",
    " near the water",
    " on weekdays",
    " for everyone",
    " without a break",
    " from the left side",
    ", rain or shine",
    " as planned",
    " under the roof",
)
_AROUND = (
    "According to the text, {}", "From the document: {}", "{} Please answer from the context.", "Using the text: {}", "Please tell me: {}",
    "I would like to know: {}", "{} Look at the text.", "Look it up: {}", "{} I need to know.", "Quick question: {}", "In the document, {}",
    "Read the text. {}", "{} Thanks!", "Based on the context, {}", "By the text, {}", "Hi, {}", "{} Tell me, please.", "Question: {}",
)  # fmt: skip
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
    base = Dialog((), today=words.day(source.rng), dated=source.chance(0.85), tags=("retrieval",))
    return _with_questions(source, base, source.weighted(((1, 2.0), (2, 3.0), (3, 3.0), (4, 1.0))))


def retrieval_dialogs(source: Source, count: int) -> list[Dialog]:
    """Questions over texts below one date, most of them one to a text."""
    base = Dialog((), today=words.day(source.rng), dated=source.chance(0.85), tags=("retrieval",))
    return [_with_questions(source, base, source.weighted(((1, 3.0), (2, 1.5), (3, 1.0)))) for _ in range(count)]


def _with_questions(source: Source, base: Dialog, count: int) -> Dialog:
    facts = _facts(source)
    cases = [_question(source, facts) for _ in range(count)]
    context = _context(source, [fact.sentence for fact in facts])
    turns: list[Turn] = []
    for index, (asked, answer, value) in enumerate(cases):
        turns += [Turn("user", asked, context="" if index else context), Turn("assistant", answer, key=value)]
    return replace(base, turns=(*base.turns, *turns))


def _facts(source: Source) -> list[Fact]:
    """One to six facts about one to three things, no relation twice for a thing; those of a thing stand together."""
    rng = source.rng
    subjects = [_subject(source) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    drawn = sorted(rng.randrange(len(subjects)) for _ in range(rng.choice((1, 1, 2, 3, 4, 5, 6))))
    facts: dict[tuple[str, str], Fact] = {}
    last = ""
    for subject in (subjects[index] for index in drawn):
        relation = _relation(source)
        value = relation.draw(rng)
        named = "it" if subject == last and source.chance(0.3) else subject
        sentence = _own(source.phrasing(relation.statements).format(s=named, v=value))
        facts.setdefault((relation.questions[0], subject), Fact(relation, subject, value, _dressed(source, sentence)))
        last = subject
    return list(facts.values())


def _own(sentence: str) -> str:
    """`The price of it is 3` as `its price is 3`."""
    found = re.fullmatch(r"The (.+?) (?:of|for) it (.+)", sentence)
    return f"its {found[1]} {found[2]}" if found else sentence


def _question(source: Source, facts: list[Fact]) -> tuple[str, str, str]:
    """A question, its answer and the value in it; without one in the text, the thing or what is asked of it occurs there all the same."""
    fact = source.pick(facts)
    if not source.chance(0.36):
        return _asked(source, fact.relation, fact.subject), fact.sentence, fact.value
    known = {(item.relation.questions[0], item.subject) for item in facts}
    for _ in range(8):
        relation, subject = (
            (_relation(source), fact.subject) if source.chance(0.6) else (fact.relation, source.pick(facts).subject)
        )
        if (relation.questions[0], subject) not in known:
            return _asked(source, relation, subject), UNANSWERABLE, ""
    return _asked(source, fact.relation, _subject(source)), UNANSWERABLE, ""


def _asked(source: Source, relation: Relation, subject: str) -> str:
    """A question as people put it, now and then with words around it."""
    name, parts = subject, subject.split()
    if len(parts) == 3 and parts[0] == "the" and source.chance(0.3):
        # `the Privi ship` as `the ship`
        name = " ".join(part for part in parts if part.islower())
    question = source.phrasing(relation.questions).format(s=name)
    if not source.chance(0.25):
        return question
    around = source.phrasing(_AROUND)
    return around.format(question if around.startswith("{") else question[0].lower() + question[1:])


def _relation(source: Source) -> Relation:
    """One of the relations above, or one of any noun or verb: `the depth of {s} is {v}`."""
    kind = source.weighted((("listed", 6.0), ("noun", 1.6), ("doing", 1.0), ("deed", 1.0), ("count", 1.0)))
    if kind == "listed":
        return source.pick(RELATIONS)
    if kind == "doing":
        does, do = source.phrasing(_DOINGS).split("|")
        return Relation((f"{{s}} {does} {{v}}.",), (f"What does {{s}} {do}?", f"Tell me what {{s}} {does}."), _things)
    if kind == "deed":
        done = source.phrasing(_DEEDS)
        if source.chance(0.5):
            return Relation(
                (f"{{v}} {done} {{s}}.", f"{{s}} was {done} by {{v}}."),
                (f"Who {done} {{s}}?", f"By whom was {{s}} {done}?"),
                words.person,
            )
        return Relation((f"{{s}} was {done} in {{v}}.", f"In {{v}}, {{s}} was {done}."),
                        (f"When was {{s}} {done}?", f"In what year was {{s}} {done}?"), _year)  # fmt: skip
    noun = (
        source.phrasing((*words.COMMON_NOUNS, *words.OBJECTS))
        if source.chance(0.8)
        else words.invented_word(source.rng)
    )
    if kind == "count":
        return Relation((f"{{s}} has {{v}} {noun}s.", f"There are {{v}} {noun}s at {{s}}."),
                        (f"How many {noun}s does {{s}} have?", f"How many {noun}s are there at {{s}}?"), _small_number)  # fmt: skip
    return Relation(
        (f"The {noun} of {{s}} is {{v}}.", f"{{s}} has the {noun} {{v}}.", f"The {noun} for {{s}} is called {{v}}."),
        (f"What is the {noun} of {{s}}?", f"Which {noun} does {{s}} have?", f"Tell me the {noun} of {{s}}.",
         f"What {noun} does {{s}} have?", f"Do you know the {noun} of {{s}}?", f"What is the {noun} of {{s}} called?"),
        source.pick(_VALUES),
    )  # fmt: skip


def _subject(source: Source) -> str:
    """A proper name, or a thing with one."""
    name = words.invented_name(source.rng)
    if source.chance(0.5):
        return name
    if source.chance(0.12):
        return source.pick(("the {} of {}", "the {} in {}")).format(source.phrasing(_THINGS), words.place(source.rng))
    thing = source.phrasing(_THINGS) if source.chance(0.9) else words.invented_word(source.rng)
    return source.pick((f"the {thing} {name}", f"the {name} {thing}", f"the {name} {thing}", f"the {thing}"))


def _dressed(source: Source, sentence: str) -> str:
    """The sentence, now and then with a phrase before or behind it."""
    if source.chance(0.08):
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
