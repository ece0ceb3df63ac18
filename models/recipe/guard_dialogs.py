"""Labelled conversations for the guard: deeds and wishes in the same frames, questions and answers, noise."""

from __future__ import annotations

from dataclasses import dataclass

from models.recipe import conversation, guard_benign, guard_deeds, guard_frames, guard_hazards, guard_wordings
from models.recipe.guard_hazards import HAZARDS, HazardTexts
from models.recipe.guard_phrases import capitalized, combination, fill, gerund, misspelt, thinned
from models.recipe.source import Source

LISTS = {**guard_benign.LISTS, **guard_hazards.LISTS, **guard_wordings.LISTS, **guard_frames.LISTS}

_ORDINARY_DEEDS = (*guard_benign.ORDINARY_DEEDS, *guard_deeds.EVERYDAY)

Said = tuple[str, str]
"""`User` or `Agent`, and the text."""


@dataclass(frozen=True)
class GuardCase:
    """A conversation and what a guard has to say about its last turn."""

    turns: tuple[Said, ...]
    code: str
    """Code of the hazard; empty: safe."""
    look_alike: bool = False
    """Whether it is safe although it sounds like a hazard."""


def guard_case(source: Source) -> GuardCase:
    """Draws a conversation; about half of them are safe."""
    kind = source.weighted(
        ((_asked, 40.0), (_wished, 34.0), (_answered, 14.0), (_complied, 14.0), (_refused, 6.0), (_moved_on, 5.0))
    )
    case: GuardCase = kind(source)
    return case


def evaluation_texts(seed: int, count: int) -> list[GuardCase]:
    """Draws conversations for evaluation, of phrasings, names and combinations that training never uses."""
    source = Source(f"guard-evaluation-{seed}", held_out=True)
    return [guard_case(source) for _ in range(count)]


def plain_case(source: Source) -> GuardCase:
    """Draws a single message that is plainly a hazard or plainly none: what the training begins with."""
    if source.chance(0.5):
        hazard = hazard_of(source)
        return GuardCase((("User", unsafe_text(source, hazard)),), hazard.code)
    look_alike = source.chance(0.3)
    deeds = guard_benign.LOOK_ALIKE_DEEDS
    return GuardCase((("User", _ask_deed(source, deeds) if look_alike else ordinary_text(source)),), "", look_alike)


def hazard_of(source: Source) -> HazardTexts:
    """Draws a category."""
    return source.pick(HAZARDS)


def unsafe_text(source: Source, hazard: HazardTexts) -> str:
    """A user's message of the category."""
    kinds = [("deed", 5.0), ("plain", 4.0)]
    kinds += [("product", 4.0 if hazard.code in {"S12", "S10", "S13", "S5"} else 2.0)] if hazard.products else []
    kinds += [("claim", 3.0 if hazard.code in {"S10", "S13"} else 1.5)] if hazard.claims else []
    kinds += [("name", 1.0)] if hazard.names and hazard.code not in guard_frames.NO_COMMIT else []
    kind = source.weighted(kinds)
    if kind == "deed":
        return _ask_deed(source, _deeds(hazard))
    if kind == "plain":
        return capitalized(combination(source, guard_wordings.HAZARDOUS[hazard.code], LISTS))
    if kind == "product":
        return _framed(source, guard_frames.ASK_PRODUCT, p=combination(source, hazard.products, LISTS))
    if kind == "claim":
        return capitalized(combination(source, hazard.claims, LISTS)) + source.pick((".", "!", ""))
    return _framed(source, guard_frames.COMMIT_NAME, c=source.pick(hazard.names))


def _deeds(hazard: HazardTexts) -> tuple[str, ...]:
    """All deeds of a category."""
    return (*hazard.deeds, *guard_deeds.HAZARDOUS[hazard.code])


def look_alike_text(source: Source) -> str:
    """A harmless message with the words of a hazard."""
    hazard = hazard_of(source)
    kind = source.weighted((("deed", 5.0), ("plain", 4.0), ("about deed", 3.5), ("about name", 3.0)))
    if kind == "deed":
        return _ask_deed(source, guard_benign.LOOK_ALIKE_DEEDS)
    if kind == "plain":
        return capitalized(combination(source, guard_wordings.HARMLESS, LISTS))
    if kind == "about name" and hazard.names:
        return _framed(source, guard_frames.ABOUT_NAME, c=source.pick(hazard.names))
    deed = combination(source, _deeds(hazard), LISTS)
    if source.chance(0.3):
        return _framed(source, guard_frames.ABOUT_GERUND, g=gerund(deed))
    return _framed(source, guard_frames.ABOUT_DEED, d=deed)


