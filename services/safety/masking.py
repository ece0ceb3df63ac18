"""Messages with what was found in them replaced."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf import json_format

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.safety.passages import ESCAPE, STRING, arguments_text, items_of

_LITERAL = re.compile(STRING.pattern + r"|-?\d[\d.eE+-]*", re.DOTALL)
"""A string or a number in a JSON text."""


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """A place of a text, and what stands in for it."""

    start: int
    """Its first code point."""
    end: int
    """The code point after its last one."""
    replacement: str
    """What stands in."""


def masked_messages(
    messages: Sequence[types_pb2.Message], findings: Iterable[results_pb2.ShieldFinding]
) -> list[types_pb2.Message]:
    """Replaces what findings have a replacement for.

    Args:
        messages: The messages.
        findings: What was found in them, by one shield or by several.

    Returns:
        Copies of the messages, all of them; empty when nothing is replaced.
    """
    edits: defaultdict[tuple[int, int, bool], list[Edit]] = defaultdict(list)
    for finding in findings:
        if finding.HasField("replacement") and finding.HasField("location"):
            place = finding.location
            edit = Edit(place.start, place.end, finding.replacement)
            edits[place.message_index, place.item_index, bool(place.call_id)].append(edit)
    if not edits:
        return []
    masked = [types_pb2.Message.FromString(message.SerializeToString()) for message in messages]
    for (message_index, item_index, in_call), wanted in edits.items():
        if in_call:
            _mask_call(masked[message_index].assistant.tool_calls[item_index], wanted)
        else:
            item = items_of(masked[message_index])[item_index]
            item.text = apply(item.text, wanted)
    return masked


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Returns a text with places replaced. Of places that overlap the first one's replacement stands in for all of them."""
    pieces: list[str] = []
    behind = 0
    for edit in _merged(edits):
        pieces += (text[behind : edit.start], edit.replacement)
        behind = edit.end
    return "".join((*pieces, text[behind:]))


def _merged(edits: Iterable[Edit]) -> Iterator[Edit]:
    current: Edit | None = None
    for edit in sorted(edits):
        if current is not None and edit.start < current.end:
            current = Edit(current.start, max(current.end, edit.end), current.replacement)
            continue
        if current is not None:
            yield current
        current = edit
    if current is not None:
        yield current


def _mask_call(call: types_pb2.ToolCall, edits: list[Edit]) -> None:
    given = arguments_text(call)
    text = apply(given, _within_literals(given, edits))
    call.arguments_json = text
    call.arguments.Clear()
    try:
        json_format.Parse(text, call.arguments)
    except json_format.ParseError:
        # It was no JSON object before either: the text alone counts.
        call.arguments.Clear()


def _within_literals(text: str, edits: Iterable[Edit]) -> Iterator[Edit]:
    """Yields edits that leave a JSON text one: the parts of the given ones that are in strings and numbers, a whole number at a time."""
    literals = [found.span(1) if found.group(1) is not None else found.span() for found in _LITERAL.finditer(text)]
    for edit in _merged(edits):
        replacement = edit.replacement
        for begin, behind in literals:
            if begin >= edit.end or behind <= edit.start:
                continue
            if text[begin - 1 : begin] == '"' and text[behind : behind + 1] == '"':
                start, end = _whole_escapes(text, begin, behind, edit)
                yield Edit(start, end, json.dumps(replacement, ensure_ascii=False)[1:-1])
            else:
                yield Edit(begin, behind, json.dumps(replacement, ensure_ascii=False))
            # What reaches over several literals is replaced once, and taken out of the others.
            replacement = ""


def _whole_escapes(text: str, begin: int, behind: int, edit: Edit) -> tuple[int, int]:
    start, end = max(begin, edit.start), min(behind, edit.end)
    for escape in ESCAPE.finditer(text, begin, behind):
        if escape.start() < start < escape.end():
            start = escape.start()
        if escape.start() < end < escape.end():
            end = escape.end()
    return start, end
