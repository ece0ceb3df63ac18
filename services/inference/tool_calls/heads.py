"""How tool calls begin, and how to tell as early as possible whether a text that has only begun will be one."""

import re
import string
from collections.abc import Collection, Iterable, Mapping
from enum import Enum, auto
from typing import NamedTuple, TypeAlias

from caravan.types.v1 import types_pb2
from services.inference.tool_calls import builtin
from services.inference.tool_calls.schema import NAME_PATTERN

LONGEST_HEAD = 512
"""More characters than any head has; what has not become one by then never will."""


class HeadKind(Enum):
    """What has begun."""

    JSON = auto()
    """`{"type": "function"`, `{"name": "f"` or the like; the body starts at the brace."""
    FUNCTION_TAG = auto()
    """`<function=f>`; the body starts behind it."""
    PYTHON = auto()
    """`[f(`, or `f(` within a list; the body starts at the parenthesis."""
    BUILTIN = auto()
    """`brave_search.call(`; the body starts at the parenthesis."""
    PYTHON_TAG = auto()
    """The token `<|python_tag|>`; the body starts behind it."""


class Head(NamedTuple):
    """A head that is whole."""

    kind: HeadKind
    """What it is the head of."""
    name: str
    """Name of the tool; empty where the head does not tell."""
    body: int
    """Index in the text where the body starts."""
    opens_list: bool
    """Whether the call is the first of a bracketed list."""


class Undecided(Enum):
    """The text may still become a head."""

    UNDECIDED = auto()


UNDECIDED = Undecided.UNDECIDED


class _Pattern(NamedTuple):
    kind: HeadKind
    whole: re.Pattern[str]
    """Matches the head. Its group `name` is the tool's name."""
    partial: re.Pattern[str]
    """Matches each beginning of the head."""
    firsts: str
    """Characters that the head may begin with."""
    needs_declared_name: bool = False
    """Whether the head counts only with a declared tool's name. JSON objects that are no calls have names too."""


Patterns: TypeAlias = Mapping[str, Collection[_Pattern]]


class Heads:
    """The heads to look for in the answers of one request."""

    def __init__(self, names: Collection[str], tool_format: types_pb2.ToolPromptFormat.ValueType) -> None:
        """Gathers what to look for.

        Args:
            names: The declared tools.
            tool_format: Form of the calls of custom tools.
        """
        self._names = names
        tag, custom = _CUSTOM.get(tool_format, _JSON) if names else ((), ())
        declared = [_BUILTINS[name] for name in builtin.QUERY_TOOLS if name in names]
        anywhere = (_PYTHON_TAG, *tag)
        self.anywhere: Patterns = _by_first(anywhere)
        """Heads that count wherever they stand."""
        self.at_line_start: Patterns = _by_first((*anywhere, *custom, *declared))
        """Heads that count at the start of a line or of the answer, and behind another call."""
        self.in_list: Patterns = _by_first((*anywhere, *custom, *declared, _LISTED_PYTHON_CALL))
        """Heads that count behind a call in a Python list."""
        self.after_tag: Patterns = _by_first((*anywhere, *custom, *_BUILTINS.values()))
        """Heads that count behind `<|python_tag|>`, where what is no call is code."""

    def look(self, text: str, start: int, patterns: Patterns) -> Head | Undecided | None:
        """Tells whether a head stands in a text.

        Args:
            text: The text that has come so far.
            start: Where the head would start; a character stands there.
            patterns: What to look for, one of this object's attributes.

        Returns:
            The head; `UNDECIDED` when more text is needed to tell; None when there is none.
        """
        undecided = False
        for pattern in patterns.get(text[start], ()):
            whole = pattern.whole.match(text, start)
            if whole is not None and (not pattern.needs_declared_name or whole["name"] in self._names):
                return _head(pattern, whole)
            may_come = len(text) - start < LONGEST_HEAD and pattern.partial.fullmatch(text, start) is not None
            undecided = undecided or may_come
        return UNDECIDED if undecided else None