def ordinary_text(source: Source) -> str:
    """A harmless message of everyday life."""
    kind = source.weighted(
        (("deed", 3.0), ("topic", 2.0), ("product", 3.0), ("statement", 2.5), ("question", 3.0), ("chat", 2.0))
    )
    if kind == "deed":
        return _ask_deed(source, _ORDINARY_DEEDS)
    if kind == "topic":
        return _framed(source, guard_frames.ASK_TOPIC, t=combination(source, guard_benign.TOPICS, LISTS))
    if kind == "product":
        return _framed(source, guard_frames.ASK_PRODUCT, p=combination(source, guard_benign.PRODUCTS, LISTS))
    if kind == "chat":
        return conversation.single_exchange(source)[0]
    return combination(source, guard_benign.STATEMENTS if kind == "statement" else guard_benign.QUESTIONS, LISTS)


def _asked(source: Source) -> GuardCase:
    hazard = hazard_of(source)
    return GuardCase((*_history(source), ("User", _noisy(source, unsafe_text(source, hazard)))), hazard.code)


def _wished(source: Source) -> GuardCase:
    look_alike = source.chance(0.55)
    text = look_alike_text(source) if look_alike else ordinary_text(source)
    return GuardCase((*_history(source), ("User", _noisy(source, text))), "", look_alike)


def _answered(source: Source) -> GuardCase:
    asked, answer = (ordinary_text(source), combination(source, guard_benign.ANSWERS, LISTS))
    look_alike = source.chance(0.4)
    if look_alike:
        asked = look_alike_text(source)
    elif source.chance(0.3):
        asked, answer = conversation.single_exchange(source)
    return GuardCase((*_history(source), ("User", asked), ("Agent", _noisy(source, answer))), "", look_alike)


def _complied(source: Source) -> GuardCase:
    hazard = hazard_of(source)
    asked = ordinary_text(source) if source.chance(0.3) else unsafe_text(source, hazard)
    kind = source.weighted(
        (("deed", 2.0), ("claim", 2.0 if hazard.claims else 0.0), ("product", 1.0 if hazard.products else 0.0))
    )
    if kind == "deed":
        said = _framed(source, guard_frames.COMPLY_DEED, d=combination(source, _deeds(hazard), LISTS))
    elif kind == "claim":
        said = capitalized(combination(source, hazard.claims, LISTS)) + "."
    else:
        said = _framed(source, guard_frames.COMPLY_PRODUCT, p=combination(source, hazard.products, LISTS))
    return GuardCase((*_history(source), ("User", asked), ("Agent", _noisy(source, said))), hazard.code)


def _refused(source: Source) -> GuardCase:
    hazard = hazard_of(source)
    refusal = _framed(source, guard_frames.REFUSALS, d=combination(source, _deeds(hazard), LISTS))
    return GuardCase((("User", unsafe_text(source, hazard)), ("Agent", refusal)), "", look_alike=True)


def _moved_on(source: Source) -> GuardCase:
    """Something unsafe was asked and refused; now the user says something harmless, or does not let go."""
    hazard = hazard_of(source)
    deed = combination(source, _deeds(hazard), LISTS)
    before = (
        ("User", _framed(source, guard_frames.ASK_DEED, d=deed)),
        ("Agent", _framed(source, guard_frames.REFUSALS, d=deed)),
    )
    if source.chance(0.35):
        return GuardCase((*before, ("User", unsafe_text(source, hazard))), hazard.code)
    return GuardCase((*before, ("User", ordinary_text(source))), "", look_alike=True)


def _history(source: Source) -> tuple[Said, ...]:
    if source.chance(0.9):
        return ()
    turns: list[Said] = []
    for _ in range(source.rng.randint(1, 2)):
        turns += [("User", ordinary_text(source)), ("Agent", combination(source, guard_benign.ANSWERS, LISTS))]
    return tuple(turns)


def _ask_deed(source: Source, deeds: tuple[str, ...]) -> str:
    deed = combination(source, deeds, LISTS)
    if source.chance(0.25):
        return _framed(source, guard_frames.ASK_GERUND, g=gerund(deed))
    return _framed(source, guard_frames.ASK_DEED, d=deed)


def _framed(source: Source, frames: tuple[str, ...], **slots: str) -> str:
    """Puts a text into one of the frames; frames are held out as whole phrasings."""
    frame = source.phrasing(frames)
    for slot, text in slots.items():
        frame = frame.replace("{" + slot + "}", text)
    return capitalized(fill(source, frame, LISTS))


def _noisy(source: Source, text: str) -> str:
    """Writes a text the way people do; what surrounds it is harmless."""
    if source.chance(0.15):
        text = f"{source.phrasing(guard_frames.LEADS)} {text[0].lower()}{text[1:]}"
    if source.chance(0.12):
        text = f"{text} {fill(source, source.phrasing(guard_frames.TAILS), LISTS)}"
    if source.chance(0.1):
        other = fill(source, source.pick(guard_benign.STATEMENTS), LISTS)
        text = f"{other} {text}" if source.chance(0.6) else f"{text} {other}"
    if source.chance(0.02):
        others = [ordinary_text(source) for _ in range(source.rng.randint(2, 6))]
        others.insert(source.rng.randint(0, len(others)), text)
        text = " ".join(others)
    if source.chance(0.12):
        text = misspelt(source, text)
    if source.chance(0.1):
        text = text.rstrip("?.!")
    return thinned(source, text) if source.chance(0.25) and not source.held_out else text
