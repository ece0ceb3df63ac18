"""Answers of Llama models taken apart into text and tool calls, whole or while they are generated.

The text must come with special tokens kept (`skip_special_tokens=False`): `<|python_tag|>` announces built-in tools' calls.

What counts as a call:
    json            an object with a function's name, or a list of them, at the start of the answer or of a line, or behind another call
    function_tag    `<function=f>{...}</function>` anywhere
    python_list     `[f(a=1), g()]` at the start of the answer or of a line, or behind another call
    built-in tools  `brave_search.call(query="...")` in the same places; and behind `<|python_tag|>`, where everything else is code for
                    the code interpreter
What has begun as a call but is broken, cut off, or of an undeclared tool has failed: its raw text is all that remains of it.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from caravan.types.v1 import types_pb2
from services.inference.tool_calls import builtin, json_values, schema
from services.inference.tool_calls.calls import NewCallId, make_call, new_call_id
from services.inference.tool_calls.events import EventWriter
from services.inference.tool_calls.heads import Head, HeadKind, Heads, Undecided
from services.inference.tool_calls.json_values import JsonObject
from services.inference.tool_calls.read import (
    NamedArguments,
    read_json_arguments,
    read_json_call,
    read_python_arguments,
)
from services.inference.tool_calls.scan import BracketScanner

_TAG_END = "</function>"
_SPACE = re.compile(r"\s*")
_INDENTATION = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[\s;,]*")
_LINE_END_OR_TAG = re.compile(r"[\n<]")

_Step: TypeAlias = Callable[[str, int], int | None]


class Answer(NamedTuple):
    """An answer taken apart."""

    text: str
    """What is not a call, failed calls included."""
    tool_calls: list[types_pb2.ToolCall]
    """The calls of declared tools, in their order."""


def decode(
    text: str,
    tools: Iterable[types_pb2.ToolDefinition],
    tool_format: types_pb2.ToolPromptFormat.ValueType,
    *,
    stop_reason: types_pb2.StopReason.ValueType = types_pb2.STOP_REASON_UNSPECIFIED,
    call_ids: NewCallId = new_call_id,
) -> Answer:
    """Takes a whole answer apart; any text will do.

    Args:
        text: What the model wrote.
        tools: The tools that were offered.
        tool_format: Form of the calls of custom tools, `Prompt.tool_prompt_format`.
        stop_reason: Why the model stopped; code that ran out of tokens is not run.
        call_ids: Makes the calls' identifiers.
    """
    decoder = StreamDecoder(tools, tool_format, call_ids=call_ids)
    return assemble([*decoder.feed(text), *decoder.finish(stop_reason)])


def assemble(events: Iterable[types_pb2.ContentDelta]) -> Answer:
    """Puts a whole answer together. What had begun as a call and was none is text.

    Args:
        events: All deltas of the answer, in their order.
    """
    texts: list[str] = []
    calls: list[types_pb2.ToolCall] = []
    for event in events:
        if event.HasField("text"):
            texts.append(event.text)
        elif event.tool_call.parse_status == types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED:
            calls.append(event.tool_call.tool_call)
        elif event.tool_call.parse_status == types_pb2.TOOL_CALL_PARSE_STATUS_FAILED:
            texts.append(event.tool_call.text)
    return Answer("".join(texts), calls)


class StreamDecoder:
    """Takes an answer apart while it comes, in pieces of any size.

    Text flows on at once; only what may be the beginning of a call is held back, until one more character tells. Of a call come
    `started`, its raw text in `in_progress` fragments, and `succeeded` with the call or `failed` with all of its raw text. Time is linear
    in the length of the answer.
    """

    def __init__(
        self,
        tools: Iterable[types_pb2.ToolDefinition],
        tool_format: types_pb2.ToolPromptFormat.ValueType,
        *,
        call_ids: NewCallId = new_call_id,
    ) -> None:
        """Starts at the beginning of an answer; see `decode` for the arguments."""
        self._tools = {tool.tool_name: tool for tool in tools}
        self._heads = Heads(self._tools.keys(), tool_format)
        self._call_ids = call_ids
        self._events = EventWriter()
        self._step: _Step = self._gap
        self._held = ""
        # Between calls: white space and separators, which are text only if text follows.
        self._space: list[str] = []
        self._seen_call = False
        self._last_failed = False
        self._at_line_start = True
        # Within a call.
        self._name = ""
        self._body: list[str] = []
        self._scanner = BracketScanner(python=False)
        self._in_list = False
        self._read: Callable[[str, str], NamedArguments] = read_json_arguments

    def feed(self, delta: str) -> list[types_pb2.ContentDelta]:
        """Takes the next piece.

        Args:
            delta: Text that was generated since the last piece.

        Returns:
            What is certain now; often nothing or one delta.
        """
        if self._is_surely_text(delta):
            return [types_pb2.ContentDelta(text=delta)]
        text, position = self._held + delta, 0
        self._held = ""
        while position < len(text):
            reached = self._step(text, position)
            if reached is None:
                self._held = text[position:]
                break
            position = reached
        return self._events.take()

    def finish(
        self, stop_reason: types_pb2.StopReason.ValueType = types_pb2.STOP_REASON_UNSPECIFIED
    ) -> list[types_pb2.ContentDelta]:
        """Ends the answer.

        Args:
            stop_reason: Why it ended; code that ran out of tokens fails.

        Returns:
            What was held back, and the end of a call that had begun.
        """
        held, self._held = self._held, ""
        if self._step == self._text:
            self._events.text(held)
        elif self._step == self._gap:
            self._finish_gap(held)
        elif self._step in {self._code, self._tagged}:
            self._finish_code(held, cut_off=stop_reason == types_pb2.STOP_REASON_OUT_OF_TOKENS)
        else:
            self._finish_call(held)
        return self._events.take()

    def _is_surely_text(self, delta: str) -> bool:
        """Knows most pieces of most answers at a glance: the middle of a line, with nothing in it that a call could begin with."""
        in_line = self._step == self._text and not self._at_line_start and not self._held
        return in_line and bool(delta) and "<" not in delta and "\n" not in delta

    # Text ------------------------------------------------------------------------------------------------------------

    def _text(self, text: str, position: int) -> int | None:
        """Passes text on up to where a call may begin."""
        if self._at_line_start and text[position] in " \t":
            end = _end_of_run(_INDENTATION, text, position)
            self._events.text(text[position:end])
            return end
        patterns = self._heads.at_line_start if self._at_line_start else self._heads.anywhere
        head = self._heads.look(text, position, patterns)
        if isinstance(head, Undecided):
            return None
        if head is not None:
            return self._begin(head, text, position)
        self._at_line_start = text[position] == "\n"
        end = position + 1
        if not self._at_line_start:
            mark = _LINE_END_OR_TAG.search(text, end)
            self._at_line_start = mark is not None and mark[0] == "\n"
            end = len(text) if mark is None else mark.end() if self._at_line_start else mark.start()
        self._events.text(text[position:end])
        return end

    def _gap(self, text: str, position: int) -> int | None:
        """Skips what stands before the first call or behind a call."""
        end = _end_of_run(_SEPARATORS if self._seen_call else _SPACE, text, position)
        if end > position:
            self._space.append(text[position:end])
            return end
        if self._in_list and text[position] == "]":
            self._in_list = False
            return position + 1
        head = self._heads.look(text, position, self._heads.in_list if self._in_list else self._heads.at_line_start)
        if isinstance(head, Undecided):
            return None
        if head is not None:
            self._drop_space()
            return self._begin(head, text, position)
        self._events.text(self._take_space())
        self._in_list = self._at_line_start = False
        self._step = self._text
        return position

    def _finish_gap(self, held: str) -> None:
        if held or not self._seen_call:
            self._events.text(self._take_space() + held)
        self._drop_space()

    def _drop_space(self) -> None:
        """Separators vanish with the calls that they separate; a failed call keeps them, for its text to stay whole."""
        space = self._take_space()
        if self._last_failed:
            self._events.text(space)

    def _take_space(self) -> str:
        space = "".join(self._space)
        self._space.clear()
        return space

    # Calls -----------------------------------------------------------------------------------------------------------

    def _begin(self, head: Head, text: str, position: int) -> int:
        """Enters the body of what a head announces."""
        self._seen_call = True
        if head.kind is HeadKind.PYTHON_TAG:
            self._in_list = False
            self._step = self._tagged
            return head.body
        self._events.start()
        self._events.progress(text[position : head.body])
        self._name = head.name
        self._body.clear()
        # Python calls within a list have no bracket of their own.
        self._in_list = head.opens_list or (self._in_list and head.kind in {HeadKind.PYTHON, HeadKind.JSON})
        self._scanner = BracketScanner(python=head.kind in {HeadKind.PYTHON, HeadKind.BUILTIN})
        self._read = _READERS[head.kind]
        self._step = self._tag_body if head.kind is HeadKind.FUNCTION_TAG else self._bracketed
        return head.body

    def _bracketed(self, text: str, position: int) -> int:
        """Reads up to the bracket that ends the body."""
        end = self._read_body(text, position)
        if self._scanner.is_broken:
            self._fail()
        elif self._scanner.is_done and self._in_list:
            self._step = self._list_end
        elif self._scanner.is_done:
            self._conclude()
        return end

    def _read_body(self, text: str, position: int) -> int:
        end = self._scanner.feed(text, position)
        self._events.progress(text[position:end])
        self._body.append(text[position:end])
        return end

    def _list_end(self, text: str, position: int) -> int:
        """A call in a list is one only if the list goes on or ends behind it."""
        end = _end_of_run(_SPACE, text, position)
        self._space.append(text[position:end])
        if end == len(text):
            return end
        if text[end] == "]":
            self._events.progress(self._take_space() + "]")
            self._in_list = False
            self._conclude()
            return end + 1
        if text[end] == ",":
            self._conclude()
        else:
            self._fail()
        return end

    def _conclude(self) -> None:
        """Makes the call of what was read."""
        self._step = self._gap
        try:
            call = self._call(*self._read(self._name, "".join(self._body)))
        except ValueError:
            self._fail_call()
        else:
            self._last_failed = False
            self._events.succeed(call)

    def _call(self, name: str, arguments: JsonObject) -> types_pb2.ToolCall:
        tool = self._tools.get(name)
        if tool is None or json_values.depth(arguments) > json_values.MAX_DEPTH:
            raise ValueError(name)
        schemas = schema.parameters_schema(tool)["properties"]
        fitting = {key: schema.coerce(value, schemas.get(key)) for key, value in arguments.items()}
        return make_call(self._call_ids(), name, fitting)

    def _fail(self) -> None:
        self._in_list = False
        self._step = self._gap
        self._fail_call()

    def _fail_call(self) -> None:
        self._last_failed = True
        self._events.fail()

    def _finish_call(self, held: str) -> None:
        if self._step == self._list_end or (self._step == self._tag_end and self._body):
            self._events.progress(held)
            self._conclude()
        else:
            self._events.progress(self._take_space() + held)
            self._fail()

    # Function tags ---------------------------------------------------------------------------------------------------

    def _tag_body(self, text: str, position: int) -> int:
        """Looks for the arguments behind `<function=f>`."""
        end = _end_of_run(_SPACE, text, position)
        self._events.progress(text[position:end])
        if end < len(text):
            self._step = self._tag_arguments if text[end] == "{" else self._tag_end
        return end

    def _tag_arguments(self, text: str, position: int) -> int:
        end = self._read_body(text, position)
        if self._scanner.is_broken:
            self._step = self._tag_skip
        elif self._scanner.is_done:
            self._step = self._tag_end
        return end

    def _tag_end(self, text: str, position: int) -> int | None:
        """Takes the end tag. Arguments that are whole count without it, a call without arguments does not."""
        end = _end_of_run(_SPACE, text, position)
        if end > position:
            self._space.append(text[position:end])
            return end
        if text.startswith(_TAG_END, position):
            self._events.progress(self._take_space() + _TAG_END)
            self._conclude()
            return position + len(_TAG_END)
        if _TAG_END.startswith(text[position : position + len(_TAG_END)]):
            return None
        if self._body:
            self._conclude()
        else:
            self._events.progress(self._take_space())
            self._step = self._tag_skip
        return position

    def _tag_skip(self, text: str, position: int) -> int | None:
        """Skips what is no call, up to its end tag."""
        found = text.find(_TAG_END, position)
        end = _start_of_ending(_TAG_END, text, position) if found < 0 else found + len(_TAG_END)
        self._events.progress(text[position:end])
        if found >= 0:
            self._fail()
        return end if end > position else None

    # Behind <|python_tag|> -------------------------------------------------------------------------------------------

    def _tagged(self, text: str, position: int) -> int | None:
        """Tells whether a call or code follows."""
        end = _end_of_run(_SPACE, text, position)
        if end > position:
            self._space.append(text[position:end])
            return end
        head = self._heads.look(text, position, self._heads.after_tag)
        if isinstance(head, Undecided):
            return None
        if head is not None:
            self._space.clear()
            return self._begin(head, text, position)
        self._begin_code()
        return position

    def _begin_code(self) -> None:
        self._step = self._code
        self._body.clear()
        self._events.start()
        self._code_piece(self._take_space())

    def _code(self, text: str, position: int) -> int | None:
        """Reads code up to the next `<|python_tag|>`."""
        found = text.find(builtin.PYTHON_TAG, position)
        end = _start_of_ending(builtin.PYTHON_TAG, text, position) if found < 0 else found
        self._code_piece(text[position:end])
        if found >= 0:
            self._end_code(cut_off=False)
            self._step = self._tagged
            return found + len(builtin.PYTHON_TAG)
        return end if end > position else None

    def _code_piece(self, text: str) -> None:
        self._events.progress(text)
        self._body.append(text)

    def _end_code(self, *, cut_off: bool) -> None:
        if cut_off or builtin.CODE_INTERPRETER not in self._tools:
            self._fail_call()
        else:
            self._last_failed = False
            arguments: JsonObject = {builtin.sole_parameter(builtin.CODE_INTERPRETER): "".join(self._body)}
            self._events.succeed(make_call(self._call_ids(), builtin.CODE_INTERPRETER, arguments))

    def _finish_code(self, held: str, *, cut_off: bool) -> None:
        if self._step == self._tagged:
            if not held:
                return
            self._begin_code()
        self._code_piece(held)
        self._end_code(cut_off=cut_off)


def _end_of_run(characters: re.Pattern[str], text: str, position: int) -> int:
    found = characters.match(text, position)
    return found.end() if found else position


def _start_of_ending(mark: str, text: str, position: int) -> int:
    """Where the longest beginning of `mark` starts with which `text` ends; the text's length when there is none."""
    for length in range(min(len(mark) - 1, len(text) - position), 0, -1):
        if text.endswith(mark[:length]):
            return len(text) - length
    return len(text)


def _read_json(_name: str, text: str) -> NamedArguments:
    return read_json_call(text)


_READERS: dict[HeadKind, Callable[[str, str], NamedArguments]] = {
    HeadKind.JSON: _read_json,
    HeadKind.FUNCTION_TAG: read_json_arguments,
    HeadKind.PYTHON: read_python_arguments,
    HeadKind.BUILTIN: read_python_arguments,
}
