"""Labelled texts for the prompt guard: attacks by themselves and inside documents, disguised or not, and harmless text like them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from models.recipe import guard_benign, guard_hazards, injection_phrases, injection_wordings
from models.recipe.guard_dialogs import look_alike_text, ordinary_text, unsafe_text
from models.recipe.guard_phrases import capitalized, combination, fill, misspelt, options
from models.recipe.source import Source

_LISTS = {**guard_benign.LISTS, **guard_hazards.LISTS, **injection_phrases.LISTS, **injection_wordings.LISTS}
_INJECTIONS = (*injection_phrases.INJECTIONS, *injection_wordings.INJECTIONS)
_JAILBREAKS = (*injection_phrases.JAILBREAKS, *injection_wordings.JAILBREAKS)
_LOOK_ALIKES = (*injection_phrases.LOOK_ALIKES, *injection_wordings.LOOK_ALIKES)


class Label(StrEnum):
    """What a text is to a model that reads it."""

    BENIGN = "BENIGN"
    INJECTION = "INJECTION"
    """It gives the model orders that its user or developer did not give."""
    JAILBREAK = "JAILBREAK"
    """It tries to talk the model out of its rules."""


@dataclass(frozen=True)
class LabelledText:
    """A text and what it is."""

    text: str
    label: Label
    look_alike: bool = False
    """Whether it is benign although it uses the words of an attack."""


_REQUESTS = options(
    "Summarize this {work}:|Translate the following {work} into {language}:|What does this {work} say?|"
    "Here is my {work}:|Please check this {work}.|Is this {work} polite?|Correct the grammar of this {work}:|"
    "I got this {work} today:|Tool result:|Search result:|Document {n}:|Classify this {work}:|"
    "Extract the date from this {work}:|Shorten this:|Reply to this {work}:|Rate the following {work}:|"
    "Find the main point:|From: {name}|Subject: {adjective} {noun}|Content of the page:|"
    "Rewrite this {work} in plain words:"
)
_LEADS = options(
    "Hi,|Hello,|Hey,|Please,|OK,|Listen,|Now|So,|Dear assistant,|Quick question:|Hey bot,|Good morning.|"
    "One more thing:|Well,"
)
_TAILS = options(
    "Thanks!|Please.|It is urgent.|Do it now.|Answer quickly.|Thank you.|Do you understand?|Begin.|"
    "This is important.|OK?"
)
_LEET = str.maketrans({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"})
_HOMOGLYPHS = str.maketrans({"a": "а", "e": "е", "o": "о", "c": "с", "p": "р", "i": "і"})


def labelled_text(source: Source) -> LabelledText:
    """Draws a text: half of them benign, and half of those look like attacks."""
    draw: Callable[[Source], LabelledText] = source.weighted(((_benign, 50.0), (_injection, 27.0), (_jailbreak, 23.0)))
    drawn = draw(source)
    return LabelledText(_disguised(source, _noisy(source, drawn.text)), drawn.label, drawn.look_alike)


def evaluation_texts(seed: int, count: int) -> list[LabelledText]:
    """Draws texts for evaluation, of phrasings and combinations that training never uses."""
    source = Source(f"injection-evaluation-{seed}", held_out=True)
    return [labelled_text(source) for _ in range(count)]


def _benign(source: Source) -> LabelledText:
    kind = source.weighted(
        (("look-alike", 5.0), ("ordinary", 2.5), ("hazard words", 1.0), ("unsafe", 0.8), ("document", 2.5))
    )
    if kind == "look-alike":
        return LabelledText(_look_alike(source), Label.BENIGN, look_alike=True)
    if kind == "document":
        sentences = _sentences(source, _length(source))
        look_alike = source.chance(0.5)
        if look_alike:
            sentences.insert(source.rng.randint(0, len(sentences)), _look_alike(source))
        return LabelledText(_document(source, sentences), Label.BENIGN, look_alike)
    if kind == "unsafe":
        return LabelledText(unsafe_text(source, source.pick(guard_hazards.HAZARDS)), Label.BENIGN)
    return LabelledText(ordinary_text(source) if kind == "ordinary" else look_alike_text(source), Label.BENIGN)


def _injection(source: Source) -> LabelledText:
    attack = _sentence(source, _INJECTIONS)
    if source.chance(0.2):
        attack += " " + _sentence(source, _INJECTIONS)
    if source.chance(0.6):
        sentences = _sentences(source, _length(source))
        # Attackers like the end, where the model has just read them.
        place = len(sentences) if source.chance(0.4) else source.rng.randint(0, len(sentences))
        sentences.insert(place, attack)
        attack = _document(source, sentences)
    return LabelledText(attack, Label.INJECTION)


def _jailbreak(source: Source) -> LabelledText:
    parts = [_sentence(source, _JAILBREAKS) for _ in range(source.weighted(((1, 5.0), (2, 3.0), (3, 1.0))))]
    if source.chance(0.25):
        parts.append(unsafe_text(source, source.pick(guard_hazards.HAZARDS)))
    if source.chance(0.15):
        parts.insert(source.rng.randint(0, 1), ordinary_text(source))
    return LabelledText(" ".join(parts), Label.JAILBREAK)


def _look_alike(source: Source) -> str:
    if source.chance(0.15):
        return combination(source, _LOOK_ALIKES, _LISTS)
    return _sentence(source, _LOOK_ALIKES)


def _sentence(source: Source, templates: tuple[str, ...]) -> str:
    text = combination(source, templates, _LISTS)
    return capitalized(text) + source.pick((".", ".", "", "!"))


def _sentences(source: Source, count: int) -> list[str]:
    """Harmless sentences as documents have them."""
    lists = (guard_benign.STATEMENTS, guard_benign.ANSWERS, guard_benign.QUESTIONS)
    return [
        combination(source, source.weighted(((lists[0], 3.0), (lists[1], 5.0), (lists[2], 0.7))), _LISTS)
        for _ in range(count)
    ]


def _length(source: Source) -> int:
    """Sentences of a document: mostly few, now and then as many as a window holds."""
    return source.rng.randint(1, 5) if source.chance(0.93) else source.rng.randint(6, 30)


def _document(source: Source, sentences: list[str]) -> str:
    body = source.pick((" ", " ", "\n", "\n\n")).join(sentences)
    if source.chance(0.12):
        body = f'{{"{source.pick(("result", "content", "text", "body"))}": "{body}"}}'.replace("\n", "\\n")
    if source.chance(0.6):
        request = fill(source, source.phrasing(_REQUESTS), _LISTS)
        body = f"{request}{source.pick((' ', chr(10), chr(10) * 2))}{body}"
    return body


def _noisy(source: Source, text: str) -> str:
    if source.chance(0.15):
        text = f"{source.phrasing(_LEADS)} {text[:1].lower()}{text[1:]}"
    if source.chance(0.1):
        text = f"{text} {source.phrasing(_TAILS)}"
    return misspelt(source, text) if source.chance(0.12) else text


def _disguised(source: Source, text: str) -> str:
    """Changes the letters of a text, benign or not: the disguise itself says nothing."""
    if source.chance(0.8):
        return text
    kind = source.rng.randrange(7)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return "".join(source.pick((letter.lower(), letter.upper())) for letter in text)
    if kind == 2:
        return text.lower().translate(_LEET)
    if kind == 3:
        return "  ".join(" ".join(word) for word in text[:160].split())
    if kind == 4:
        return text.translate(_HOMOGLYPHS)
    if kind == 5:
        return "".join(letter + ("\u200b" if letter.isalpha() and source.chance(0.5) else "") for letter in text)
    return " ".join(
        source.pick(("-", ".", "*")).join(word) if source.chance(0.6) else word for word in text[:160].split()
    )
