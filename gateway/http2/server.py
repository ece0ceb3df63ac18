"""The server's end of a connection: clients open streams on it."""

import asyncio
from collections.abc import Callable

from gateway.http2 import frames
from gateway.http2.connection import MAX_FRAME, MAX_HEADER_LIST, STREAM_WINDOW, Connection, Stream
from gateway.http2.frames import ConnectionFault, ErrorCode
from gateway.http2.hpack import Headers

_PREFACE_SECONDS = 10.0
_MAX_STREAMS = 20_000

Accept = Callable[[Stream, Headers | None, bool], None]
"""Takes a new stream: the stream, its headers (None: they are too large) and whether the request is complete with them."""


class ServerConnection(Connection):
    """A client's connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, accept: Accept, connections: "set[ServerConnection]") -> None:
        """Makes a connection.

        Args:
            loop: Event loop that it runs on.
            accept: Takes each new stream.
            connections: Holds this connection for as long as it is open.
        """
        super().__init__(loop)
        self._accept = accept
        self._connections = connections
        self._last_stream = 0
        self._refuse_above = frames.LARGEST_STREAM_ID
        self._impatience: asyncio.TimerHandle | None = None

    def greet(self) -> None:
        """Sends the settings, and waits a while for the client's preface."""
        self._connections.add(self)
        self._impatience = self._loop.call_later(_PREFACE_SECONDS, self._give_up)
        self.emit(
            frames.settings(
                (
                    (frames.SETTINGS_MAX_CONCURRENT_STREAMS, _MAX_STREAMS),
                    (frames.SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW),
                    (frames.SETTINGS_MAX_FRAME_SIZE, MAX_FRAME),
                    (frames.SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST),
                )
            )
        )

    def strip_preface(self, data: bytes) -> bytes | None:
        """Takes the client's preface off, or ends the connection if it is something else, for instance HTTP/1."""
        if self._impatience is None:
            return data
        if not data.startswith(frames.PREFACE):
            if frames.PREFACE.startswith(data):
                return None
            raise ConnectionFault(ErrorCode.HTTP_1_1_REQUIRED, "this port speaks HTTP/2 (gRPC) only")
        self._impatience.cancel()
        self._impatience = None
        return data[len(frames.PREFACE) :]

    def headers_received(self, stream_id: int, headers: Headers | None, *, end: bool) -> None:
        """Opens a stream, or ends the request of one by trailers."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            if stream.remote_done or not end:
                self._break(stream, ErrorCode.PROTOCOL_ERROR)
                return
            stream.remote_done = True
            stream.on_data(b"", True)
            if stream.local_done:
                self.streams.pop(stream_id, None)
            return
        if stream_id % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client's stream has an odd number")
        if stream_id <= self._last_stream:
            return  # trailers that crossed our reset
        self._last_stream = stream_id
        if stream_id > self._refuse_above or len(self.streams) >= _MAX_STREAMS:
            self.emit(frames.rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
            return
        stream = Stream(self, stream_id, self._peer_stream_window)
        stream.remote_done = end
        self.streams[stream_id] = stream
        self._accept(stream, headers, end)

    def last_peer_stream(self) -> int:
        """Returns the highest stream that the client opened."""
        return self._last_stream

    def is_idle(self, stream_id: int) -> bool:
        """Tells whether the client never opened the stream."""
        return stream_id > self._last_stream

    def lost(self) -> None:
        """Forgets the connection."""
        if self._impatience is not None:
            self._impatience.cancel()
        self._connections.discard(self)

    def announce_shutdown(self) -> None:
        """Asks the client to open streams elsewhere; those under way to us are still taken."""
        self.emit(frames.goaway(frames.LARGEST_STREAM_ID, ErrorCode.NO_ERROR))

    def refuse_new_streams(self) -> None:
        """Takes no more streams; a client may send refused ones elsewhere, they have had no effect."""
        self._refuse_above = self._last_stream
        self.emit(frames.goaway(self._last_stream, ErrorCode.NO_ERROR))

    def close_now(self) -> None:
        """Closes the connection after what has been written."""
        self.abandon(ErrorCode.NO_ERROR)

    def _ended(self, stream: Stream) -> None:
        super()._ended(stream)
        if not stream.remote_done:
            # The answer is complete; the rest of the request is of no use (RFC 9113, section 8.1).
            stream.reset(ErrorCode.NO_ERROR)

    def _give_up(self) -> None:
        self.abandon(ErrorCode.PROTOCOL_ERROR, "no preface")
