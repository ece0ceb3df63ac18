"""Arguments of a Python call whose values are literals, read without evaluating anything.

`ast` would do for the values, but its parser recurses as deep as the text nests, refuses names that are keywords (`from="Rome"`) or hold a
dash, and reads JSON's escapes differently.
"""

import math
import re
from collections.abc import Iterator

from services.inference.tool_calls.json_values import MAX_DEPTH, JsonObject, JsonValue
from services.inference.tool_calls.schema import NAME_PATTERN

_TOKEN = re.compile(
    r"""
    (?P<string>
        \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
      | '''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
      | "[^"\\]*(?:\\.[^"\\]*)*"
      | '[^'\\]*(?:\\.[^'\\]*)*'
    )
  | (?P<number> [+-]?\.?[0-9][0-9a-zA-Z_.]*(?:(?<=[eE])[+-][0-9]+)? )
  | (?P<name> """
    + NAME_PATTERN
    + r""" )
  | (?P<mark> \*\*|[\[\](){},:=] )
    """,
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_CONSTANTS: dict[str, JsonValue] = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    "None": None,
    "null": None,
}
_ESCAPE = re.compile(r"""\\(\r?\n|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[\\'"abfnrtv/])""")
_SIMPLE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse_arguments(text: str) -> JsonObject:
    """Reads `a="x", n=1, more=[{"k": None}]`: what stands between the parentheses of a call.

    JSON's `true`, `false` and `null` count as constants, tuples as lists. Names may be any that the contract allows for parameters;
    `**{...}` gives others. Line ends within strings are kept.

    Args:
        text: The arguments, nested at most `MAX_DEPTH` levels deep.

    Returns:
        The values by name.

    Raises:
        ValueError: The text is something else: positional arguments, other calls, names of variables, unfinished.
    """
    return _Parser(text).arguments()


class _Parser:
    """A recursive descent over tokens; its depth is bounded."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._kind, self._next = next(self._tokens)

    def arguments(self) -> JsonObject:
        result: JsonObject = {}
        while self._kind != "end":
            for name, value in self._argument():
                if name in result:
                    raise _unexpected(f"a second {name!r}")
                result[name] = value
            if self._kind != "end":
                self._expect(",")
        return result

    def _argument(self) -> list[tuple[str, JsonValue]]:
        if self._accept("**"):
            values = self._value(1)
            if not isinstance(values, dict):
                raise _unexpected("** without a dict")
            return list(values.items())
        if self._kind != "name":
            raise _unexpected(self._next)
        name = self._advance()
        self._expect("=")
        return [(name, self._value(1))]

    def _value(self, depth: int) -> JsonValue:
        if depth > MAX_DEPTH:
            raise _unexpected("deeper nesting")
        if self._kind == "string":
            return _string(self._advance())
        if self._kind == "number":
            return _number(self._advance())
        if self._kind == "name" and self._next in _CONSTANTS:
            return _CONSTANTS[self._advance()]
        if self._accept("["):
            return self._items("]", depth)[0]
        if self._accept("("):
            items, has_comma = self._items(")", depth)
            return items[0] if len(items) == 1 and not has_comma else items
        if self._accept("{"):
            return self._entries(depth)
        raise _unexpected(self._next)

    def _items(self, closer: str, depth: int) -> tuple[list[JsonValue], bool]:
        items: list[JsonValue] = []
        has_comma = False
        while not self._accept(closer):
            items.append(self._value(depth + 1))
            if self._next != closer:
                self._expect(",")
                has_comma = True
        return items, has_comma

    def _entries(self, depth: int) -> JsonObject:
        entries: JsonObject = {}
        while not self._accept("}"):
            if self._kind != "string":
                raise _unexpected(self._next)
            key = _string(self._advance())
            self._expect(":")
            entries[key] = self._value(depth + 1)
            if self._next != "}":
                self._expect(",")
        return entries

    def _advance(self) -> str:
        token = self._next
        self._kind, self._next = next(self._tokens)
        return token

    def _accept(self, mark: str) -> bool:
        found = self._kind == "mark" and self._next == mark
        if found:
            self._advance()
        return found

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            raise _unexpected(self._next)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while True:
        space = _SPACE.match(text, position)
        position = space.end() if space else position
        if position == len(text):
            break
        token = _TOKEN.match(text, position)
        if token is None or token.lastgroup is None:
            raise _unexpected(text[position])
        position = token.end()
        yield token.lastgroup, token[0]
    while True:
        yield "end", ""


def _string(token: str) -> str:
    quote = token[:3] if token.startswith(('"""', "'''")) and len(token) >= 6 else token[0]
    body = token[len(quote) : -len(quote)]
    if "\\" not in body:
        return body
    unescaped = _ESCAPE.sub(lambda escape: _unescape(escape[1], quote), body)
    # JSON writes letters beyond U+FFFF as two escapes.
    return unescaped.encode("utf-16", "surrogatepass").decode("utf-16")


def _unescape(code: str, quote: str) -> str:
    if code in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[code]
    if code[0] in "xuU":
        return chr(int(code[1:], 16))
    if code[0].isdigit():
        return chr(int(code, 8))
    if code == "/":
        # JSON strings escape it, and look like Python's double-quoted ones.
        return "/" if quote == '"' else "\\/"
    return "" if code[-1] == "\n" else code


def _number(token: str) -> int | float:
    try:
        return int(token, 0)
    except ValueError:
        number = float(token)
    if not math.isfinite(number):
        raise _unexpected(token)
    return number


def _unexpected(token: str) -> ValueError:
    return ValueError(f"unexpected {token!r}")
