"""The server's end against an independent HTTP/2 implementation (h2), and against peers that break the protocol."""

import asyncio
import struct
from contextlib import suppress

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.http2 import frames
from gateway.http2.connection import STREAM_WINDOW
from gateway.http2.frames import ErrorCode
from gateway.http2.server import ServerConnection

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a/b"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
]


class Echo:
    """Sends every stream's data back, with trailers at its end."""

    def __init__(self):
        self.resets = []
        self.streams = {}
        self.hold = False

    def accept(self, stream, headers, end):
        self.streams[stream.id] = stream
        self.headers = headers
        stream.send_headers(((b":status", b"200"), (b"content-type", b"application/grpc")), end=False)
        stream.source = stream

        def on_data(data, finished):
            if self.hold:
                return
            stream.send_data(data, False)
            if finished:
                stream.send_headers(((b"grpc-status", b"0"),), end=True)

        stream.on_data = on_data
        stream.on_reset = lambda code: self.resets.append((stream.id, code))
        if end:
            stream.send_headers(((b"grpc-status", b"0"),), end=True)


class Peer:
    """A client made of h2 over a real socket."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events = []
        self.flush()

    def flush(self):
        self.writer.write(self.h2.data_to_send())

    async def until(self, kind, stream_id=None, acknowledge=True):
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream_id in (None, getattr(event, "stream_id", None)):
                    self.events.remove(event)
                    return event
            data = await asyncio.wait_for(self.reader.read(1 << 16), 5)
            if not data:
                raise ConnectionResetError
            for event in self.h2.receive_data(data):
                self.events.append(event)
                if acknowledge and isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.flush()


@pytest.fixture
async def echo():
    return Echo()


@pytest.fixture
async def port(echo):
    loop = asyncio.get_running_loop()
    connections = set()
    server = await loop.create_server(lambda: ServerConnection(loop, echo.accept, connections), "127.0.0.1", 0)
    server.connections = connections
    yield server.sockets[0].getsockname()[1]
    server.close()
    for connection in list(connections):
        connection.close_now()
    await asyncio.sleep(0)


@pytest.fixture
async def peer(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Peer(reader, writer)
    writer.close()


async def test_data_and_trailers_come_back(peer):
    peer.h2.send_headers(1, HEADERS)
    peer.h2.send_data(1, b"hello", end_stream=True)
    peer.flush()
    assert (await peer.until(h2.events.ResponseReceived)).headers[0] == (":status", "200")
    assert (await peer.until(h2.events.DataReceived)).data == b"hello"
    assert (await peer.until(h2.events.TrailersReceived)).headers == [("grpc-status", "0")]


async def test_padding_is_taken_off(peer):
    peer.h2.send_headers(1, HEADERS)
    peer.h2.send_data(1, b"padded", end_stream=True, pad_length=100)
    peer.flush()
    assert (await peer.until(h2.events.DataReceived)).data == b"padded"


async def test_long_headers_come_in_several_frames(peer, echo):
    peer.h2.send_headers(1, [*HEADERS, ("x-long", "v" * 40_000)], end_stream=True)
    peer.flush()
    await peer.until(h2.events.TrailersReceived)
    assert echo.headers[-1] == (b"x-long", b"v" * 40_000)


async def test_more_than_a_window_flows_in_both_directions(peer):
    peer.h2.send_headers(1, HEADERS)
    total, sent, back = 1_000_000, 0, 0
    while back < total:
        while sent < total and (room := min(peer.h2.local_flow_control_window(1), 16_384, total - sent)) > 0:
            peer.h2.send_data(1, b"z" * room)
            sent += room
        peer.flush()
        back += len((await peer.until(h2.events.DataReceived)).data)
    assert back == total


async def test_a_peer_that_reads_nothing_gets_no_window_for_more(peer, echo):
    echo.hold = True
    peer.h2.send_headers(1, HEADERS)
    peer.flush()
    await peer.until(h2.events.ResponseReceived)
    sent = 0
    while (room := min(peer.h2.local_flow_control_window(1), 16_384)) > 0:
        peer.h2.send_data(1, b"z" * room)
        sent += room
    peer.flush()
    await asyncio.sleep(0.1)
    assert sent == STREAM_WINDOW
    peer.h2.ping(b"12345678")
    peer.flush()
    await peer.until(h2.events.PingAckReceived)
    assert peer.h2.local_flow_control_window(1) == 0


async def test_a_smaller_window_of_the_peer_holds_data_back_until_it_opens(peer):
    peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
    peer.h2.send_headers(1, HEADERS)
    peer.flush()
    await peer.until(h2.events.SettingsAcknowledged)
    peer.h2.send_data(1, b"0123456789abcdef", end_stream=True)
    peer.flush()
    first = await peer.until(h2.events.DataReceived, acknowledge=False)
    assert first.data == b"0123456789"
    peer.h2.increment_flow_control_window(100, 1)
    peer.flush()
    assert (await peer.until(h2.events.DataReceived)).data == b"abcdef"
    await peer.until(h2.events.TrailersReceived)


async def test_a_reset_is_told_to_the_owner(peer, echo):
    peer.h2.send_headers(1, HEADERS)
    peer.h2.reset_stream(1, 8)
    peer.h2.ping(b"12345678")
    peer.flush()
    await peer.until(h2.events.PingAckReceived)
    assert echo.resets == [(1, 8)]


async def test_the_end_of_the_connection_is_told_to_every_owner(peer, echo):
    for stream_id in (1, 3, 5):
        peer.h2.send_headers(stream_id, HEADERS)
    peer.flush()
    await peer.until(h2.events.ResponseReceived, 5)
    peer.writer.close()
    await asyncio.sleep(0.1)
    assert sorted(echo.resets) == [(number, ErrorCode.CONNECTION_LOST) for number in (1, 3, 5)]


# Peers that break the protocol.


async def spoken_to(port, data):
    """What the server says to these bytes after a proper beginning, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(frames.PREFACE + frames.settings(()) + data)
    said = b""
    async with asyncio.timeout(10):
        # What was not read when it closed makes the kernel reset the connection, and that may overtake GOAWAY.
        with suppress(ConnectionResetError):
            while chunk := await reader.read(1 << 16):
                said += chunk
    writer.close()
    return said


