"""The prompt of the Llama Guard models, the answers it allows, and what an answer says.

Sources: https://www.llama.com/docs/model-cards-and-prompt-formats/llama-guard-3/ (`llama-guard-4/` and `meta-llama-guard-2/` likewise)
and the chat templates of the models. `render` makes the text of one user message. Around it the models expect

- Llama Guard 3 and 4: a user header and an open assistant header, no system message. `inline::vllm` adds one that tells the date
  unless it is started with `tool_prompt_format = "python_list"`;
- Llama Guard 2: nothing but the token that begins a text, which is what Completion sends. It writes `[INST]` and `[/INST]` itself.

The conversation is data: nothing in it can end it, open another turn or change the categories.
"""

import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.safety import hazards
from services.safety.hazards import Hazard

LONGEST_ANSWER = 64
"""Tokens that any verdict fits in."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,15}")
_LONGEST_NAME = 80
_LONGEST_DESCRIPTION = 1000
_LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# No two neighbouring parts of these can match the same characters, which keeps them linear in the length of the text.
_MARKER = re.compile(
    r"<\s*(?:/\s*)?((?:BEGIN|END)\s+(?:UNSAFE\s+CONTENT\s+CATEGORIES|CONVERSATION))\s*>"
    r"|\[\s*((?:/\s*)?INST)\s*\]|<\s*\|([^<>|]*)\|\s*>",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"\A(\W*(?:(?:user|agent|task)[^\w:]*|provide\s+your\s+safety\s+assessment\b[^:]*)):", re.IGNORECASE
)
"""What makes the beginning of a line look like a turn or like one of the prompt's own instructions."""


class GuardFormat(StrEnum):
    """A generation of Llama Guard, by which prompt and categories are chosen."""

    LLAMA_GUARD_2 = "llama-guard-2"
    LLAMA_GUARD_3 = "llama-guard-3"
    LLAMA_GUARD_4 = "llama-guard-4"


class Role(StrEnum):
    """Who speaks, in the words of the prompt."""

    USER = "User"
    AGENT = "Agent"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation to judge."""

    role: Role
    """Who said it."""
    text: str
    """What was said."""
    images: tuple[types_pb2.Image, ...] = ()
    """Images that came with it, for a guard that takes images."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guard model answered."""

    is_safe: bool
    """Whether it found nothing."""
    hazards: tuple[Hazard, ...] = ()
    """The categories that it named, in its order; empty if and only if the message is safe."""


_HAZARDS = {
    GuardFormat.LLAMA_GUARD_2: hazards.LLAMA_GUARD_2,
    GuardFormat.LLAMA_GUARD_3: hazards.LLAMA_GUARD_3,
    GuardFormat.LLAMA_GUARD_4: hazards.LLAMA_GUARD_4,
}


def categories(
    guard_format: GuardFormat, *, custom: Sequence[Hazard] = (), excluded: Collection[str] = ()
) -> tuple[Hazard, ...]:
    """The categories that a guard is asked to look for.

    Args:
        guard_format: Generation of the guard model; its published categories are the base.
        custom: Further categories. One with the code of a published category replaces it.
        excluded: Codes of categories to leave out.

    Raises:
        InvalidArgumentError: A custom category is malformed or appears twice, an excluded code is unknown, or nothing is left.
    """
    for index, hazard in enumerate(custom):
        _check_custom(hazard, f"categories[{index}]")
    replacing = {hazard.code: hazard for hazard in custom}
    if len(replacing) < len(custom):
        raise InvalidArgumentError.of("categories", "must have different codes")
    known = {**{hazard.code: hazard for hazard in _HAZARDS[guard_format]}, **replacing}
    unknown = sorted(set(excluded) - known.keys())
    if unknown:
        raise InvalidArgumentError.of(
            "excluded_categories", f"{', '.join(unknown)}: must be some of {', '.join(known)}"
        )
    left = tuple(hazard for code, hazard in known.items() if code not in excluded)
    if not left:
        raise InvalidArgumentError.of("excluded_categories", "must leave at least one category")
    return left


def render(
    turns: Sequence[Turn],
    listed: Sequence[Hazard],
    guard_format: GuardFormat = GuardFormat.LLAMA_GUARD_3,
    *,
    described: bool | None = None,
) -> types_pb2.InterleavedContent:
    """The content of the user message that asks a guard to judge the last turn.

    Args:
        turns: The conversation, oldest turn first. The last one is judged, those before it are context.
        listed: The categories, as `categories` returns them.
        guard_format: Generation of the guard model.
        described: Writes each category's description under its name. Default: only for categories that are not published, which no guard
            model knows by heart.

    Returns:
        One text item, or several where turns bring images: an image stands right behind its turn's role.

    Raises:
        InvalidArgumentError: There is no turn or no category.
    """
    if not turns:
        raise InvalidArgumentError.of("messages", "must hold at least one message to judge")
    if not listed:
        raise InvalidArgumentError.of("categories", "must hold at least one category")
    role, wraps = turns[-1].role, guard_format is GuardFormat.LLAMA_GUARD_2
    published = set(_HAZARDS[guard_format])
    lines = [
        _category(hazard, with_description=hazard not in published if described is None else described)
        for hazard in listed
    ]
    content = _Content()
    content.text(
        f"{'[INST] ' if wraps else ''}Task: Check if there is unsafe content in '{role}' messages in conversations according our safety "
        "policy with the below categories.\n\n<BEGIN UNSAFE CONTENT CATEGORIES>\n"
        + "\n".join(lines)
        + "\n<END UNSAFE CONTENT CATEGORIES>\n\n<BEGIN CONVERSATION>\n\n"
    )
    for turn in turns:
        content.text(f"{turn.role}: ")
        content.images(turn.images)
        content.text(f"{neutralized(turn.text).strip()}\n\n")
    content.text(
        f"<END CONVERSATION>\n\nProvide your safety assessment for ONLY THE LAST {role} message in the above conversation:\n"
        " - First line must read 'safe' or 'unsafe'.\n"
        f" - If unsafe, a second line must include a comma-separated list of violated categories.{' [/INST]' if wraps else ''}"
    )
    return content.build()


