"""Events of a streamed answer, written piece by piece."""

from caravan.types.v1 import types_pb2


class EventWriter:
    """Collects deltas; neighbours of one kind become one."""

    def __init__(self) -> None:
        """Starts with nothing written."""
        self._deltas: list[types_pb2.ContentDelta] = []
        self._pieces: list[str] = []
        self._in_call = False
        self._raw: list[str] = []

    def text(self, text: str) -> None:
        """Writes text of the answer."""
        if text:
            self._pieces.append(text)

    def start(self) -> None:
        """Begins a call."""
        self._flush()
        self._in_call = True
        self._raw.clear()
        self._fragment(types_pb2.TOOL_CALL_PARSE_STATUS_STARTED, "")

    def progress(self, text: str) -> None:
        """Writes raw text of the call."""
        if text:
            self._pieces.append(text)
            self._raw.append(text)

    def succeed(self, call: types_pb2.ToolCall) -> None:
        """Ends the call well."""
        self._flush()
        self._in_call = False
        self._append(types_pb2.ToolCallDelta(tool_call=call, parse_status=types_pb2.TOOL_CALL_PARSE_STATUS_SUCCEEDED))

    def fail(self) -> None:
        """Ends the call with its raw text."""
        self._flush()
        self._in_call = False
        self._fragment(types_pb2.TOOL_CALL_PARSE_STATUS_FAILED, "".join(self._raw))

    def take(self) -> list[types_pb2.ContentDelta]:
        """Hands over what was written since the last time."""
        self._flush()
        deltas, self._deltas = self._deltas, []
        return deltas

    def _flush(self) -> None:
        if not self._pieces:
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        if self._in_call:
            self._fragment(types_pb2.TOOL_CALL_PARSE_STATUS_IN_PROGRESS, text)
        else:
            self._deltas.append(types_pb2.ContentDelta(text=text))

    def _fragment(self, status: types_pb2.ToolCallParseStatus.ValueType, text: str) -> None:
        self._append(types_pb2.ToolCallDelta(text=text, parse_status=status))

    def _append(self, delta: types_pb2.ToolCallDelta) -> None:
        self._deltas.append(types_pb2.ContentDelta(tool_call=delta))
