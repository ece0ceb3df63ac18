import pytest

from services.inference.providers.remote_openai.sse import Event, EventDecoder, EventTooLargeError

STREAM = (
    b': a comment\n\ndata: {"a": 1}\n\nevent: error\r\ndata: one\r\ndata: two\r\n\r\nid: 7\nretry: 10\n\n'
    b"data:tight\r\rdata: \xe2\x80\xa8line separator\xc2\x85\n\n"
)
EVENTS = [
    Event("message", b'{"a": 1}'),
    Event("error", b"one\ntwo"),
    Event("message", b"tight"),
    Event("message", b"\xe2\x80\xa8line separator\xc2\x85"),
]


def read(chunks: list[bytes]) -> list[Event]:
    decoder = EventDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


def test_events_are_found_wherever_the_bytes_are_cut():
    for cut in range(len(STREAM) + 1):
        assert read([STREAM[:cut], STREAM[cut:]]) == EVENTS
    assert read([STREAM[at : at + 1] for at in range(len(STREAM))]) == EVENTS


def test_several_events_in_one_chunk_come_at_once():
    assert EventDecoder().feed(b"data: 1\n\ndata: 2\n\n") == [Event("message", b"1"), Event("message", b"2")]


def test_a_last_event_without_its_empty_line_counts():
    assert read([b"data: [DONE]\n"]) == [Event("message", b"[DONE]")]
    assert read([b"data: [DONE]\r"]) == [Event("message", b"[DONE]")]


def test_a_line_that_breaks_off_does_not_count():
    assert read([b'data: {"a": 1}\n\ndata: {"tru']) == [Event("message", b'{"a": 1}')]


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 100, b"data: xxxxxxxxxx\n" * 10])
def test_an_endless_event_is_refused(chunk: bytes):
    with pytest.raises(EventTooLargeError):
        EventDecoder(largest=50).feed(chunk)