def neutralized(text: str) -> str:
    """Text that cannot be taken for a part of the prompt, otherwise as it was and still readable.

    Markers and control tokens lose their brackets, and a role or an instruction that opens a line loses its colon, also when they
    hide behind look-alike characters or invisible ones. Every kind of line break becomes a line feed, so that no line hides in another.
    """
    return "\n".join(_neutralized_line(line) for line in _LINE_BREAK.split(text))


def verdict(text: str, listed: Iterable[Hazard]) -> Verdict:
    """Reads the answer of a guard model.

    Args:
        text: The answer: `safe`, or `unsafe` and on the next line codes of categories with commas between. White space around is
            ignored.
        listed: The categories that the guard was asked to look for.

    Raises:
        FailedPreconditionError: The answer is anything else. It must never be taken for "safe".
    """
    first, *rest = (line.strip() for line in text.strip().split("\n"))
    if first == "safe" and not rest:
        return Verdict(is_safe=True)
    known = {hazard.code: hazard for hazard in listed}
    codes = [code.strip() for code in rest[0].split(",")] if len(rest) == 1 else []
    if first == "unsafe" and codes and all(code in known for code in codes):
        return Verdict(is_safe=False, hazards=tuple(known[code] for code in dict.fromkeys(codes)))
    raise FailedPreconditionError(
        f"the guard model did not answer in its form, `safe` or `unsafe` and a line of categories, but {text[:100]!r}; "
        "use a Llama Guard model",
        reason="UNREADABLE_VERDICT",
    )


def grammar(listed: Sequence[Hazard]) -> types_pb2.ResponseFormat:
    """The constraint for guided decoding that allows exactly the answers that `verdict` reads.

    Args:
        listed: The categories that the guard is asked to look for.
    """
    codes = " | ".join(f'"{hazard.code}"' for hazard in listed)
    more = f' ("," code){{0,{len(listed) - 1}}}' if len(listed) > 1 else ""
    bnf = f'root ::= "safe" | "unsafe\\n" code{more}\ncode ::= {codes}\n'
    return types_pb2.ResponseFormat(grammar=types_pb2.GrammarResponseFormat(bnf=bnf))


def unsafe_probability(first_token: Mapping[str, float]) -> float | None:
    """The guard's probability that the message is unsafe, from the alternatives to its answer's first token.

    Args:
        first_token: Natural logarithms of probabilities by token text, at the first position of the answer.

    Returns:
        P(unsafe) / (P(safe) + P(unsafe)); None if no token begins either word.
    """
    weights = dict.fromkeys(("safe", "unsafe"), 0.0)
    for token, logprob in first_token.items():
        for word in weights:
            if token.strip() and word.startswith(token.strip()):
                weights[word] += math.exp(logprob)
    total = sum(weights.values())
    return weights["unsafe"] / total if total else None


class _Content:
    """Collects texts and images; neighbouring texts become one."""

    def __init__(self) -> None:
        self._items: list[types_pb2.InterleavedContentItem] = []

    def text(self, text: str) -> None:
        if self._items and not self._items[-1].HasField("image"):
            text = self._items.pop().text + text
        self._items.append(types_pb2.InterleavedContentItem(text=text))

    def images(self, images: Iterable[types_pb2.Image]) -> None:
        self._items.extend(types_pb2.InterleavedContentItem(image=image) for image in images)

    def build(self) -> types_pb2.InterleavedContent:
        return types_pb2.InterleavedContent(items=self._items)


def _check_custom(hazard: Hazard, field: str) -> None:
    if not _CODE.fullmatch(hazard.code):
        raise InvalidArgumentError.of(f"{field}.code", "must be a letter and up to 15 letters, digits, `_` or `-`")
    if not 0 < len(hazard.name.strip()) <= _LONGEST_NAME or _LINE_BREAK.search(hazard.name):
        raise InvalidArgumentError.of(f"{field}.name", f"must be one line of 1 to {_LONGEST_NAME} characters")
    if len(hazard.description) > _LONGEST_DESCRIPTION:
        raise InvalidArgumentError.of(f"{field}.description", f"must have at most {_LONGEST_DESCRIPTION} characters")


def _category(hazard: Hazard, *, with_description: bool) -> str:
    line = f"{hazard.code}: {neutralized(hazard.name).strip().rstrip('.')}."
    description = " ".join(neutralized(hazard.description).split()) if with_description else ""
    return f"{line}\n{description}" if description else line


def _neutralized_line(line: str) -> str:
    """The line itself when it holds nothing that looks like the prompt; else rewritten in plain characters."""
    plain = line
    if not line.isascii():
        plain = unicodedata.normalize("NFKC", line)
        plain = "".join(character for character in plain if unicodedata.category(character) != "Cf")
    harmless = _MARKER.sub(lambda found: f"({next(filter(None, found.groups()), '').strip()})", plain)
    harmless = _LABEL.sub(r"\1 -", harmless)
    return line if harmless == plain else harmless
