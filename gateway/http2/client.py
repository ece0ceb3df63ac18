"""The client's end of a connection: we open streams on a replica."""

import asyncio
from collections.abc import Callable

from gateway.http2 import frames
from gateway.http2.connection import MAX_FRAME, MAX_HEADER_LIST, STREAM_WINDOW, Connection, Stream
from gateway.http2.frames import ConnectionFault, ErrorCode
from gateway.http2.hpack import Headers


class ClientConnection(Connection):
    """A connection to a replica."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_unusable: "Callable[[ClientConnection], None]") -> None:
        """Makes a connection.

        Args:
            loop: Event loop that it runs on.
            on_unusable: Told when no more streams can be opened: the connection is lost or the replica sends us away.
        """
        super().__init__(loop)
        self._on_unusable = on_unusable
        self.ready: asyncio.Future[bool] = loop.create_future()
        """Whether the connection is of use: known when the replica has told its limits, or is gone."""
        self._next_stream = 1
        self._leaving = False

    def greet(self) -> None:
        """Sends the preface and the settings."""
        values = (
            (frames.SETTINGS_ENABLE_PUSH, 0),
            (frames.SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (frames.SETTINGS_MAX_FRAME_SIZE, MAX_FRAME),
            (frames.SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST),
        )
        self.emit(frames.PREFACE + frames.settings(values))

    def settled(self) -> None:
        """Lets streams be opened."""
        if not self.ready.done():
            self.ready.set_result(True)

    def has_room(self) -> bool:
        """Tells whether a stream can be opened now."""
        return not (self.closed or self._leaving) and len(self.streams) < self.peer_max_streams

    def open(self, headers: Headers, *, end: bool) -> Stream:
        """Opens a stream; `has_room` must be true."""
        stream = Stream(self, self._next_stream, self._peer_stream_window)
        self._next_stream += 2
        self.streams[stream.id] = stream
        self.emit_headers(stream, headers, end=end)
        if self._next_stream >= frames.LARGEST_STREAM_ID:
            self._leave()
        return stream

    def headers_received(self, stream_id: int, headers: Headers | None, *, end: bool) -> None:
        """Gives headers or trailers to the stream's owner."""
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on an idle stream")
            return
        if stream.remote_done or headers is None:
            self._break(stream, ErrorCode.PROTOCOL_ERROR)
            return
        if end:
            stream.remote_done = True
        stream.on_headers(headers, end)
        if end and stream.local_done:
            self.streams.pop(stream_id, None)

    def is_idle(self, stream_id: int) -> bool:
        """Tells whether we never opened the stream."""
        return stream_id >= self._next_stream or stream_id % 2 == 0

    def went_away(self, last_stream_id: int, code: int) -> None:
        """Opens no more streams; those that the replica did not handle are given back as refused."""
        del code
        self._leave()
        for stream in [stream for stream in self.streams.values() if stream.id > last_stream_id]:
            self.streams.pop(stream.id, None)
            stream.local_done = stream.remote_done = True
            stream.on_reset(ErrorCode.REFUSED_STREAM)
        self.close_when_done()

    def close_when_done(self) -> None:
        """Closes the connection once its last stream has ended."""
        self._leave()
        if self.closed:
            return
        if self.streams:
            self._loop.call_later(0.5, self.close_when_done)
        else:
            self.abandon(ErrorCode.NO_ERROR)

    def lost(self) -> None:
        """Tells that the connection is gone."""
        if not self.ready.done():
            self.ready.set_result(False)
        self._leave()

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            self._on_unusable(self)