def goaway_code(said):
    position = 0
    while position + 9 <= len(said):
        high, low, kind, _, _ = frames.HEAD.unpack_from(said, position)
        length = high << 8 | low
        if kind == frames.GOAWAY:
            return frames.parse_goaway(said[position + 9 : position + 9 + length])[1]
        position += 9 + length
    return None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frames.head(20_000, frames.DATA, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
        (frames.head(1, frames.DATA, 0, 1) + b"x", ErrorCode.PROTOCOL_ERROR),
        (frames.head(4, frames.HEADERS, 0x4, 2) + b"\x83\x86\x84\x84", ErrorCode.PROTOCOL_ERROR),
        (frames.head(1, frames.HEADERS, 0x4, 1) + b"\xff", ErrorCode.COMPRESSION_ERROR),
        (frames.head(1, frames.CONTINUATION, 0x4, 1) + b"\x83", ErrorCode.PROTOCOL_ERROR),
        (frames.head(1, frames.HEADERS, 0, 1) + b"\x83" + frames.ping(bytes(8), ack=False), ErrorCode.PROTOCOL_ERROR),
        (frames.rst_stream(9, 8), ErrorCode.PROTOCOL_ERROR),
        (frames.window_update(0, 0), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.window_update(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.head(5, frames.SETTINGS, 0, 0) + bytes(5), ErrorCode.FRAME_SIZE_ERROR),
        (frames.settings([(4, 2**31)]), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.settings([(5, 1)]), ErrorCode.PROTOCOL_ERROR),
        (frames.head(7, frames.PING, 0, 0) + bytes(7), ErrorCode.PROTOCOL_ERROR),
        (frames.head(0, frames.PUSH_PROMISE, 0, 1), ErrorCode.PROTOCOL_ERROR),
        (frames.head(3, frames.GOAWAY, 0, 0) + bytes(3), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
async def test_a_broken_protocol_ends_the_connection_with_the_code(port, data, code):
    assert goaway_code(await spoken_to(port, data)) == code


@pytest.mark.parametrize(
    "flood",
    [
        frames.ping(bytes(8), ack=False) * 30_000,
        frames.settings(()) * 30_000,
        b"".join(
            frames.head(5, frames.HEADERS, 0x4, number) + b"\x83\x86\x84\x84\x84" + frames.rst_stream(number, 8)
            for number in range(1, 60_000, 2)
        ),
        frames.head(1, frames.HEADERS, 0, 1) + b"\x83" + (frames.head(1, frames.CONTINUATION, 0, 1) + b"\x83") * 200,
    ],
    ids=["ping", "settings", "rapid reset", "continuation"],
)
async def test_a_flood_ends_the_connection(port, flood):
    assert goaway_code(await spoken_to(port, flood)) in (ErrorCode.ENHANCE_YOUR_CALM, None)


async def test_http_1_is_told_what_this_port_speaks(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert b"HTTP/2 (gRPC) only" in await asyncio.wait_for(reader.read(-1), 5)
    writer.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_frames_never_break_the_server(data):
    class Transport:
        closed = False

        def set_write_buffer_limits(self, high):
            pass

        def write(self, data):
            pass

        def get_extra_info(self, name):
            return None

        def close(self):
            self.closed = True

    loop = asyncio.new_event_loop()
    try:
        connection = ServerConnection(loop, Echo().accept, set())
        transport = Transport()
        connection.connection_made(transport)
        connection.data_received(frames.PREFACE + frames.settings(()))
        for _ in range(20):
            payload = data.draw(st.binary(max_size=64))
            kind, flags = data.draw(st.integers(0, 10)), data.draw(st.integers(0, 255))
            frame = frames.head(len(payload), kind, flags, data.draw(st.integers(0, 7))) + payload
            cut = data.draw(st.integers(0, len(frame)))
            connection.data_received(frame[:cut])
            if not transport.closed:
                connection.data_received(frame[cut:])
            if transport.closed:
                break
        connection.connection_lost(None)
        assert not connection.streams
    finally:
        loop.close()


def test_the_head_of_a_frame_is_nine_bytes():
    assert len(frames.head(1, 2, 3, 4)) == frames.HEAD_SIZE == struct.calcsize(">HBBBL")
