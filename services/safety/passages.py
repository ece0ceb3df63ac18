"""The texts of messages, as shields read them, and the way from a place in such a text to a place in the message.

The pieces of a message's content follow each other without a separator, so they are one text: what is spread over two pieces is found. A
user's `context` is a text of its own; its pieces count on after those of the content. The arguments of a tool call are read twice: as the
JSON text that they are, and string by string as the tool will get them, without escapes to hide behind.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf import json_format

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.safety.texts import Role, Text, View

STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
"""A string in a JSON text; group 1 is what is between the quotes."""
ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.", re.DOTALL)
"""An escape in a JSON string; the two halves of a character count as one."""

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Passage:
    """One text of a message."""

    message_index: int
    """Which message."""
    role: Role
    """Who said it."""
    text: str
    """The text."""
    pieces: Sequence[tuple[int, int]] = ((0, 0),)
    """Each piece's `item_index`, and where it begins in `text`."""
    call_id: str = ""
    """The tool call whose arguments these are, in whole or in part."""
    tool_name: str = ""
    """The tool that is called, or that has answered."""
    source: View | None = None
    """The way from a string in the arguments to the JSON text. None: the text is as it was sent."""

    def as_text(self) -> Text:
        """The text to scan."""
        return Text(self.text, role=self.role, tool_name=self.tool_name)

    def locations(self, start: int, end: int) -> Iterator[results_pb2.ContentLocation]:
        """Yields the place of a finding in the message: one for each piece that it touches.

        Args:
            start: First code point of the finding in `text`.
            end: The code point after its last one.
        """
        if self.source is not None:
            start, end = self.source.span(start, end)
            yield self._location(self.pieces[0][0], start, end)
            return
        begins = [*(begin for _, begin in self.pieces[1:]), len(self.text)]
        for (item_index, begin), behind in zip(self.pieces, begins, strict=True):
            is_empty_here = start == end and begin <= start <= behind
            if is_empty_here or (start < behind and end > begin):
                yield self._location(item_index, max(start, begin) - begin, min(end, behind) - begin)
                if is_empty_here:
                    return

    def _location(self, item_index: int, start: int, end: int) -> results_pb2.ContentLocation:
        return results_pb2.ContentLocation(
            message_index=self.message_index, item_index=item_index, start=start, end=end, call_id=self.call_id
        )


def role_of(message: types_pb2.Message) -> Role:
    """Who said a message."""
    return Role(message.WhichOneof("role") or Role.USER)


def items_of(message: types_pb2.Message) -> list[types_pb2.InterleavedContentItem]:
    """The pieces of a message by `item_index`; a user's context counts on after the content."""
    match message.WhichOneof("role"):
        case "user":
            return [*message.user.content.items, *message.user.context.items]
        case "tool":
            return list(message.tool.content.items)
        case "assistant":
            return list(message.assistant.content.items)
        case _:
            return list(message.system.content.items)


def passages(messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Iterator[Passage]:
    """Yields the texts of messages.

    Args:
        messages: The conversation.
        judged: Indices of the messages to read.
    """
    for index in judged:
        message = messages[index]
        role, items = role_of(message), items_of(message)
        content = len(message.user.content.items) if role is Role.USER else len(items)
        for first, pieces in ((0, items[:content]), (content, items[content:])):
            passage = _joined(index, role, pieces, first, message.tool.tool_name)
            if passage is not None:
                yield passage
        for place, call in enumerate(message.assistant.tool_calls):
            yield from _arguments(index, place, call)


def arguments_text(call: types_pb2.ToolCall) -> str:
    """The JSON text of a call's arguments."""
    if call.arguments_json:
        return call.arguments_json
    return json.dumps(json_format.MessageToDict(call.arguments), ensure_ascii=False)


def call_name(call: types_pb2.ToolCall, place: int) -> str:
    """What a location calls a tool call: its identifier, or its place among the message's calls."""
    return call.call_id or f"tool_calls[{place}]"


def _joined(
    index: int, role: Role, items: Sequence[types_pb2.InterleavedContentItem], first: int, tool_name: str
) -> Passage | None:
    pieces: list[tuple[int, int]] = []
    length = 0
    for place, item in enumerate(items):
        if item.text:
            pieces.append((first + place, length))
            length += len(item.text)
    if not pieces:
        return None
    return Passage(index, role, "".join(item.text for item in items), pieces, tool_name=tool_name)


def _arguments(index: int, place: int, call: types_pb2.ToolCall) -> Iterator[Passage]:
    text, call_id = arguments_text(call), call_name(call, place)
    pieces = ((place, 0),)
    yield Passage(index, Role.ASSISTANT, text, pieces, call_id, call.tool_name)
    for found in STRING.finditer(text):
        if found.group(1):
            view = _decoded(found.group(1), found.start(1))
            yield Passage(index, Role.ASSISTANT, view.text, pieces, call_id, call.tool_name, view)


def _decoded(raw: str, at: int) -> View:
    """A string of a JSON text as its reader gets it, with the way back."""
    pieces: list[str] = []
    starts, original_starts = [], []
    made = behind = 0
    for escape in ESCAPE.finditer(raw):
        for piece, place in ((raw[behind : escape.start()], behind), (_unescaped(escape.group()), escape.start())):
            if piece:
                pieces.append(piece)
                starts.append(made)
                original_starts.append(at + place)
                made += len(piece)
        behind = escape.end()
    if behind < len(raw):
        pieces.append(raw[behind:])
        starts.append(made)
        original_starts.append(at + behind)
    return View("".join(pieces), starts, [*original_starts, at + len(raw)])


def _unescaped(escape: str) -> str:
    try:
        decoded: str = json.loads(f'"{escape}"')
    except ValueError:
        return escape
    return _SURROGATE.sub("\ufffd", decoded)