def _head(pattern: _Pattern, found: re.Match[str]) -> Head:
    body = found.end()
    if pattern.kind is HeadKind.JSON:
        body = found.string.index("{", found.start())
    elif pattern.kind in {HeadKind.PYTHON, HeadKind.BUILTIN}:
        body -= 1
    name = found.groupdict().get("name") or ""
    return Head(pattern.kind, name, body, opens_list=found[0].startswith("["))


def _by_first(patterns: Iterable[_Pattern]) -> Patterns:
    table: dict[str, list[_Pattern]] = {}
    for pattern in patterns:
        for first in pattern.firsts:
            table.setdefault(first, []).append(pattern)
    return table


def _pattern(kind: HeadKind, *parts: str, firsts: str = "", needs_declared_name: bool = False) -> _Pattern:
    """Compiles a head.

    Args:
        kind: What it is the head of.
        parts: Regular expressions in sequence, each for one character or a run of alike ones.
        firsts: Characters that the head may begin with, where the first part is not simply one.
        needs_declared_name: See `_Pattern`.
    """
    partial = r"\Z"
    for part in reversed(parts):
        partial = rf"\Z|{part}(?:{partial})"
    whole = "".join(parts)
    return _Pattern(
        kind,
        re.compile(whole),
        re.compile(partial.replace("(?P<name>", "(?:")),
        firsts or parts[0].removeprefix("\\"),
        needs_declared_name,
    )


def _literal(text: str) -> list[str]:
    return [re.escape(character) for character in text]


def _json_patterns(opening: list[str]) -> list[_Pattern]:
    colon = [r"\s*", ":"]
    parameter_keys = ("parameters", "arguments")
    name_first = [*_literal('"name"'), *colon, r"\s*", '"', r'(?P<name>[^"\\]*)', '"']
    keys = [[*_literal('"type"'), *colon, r"\s*", *_literal('"function"')]]
    keys += [[*_literal(f'"{key}"'), *colon] for key in parameter_keys]
    keys += [[*name_first, r"\s*", ",", r"\s*", *_literal(f'"{key}"'), *colon] for key in (*parameter_keys, "type")]
    return [
        _pattern(HeadKind.JSON, *opening, r"\s*", *name_first, needs_declared_name=True),
        *(_pattern(HeadKind.JSON, *opening, r"\s*", *key) for key in keys),
    ]


def _builtin_pattern(name: str) -> _Pattern:
    whole = re.compile(rf"(?P<name>{name})\.call\(")
    partial = _pattern(HeadKind.BUILTIN, *_literal(f"{name}.call(")).partial
    return _Pattern(HeadKind.BUILTIN, whole, partial, name[0])


_PYTHON_TAG = _pattern(HeadKind.PYTHON_TAG, *_literal(builtin.PYTHON_TAG))
_FUNCTION_TAG = _pattern(HeadKind.FUNCTION_TAG, *_literal("<function="), rf"(?P<name>{NAME_PATTERN})", ">")
_NAME = r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)"
_PYTHON_CALL = _pattern(HeadKind.PYTHON, r"\[", r"\s*", _NAME, r"\s*", r"\(")
_LISTED_PYTHON_CALL = _pattern(HeadKind.PYTHON, _NAME, r"\s*", r"\(", firsts=string.ascii_letters + "_")
_BUILTINS = {name: _builtin_pattern(name) for name in builtin.QUERY_TOOLS}
_JSON: tuple[tuple[_Pattern, ...], tuple[_Pattern, ...]] = (
    (),
    (*_json_patterns([r"\{"]), *_json_patterns([r"\[", r"\s*", r"\{"])),
)
_CUSTOM: dict[types_pb2.ToolPromptFormat.ValueType, tuple[tuple[_Pattern, ...], tuple[_Pattern, ...]]] = {
    types_pb2.TOOL_PROMPT_FORMAT_FUNCTION_TAG: ((_FUNCTION_TAG,), ()),
    types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST: ((), (_PYTHON_CALL,)),
}
"""Patterns that count anywhere, and patterns that count at the start of a line, by form; JSON's are the rest."""
