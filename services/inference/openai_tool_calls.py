"""Tool calls in a server's answer, whole or in fragments."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from caravan.types.v1 import types_pb2
from services.inference.tool_calls import json_values
from services.inference.tool_calls.calls import make_call, new_call_id
from services.inference.tool_calls.json_values import JsonObject, JsonValue

_Delta = types_pb2.ToolCallDelta


@dataclass(slots=True)
class RawCall:
    """A call as the server sent it so far."""

    key: JsonValue
    """What the server tells its calls apart by."""
    call_id: str = ""
    """Identifier; empty when the server gives none."""
    name: str = ""
    """Name of the tool."""
    fragments: list[str] = field(default_factory=list)
    """Text of the arguments, in pieces."""
    shown: int = -1
    """Number of fragments that went out; -1 before the call was announced."""

    @property
    def arguments(self) -> str:
        """Text of the arguments so far."""
        return "".join(self.fragments)

    @property
    def text(self) -> str:
        """The call as text, for when it is no valid one."""
        return f'{{"name": {json_values.dumps(self.name)}, "arguments": {self.arguments or "{}"}}}'

    def add(self, fragment: JsonObject) -> None:
        """Takes in one of OpenAI's tool call objects, whole or a fragment."""
        function = fragment.get("function")
        function = function if isinstance(function, dict) else {}
        call_id, name, arguments = fragment.get("id"), function.get("name"), function.get("arguments")
        if isinstance(call_id, str):
            self.call_id = self.call_id or call_id
        if isinstance(name, str):
            self.name = self.name or name
        if isinstance(arguments, dict):
            # TGI sends an object where OpenAI sends its text.
            arguments = json_values.dumps(arguments)
        if isinstance(arguments, str) and arguments:
            self.fragments.append(arguments)

    def parsed_arguments(self) -> JsonObject | None:
        """The arguments; None when the text is not that of a JSON object, or yet incomplete."""
        text = self.arguments
        if not text.strip():
            return {}
        try:
            arguments = json_values.loads(text)
            too_deep = json_values.depth(arguments) > json_values.MAX_DEPTH
            # Half a surrogate pair (an escape like \ud83d) is valid JSON and no valid text.
            json_values.dumps(arguments).encode()
        except (ValueError, RecursionError):
            return None
        return arguments if isinstance(arguments, dict) and not too_deep else None

    def to_call(
        self, declared: Collection[str], new_id: Callable[[], str], *, cut: bool = False
    ) -> types_pb2.ToolCall | None:
        """The call; None when its arguments are invalid or nobody declared its tool.

        Args:
            declared: Names of the tools that may be called.
            new_id: Makes an identifier for a call without.
            cut: The answer broke off in this call: arguments that are missing are no empty ones.
        """
        arguments = self.parsed_arguments()
        if arguments is None or self.name not in declared or (cut and not self.arguments.strip()):
            return None
        return make_call(self.call_id or new_id(), self.name, arguments)


def read_calls(
    sent: Sequence[JsonObject],
    declared: Collection[str],
    *,
    cut: bool = False,
    new_id: Callable[[], str] = new_call_id,
) -> tuple[list[types_pb2.ToolCall], list[str]]:
    """Reads the tool calls of a whole answer.

    Args:
        sent: OpenAI's tool call objects.
        declared: Names of the tools that may be called.
        cut: The answer broke off, out of tokens.
        new_id: Makes an identifier for a call without.

    Returns:
        The valid calls, and the text of each of the others.
    """
    calls: list[types_pb2.ToolCall] = []
    texts: list[str] = []
    for position, item in enumerate(sent):
        raw = RawCall(position)
        raw.add(item)
        call = raw.to_call(declared, new_id, cut=cut and position == len(sent) - 1)
        if call is None:
            texts.append(raw.text)
        else:
            calls.append(call)
    return calls, texts


class ToolCallStream:
    """Puts the tool calls of a stream together and tells how each is getting on, one after the other.

    Fragments carry no identifier in our stream, so those of a later call wait until the one before is whole.
    """

    def __init__(self, declared: Collection[str], new_id: Callable[[], str] = new_call_id) -> None:
        """Starts before the first fragment.

        Args:
            declared: Names of the tools that may be called.
            new_id: Makes an identifier for a call without.
        """
        self._declared = declared
        self._new_id = new_id
        self._waiting: deque[RawCall] = deque()
        self._current: dict[JsonValue, RawCall] = {}
        self.succeeded = 0
        """Number of valid calls so far."""

    def feed(self, fragments: Sequence[JsonObject]) -> list[types_pb2.ToolCallDelta]:
        """Takes the tool call objects of one chunk and returns what is new."""
        for position, fragment in enumerate(fragments):
            self._call_of(fragment, position).add(fragment)
        return self._advance(ended=False)

    def finish(self, *, cut: bool = False) -> list[types_pb2.ToolCallDelta]:
        """Ends the calls that are still open and returns what is new.

        Args:
            cut: The answer broke off, out of tokens.
        """
        return self._advance(ended=True, cut=cut)

    def _call_of(self, fragment: JsonObject, position: int) -> RawCall:
        """The call that a fragment belongs to: the one of its index, unless it names another id and a function anew."""
        call_id, index = fragment.get("id"), fragment.get("index")
        key = index if isinstance(index, int) else (call_id if isinstance(call_id, str) and call_id else position)
        known = self._current.get(key)
        function = fragment.get("function")
        named = isinstance(function, dict) and bool(function.get("name"))
        if known is not None and not (named and call_id and known.call_id and call_id != known.call_id):
            return known
        call = RawCall(key)
        self._current[key] = call
        self._waiting.append(call)
        return call

    def _advance(self, *, ended: bool, cut: bool = False) -> list[types_pb2.ToolCallDelta]:
        deltas: list[types_pb2.ToolCallDelta] = []
        while self._waiting:
            first = self._waiting[0]
            deltas += _progress(first)
            if not ended and (len(self._waiting) == 1 or first.parsed_arguments() is None):
                break
            self._waiting.popleft()
            deltas.append(self._result(first, cut=cut and not self._waiting))
        return deltas

    def _result(self, raw: RawCall, *, cut: bool) -> types_pb2.ToolCallDelta:
        call = raw.to_call(self._declared, self._new_id, cut=cut)
        if call is None:
            return _Delta(text=raw.text, parse_status=types_pb2.TOOL_CALL_PARSE_STATUS_FAILED)
        self.succeeded += 1
        return _Delta(tool_call=call, parse_status=types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED)


def _progress(raw: RawCall) -> list[types_pb2.ToolCallDelta]:
    deltas: list[types_pb2.ToolCallDelta] = []
    if raw.shown < 0:
        deltas.append(_Delta(text="", parse_status=types_pb2.TOOL_CALL_PARSE_STATUS_STARTED))
        raw.shown = 0
    new = "".join(raw.fragments[raw.shown :])
    if new:
        deltas.append(_Delta(text=new, parse_status=types_pb2.TOOL_CALL_PARSE_STATUS_IN_PROGRESS))
        raw.shown = len(raw.fragments)
    return deltas
