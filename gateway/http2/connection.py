"""What both ends of an HTTP/2 connection do: frames, flow control, settings.

Flow control is end to end. A stream's receive window is opened again only for bytes that have left towards the other side
(`Stream.source`), so a reader that is slow holds back its own sender and nobody else, and a stream never holds more than one window of
bytes. The connection's window is opened as soon as bytes arrive: what bounds memory is the sum of the streams' windows.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar, cast

import structlog

from gateway.http2 import frames, hpack
from gateway.http2.frames import ConnectionFault, ErrorCode
from gateway.http2.hpack import Headers

_log = structlog.get_logger(__name__)

_unpack_head = frames.HEAD.unpack_from
_pack_head = frames.HEAD.pack

CONNECTION_WINDOW = 16 << 20
STREAM_WINDOW = 128 << 10
MAX_FRAME = 16_384
MAX_HEADER_LIST = 64 << 10
# A block is bounded before it is decoded: a reference of one byte may stand for a header of four kilobytes.
_MAX_HEADER_BLOCK = 128 << 10
_WRITE_BUFFER_HIGH = 256 << 10
# Frames that cost the peer nothing and us something, in one period; rapid resets and ping floods end here.
_MOST_STRIKES = 20_000
_STRIKE_PERIOD = 10.0


def _ignore(*_: object) -> None:
    pass


class Stream:
    """One stream of a connection: what has been sent and received on it, and who is told of what arrives."""

    __slots__ = (
        "connection",
        "forwarded",
        "id",
        "local_done",
        "on_data",
        "on_headers",
        "on_reset",
        "prepaid",
        "queue",
        "receive_window",
        "remote_done",
        "send_window",
        "source",
        "trailers",
        "unacknowledged",
    )

    def __init__(self, connection: "Connection", stream_id: int, send_window: int) -> None:
        """Makes an open stream; its owner sets the callbacks."""
        self.connection = connection
        self.id = stream_id
        self.send_window = send_window
        self.receive_window = STREAM_WINDOW
        self.unacknowledged = 0
        self.queue: deque[tuple[bytes, bool]] = deque()
        self.trailers: Headers | None = None
        self.local_done = False
        self.remote_done = False
        self.source: Stream | None = None
        """The stream whose bytes are sent here: its window opens as they leave."""
        self.prepaid = 0
        """Bytes among those to be sent for which the source's window was opened before."""
        self.forwarded = 0
        """Bytes of the source that have left."""
        self.on_headers: Callable[[Headers, bool], None] = _ignore
        self.on_data: Callable[[bytes, bool], None] = _ignore
        self.on_reset: Callable[[int], None] = _ignore

    def send_headers(self, headers: Headers, *, end: bool) -> None:
        """Sends headers, or trailers (`end`) after all data that still waits."""
        if self.queue:
            self.trailers = headers
        else:
            self.connection.emit_headers(self, headers, end=end)

    def send_data(self, data: bytes, end: bool) -> None:
        """Sends bytes as soon as the windows allow."""
        self.connection.send_data(self, data, end)

    def reset(self, code: ErrorCode) -> None:
        """Ends the stream at once in both directions; the owner hears no more of it."""
        self.connection.reset(self, code)

    def open_window(self, size: int) -> None:
        """Lets the peer send `size` bytes more."""
        self.unacknowledged += size
        if self.unacknowledged >= STREAM_WINDOW // 2 and not self.remote_done:
            self.connection.emit(frames.window_update(self.id, self.unacknowledged))
            self.receive_window += self.unacknowledged
            self.unacknowledged = 0

    def detach(self) -> None:
        """Stops telling the owner."""
        self.on_headers = self.on_data = self.on_reset = _ignore
        self.source = None


