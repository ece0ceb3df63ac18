"""Server-sent events out of a stream of bytes.

Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Lines end at CR, LF or CRLF
and nowhere else; JSON may hold U+2028 and its like unescaped.
"""

from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass

LARGEST_EVENT = 32 << 20
"""Most bytes of one event."""


class EventTooLargeError(ValueError):
    """An event is larger than `LARGEST_EVENT`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    name: str
    """What it is; `message` when the server does not say."""
    data: bytes
    """What it holds, UTF-8."""


class EventDecoder:
    """Finds the events in chunks of bytes, wherever these are cut."""

    def __init__(self, largest: int = LARGEST_EVENT) -> None:
        """Starts before the first byte.

        Args:
            largest: Most bytes of one event.
        """
        self._largest = largest
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Takes a chunk and returns the events that it completes.

        Raises:
            EventTooLargeError: An event is too large.
        """
        lines = (self._rest + chunk).splitlines(keepends=True)
        # A CR at the very end may be half of a CRLF.
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        events = [event for line in lines if (event := self._line(line.rstrip(b"\r\n"))) is not None]
        if self._size + len(self._rest) > self._largest:
            message = f"an event is larger than {self._largest} bytes"
            raise EventTooLargeError(message)
        return events

    def finish(self) -> list[Event]:
        """Returns the event that the end of the stream completes: some servers leave out the last empty line."""
        last = self._line(self._rest.rstrip(b"\r")) if self._rest.endswith(b"\r") else None
        self._rest = b""
        return [event for event in (last, self._dispatch()) if event is not None]

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value)
        elif name == b"event":
            self._name = value.decode(errors="replace")
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name or "message", b"\n".join(self._data)) if self._data else None
        self._name, self._data, self._size = "", [], 0
        return event


async def events(chunks: AsyncIterable[bytes]) -> AsyncGenerator[Event, None]:
    """Reads the events of a stream.

    Raises:
        EventTooLargeError: An event is too large.
    """
    decoder = EventDecoder()
    async for chunk in chunks:
        for event in decoder.feed(chunk):
            yield event
    for event in decoder.finish():
        yield event