class Connection(asyncio.Protocol):
    """One end of a connection. `ServerConnection` and `ClientConnection` add who opens streams."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes a connection that waits for its transport."""
        self.streams: dict[int, Stream] = {}
        self.closed = False
        self.peer_max_streams = frames.LARGEST_STREAM_ID
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._rest = b""
        self._paused = False
        self._flush_due = False
        self._send_window = frames.DEFAULT_WINDOW
        self._receive_window = CONNECTION_WINDOW
        self._unacknowledged = 0
        self._peer_stream_window = frames.DEFAULT_WINDOW
        self._peer_max_frame = frames.DEFAULT_MAX_FRAME
        self._blocked: dict[int, Stream] = {}
        self._decoder = hpack.HeaderDecoder(MAX_HEADER_LIST)
        self._table_shrunk = False
        self._block: tuple[int, int, list[bytes]] | None = None
        self._settled = False
        self._strikes = 0
        self._strikes_since = time.monotonic()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins to talk."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_HIGH)
        self.greet()
        self.emit(frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends all streams."""
        del exc
        self.closed = True
        self._out.clear()
        streams = list(self.streams.values())
        self.streams.clear()
        self._blocked.clear()
        for stream in streams:
            stream.on_reset(ErrorCode.CONNECTION_LOST)
        self.lost()

    def pause_writing(self) -> None:
        """Keeps data in the streams until the socket takes more."""
        self._paused = True

    def resume_writing(self) -> None:
        """Goes on sending."""
        self._paused = False
        self._pump_blocked()

    def data_received(self, data: bytes) -> None:
        """Handles every complete frame; an incomplete one waits for its rest."""
        try:
            self._receive(data)
        except ConnectionFault as fault:
            _log.info("http2_connection_fault", peer=self.peer(), code=fault.code.name, reason=str(fault))
            self.abandon(fault.code, str(fault))
        except Exception:  # noqa: BLE001 - the outermost edge: a defect ends this connection and no other
            _log.exception("http2_connection_failed", peer=self.peer())
            self.abandon(ErrorCode.INTERNAL_ERROR)

    # What the owner of the connection calls.

    def peer(self) -> str:
        """Returns the address of the other end."""
        address = self._transport.get_extra_info("peername") if self._transport else None
        return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address or "")

    def emit(self, data: bytes) -> None:
        """Writes bytes with all others of this turn of the event loop."""
        self._out.append(data)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def emit_headers(self, stream: Stream, headers: Headers, *, end: bool) -> None:
        """Writes a header block."""
        if self.closed or stream.local_done:
            return
        block = hpack.encode(headers)
        if not self._table_shrunk:
            self._table_shrunk = True
            block = hpack.SHRINK_TABLE + block
        flags = frames.FLAG_END_STREAM if end else 0
        limit = self._peer_max_frame
        if len(block) <= limit:
            self.emit(frames.head(len(block), frames.HEADERS, flags | frames.FLAG_END_HEADERS, stream.id) + block)
        else:
            pieces = [block[start : start + limit] for start in range(0, len(block), limit)]
            self.emit(frames.head(limit, frames.HEADERS, flags, stream.id) + pieces[0])
            for piece in pieces[1:]:
                last = frames.FLAG_END_HEADERS if piece is pieces[-1] else 0
                self.emit(frames.head(len(piece), frames.CONTINUATION, last, stream.id) + piece)
        if end:
            self._ended(stream)

    def send_data(self, stream: Stream, data: bytes, end: bool) -> None:
        """Writes data if every window is open, otherwise keeps it in the stream."""
        size = len(data)
        if (
            stream.queue
            or self._paused
            or size > stream.send_window
            or size > self._send_window
            or size > self._peer_max_frame
            or self.closed
        ):
            if not self.closed and not stream.local_done:
                stream.queue.append((data, end))
                self._pump(stream)
            return
        self._emit_data(stream, data, end)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Ends a stream at once."""
        stream.detach()
        stream.queue.clear()
        if self.streams.pop(stream.id, None) is not None and not self.closed:
            self._blocked.pop(stream.id, None)
            self.emit(frames.rst_stream(stream.id, code))
        stream.local_done = stream.remote_done = True

    def abandon(self, code: ErrorCode, message: str = "") -> None:
        """Tells the peer why, and closes the connection."""
        if self.closed or self._transport is None:
            return
        self.emit(frames.goaway(self.last_peer_stream(), code, message.encode()[:128]))
        self._flush()
        self._transport.close()

    # What the two kinds of connection define.

    def greet(self) -> None:
        """Sends what a connection begins with."""
        raise NotImplementedError

    def strip_preface(self, data: bytes) -> bytes | None:
        """Takes the peer's preface off; None while it is not complete."""
        return data

    def headers_received(self, stream_id: int, headers: Headers | None, *, end: bool) -> None:
        """Handles a header block; None when the list is too large."""
        raise NotImplementedError

    def went_away(self, last_stream_id: int, code: int) -> None:
        """Handles GOAWAY."""

    def settled(self) -> None:
        """Handles the peer's first SETTINGS: from here on its limits are known."""

    def lost(self) -> None:
        """Handles the end of the connection."""

    def last_peer_stream(self) -> int:
        """Returns the highest stream that the peer opened."""
        return 0

    def is_idle(self, stream_id: int) -> bool:
        """Tells whether a stream was never opened."""
        raise NotImplementedError

    # Receiving.

    def _receive(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self._settled:
            stripped = self.strip_preface(data)
            if stripped is None:
                self._rest = data
                return
            data = stripped
        position = 0
        size = len(data)
        while size - position >= frames.HEAD_SIZE:
            high, low, kind, flags, stream_id = _unpack_head(data, position)
            length = high << 8 | low
            if length > MAX_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame too large")
            start = position + frames.HEAD_SIZE
            position = start + length
            if position > size:
                position = start - frames.HEAD_SIZE
                break
            if kind == frames.DATA and self._block is None:
                self._data(stream_id & frames.LARGEST_STREAM_ID, flags, data, start, position)
            else:
                self._frame(kind, flags, stream_id & frames.LARGEST_STREAM_ID, data[start:position])
            if self.closed:
                return
        self._rest = data[position:] if position < size else b""

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block is not complete")
        if not self._settled and kind != frames.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS must come first")
        handler = self._HANDLERS.get(kind)
        if handler is not None:  # unknown frames are ignored
            handler(self, flags, stream_id, payload)

    def _data(self, stream_id: int, flags: int, data: bytes, start: int, end: int) -> None:
        if not self._settled:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS must come first")
        length = end - start
        self._receive_window -= length
        if self._receive_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection window exceeded")
        self._unacknowledged += length
        if self._unacknowledged >= CONNECTION_WINDOW // 2:
            self.emit(frames.window_update(0, self._unacknowledged))
            self._receive_window += self._unacknowledged
            self._unacknowledged = 0
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
            return
        stream.receive_window -= length
        if stream.remote_done or stream.receive_window < 0:
            fault = ErrorCode.STREAM_CLOSED if stream.remote_done else ErrorCode.FLOW_CONTROL_ERROR
            self._break(stream, fault)
            return
        if flags & frames.FLAG_PADDED:
            if length == 0 or data[start] >= length:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
            padding = data[start]
            start += 1
            end -= padding
            stream.open_window(padding + 1)
        finished = bool(flags & frames.FLAG_END_STREAM)
        if start == end and not finished:
            self._strike()
            return
        if finished:
            stream.remote_done = True
        stream.on_data(data[start:end], finished)
        if finished and stream.local_done:
            self.streams.pop(stream_id, None)

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        start, end = 0, len(payload)
        if flags & frames.FLAG_PADDED:
            start, end = 1, end - (payload[0] if payload else 1)
        if flags & frames.FLAG_PRIORITY:
            start += 5
        if start > end or not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "malformed HEADERS")
        block = payload[start:end]
        if flags & frames.FLAG_END_HEADERS:
            self._complete(stream_id, flags, block)
        else:
            self._block = (stream_id, flags, [block])

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        _, first_flags, pieces = self._block
        pieces.append(payload)
        if len(pieces) > 64 or sum(map(len, pieces)) > _MAX_HEADER_BLOCK:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & frames.FLAG_END_HEADERS:
            self._block = None
            self._complete(stream_id, first_flags, b"".join(pieces))

    def _complete(self, stream_id: int, flags: int, block: bytes) -> None:
        headers: Headers | None
        try:
            headers = self._decoder.decode(block)
        except hpack.HeadersTooLargeError:
            headers = None
        self.headers_received(stream_id, headers, end=bool(flags & frames.FLAG_END_STREAM))

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags
        code = frames.parse_u32(payload, of="RST_STREAM")
        if self.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        self._strike()
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._blocked.pop(stream_id, None)
            stream.local_done = stream.remote_done = True
            stream.queue.clear()
            stream.on_reset(code)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or (flags & frames.FLAG_ACK and payload):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "malformed SETTINGS")
        if flags & frames.FLAG_ACK:
            return
        self._strike()
        for identifier, value in frames.parse_settings(payload):
            self._apply(identifier, value)
        if not self._settled:
            self._settled = True
            self.settled()
        self.emit(frames.head(0, frames.SETTINGS, frames.FLAG_ACK, 0))

    def _apply(self, identifier: int, value: int) -> None:
        if identifier == frames.SETTINGS_INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "window too large")
            change = value - self._peer_stream_window
            self._peer_stream_window = value
            for stream in list(self.streams.values()):
                stream.send_window += change
                self._pump(stream)
        elif identifier == frames.SETTINGS_MAX_FRAME_SIZE:
            if not frames.DEFAULT_MAX_FRAME <= value < 1 << 24:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "frame size out of range")
            self._peer_max_frame = min(value, 1 << 16)
        elif identifier == frames.SETTINGS_MAX_CONCURRENT_STREAMS:
            self.peer_max_streams = value

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) != 8:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "malformed PING")
        if not flags & frames.FLAG_ACK:
            self._strike()
            self.emit(frames.ping(payload, ack=True))

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags, stream_id
        self.went_away(*frames.parse_goaway(payload))

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags
        increment = frames.parse_u32(payload, of="WINDOW_UPDATE") & frames.LARGEST_WINDOW
        if stream_id == 0:
            self._send_window += increment
            if not increment or self._send_window > frames.LARGEST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection window out of range")
            if self._blocked:
                self._pump_blocked()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            return
        stream.send_window += increment
        if not increment or stream.send_window > frames.LARGEST_WINDOW:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif stream.queue:
            self._pump(stream)

    def _refuse_push(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags, stream_id, payload
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "server push is off")

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags, stream_id, payload
        self._strike()

    def _strike(self) -> None:
        self._strikes += 1
        if self._strikes > _MOST_STRIKES:
            now = time.monotonic()
            if now - self._strikes_since < _STRIKE_PERIOD:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames")
            self._strikes, self._strikes_since = 0, now

    def _break(self, stream: Stream, code: ErrorCode) -> None:
        """Ends a stream on which the peer broke the protocol, and tells the owner."""
        tell = stream.on_reset
        self.reset(stream, code)
        tell(code)

    # Sending.

    def _emit_data(self, stream: Stream, data: bytes, end: bool) -> None:
        size = len(data)
        stream.send_window -= size
        self._send_window -= size
        out = self._out
        out.append(_pack_head(size >> 8, size & 0xFF, 0, 1 if end else 0, stream.id))
        out.append(data)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        if stream.source is not None:
            stream.forwarded += size
            if stream.prepaid:
                paid = min(size, stream.prepaid)
                stream.prepaid -= paid
                size -= paid
            if size:
                stream.source.open_window(size)
        if end:
            self._ended(stream)

    def _pump(self, stream: Stream) -> None:
        """Sends what waits in a stream as far as the windows allow."""
        queue = stream.queue
        while queue:
            data, end = queue[0]
            room = min(stream.send_window, self._send_window, self._peer_max_frame)
            if self._paused or (data and room <= 0):
                if self._paused or stream.send_window > 0:
                    self._blocked[stream.id] = stream
                return
            if len(data) > room:
                queue[0] = (data[room:], end)
                self._emit_data(stream, data[:room], False)
            else:
                queue.popleft()
                self._emit_data(stream, data, end)
        if stream.trailers is not None:
            trailers, stream.trailers = stream.trailers, None
            self.emit_headers(stream, trailers, end=True)

    def _pump_blocked(self) -> None:
        blocked, self._blocked = self._blocked, {}
        for stream in blocked.values():
            self._pump(stream)
        first = next(iter(blocked), 0)
        if first in self._blocked:
            # It took what there was; next time the others come first.
            self._blocked[first] = self._blocked.pop(first)

    def _ended(self, stream: Stream) -> None:
        stream.local_done = True
        if stream.remote_done:
            self.streams.pop(stream.id, None)

    def _flush(self) -> None:
        self._flush_due = False
        if self._out and not self.closed and self._transport is not None:
            data = b"".join(self._out)
            self._out.clear()
            self._transport.write(data)

    _HANDLERS: ClassVar[dict[int, Callable[["Connection", int, int, bytes], None]]] = {
        frames.HEADERS: _headers,
        frames.PRIORITY: _priority,
        frames.RST_STREAM: _rst_stream,
        frames.SETTINGS: _settings,
        frames.PUSH_PROMISE: _refuse_push,
        frames.PING: _ping,
        frames.GOAWAY: _goaway,
        frames.WINDOW_UPDATE: _window_update,
        frames.CONTINUATION: _continuation,
    }
