import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from caravan.inference.v1 import inference_pb2
from gateway import wire

texts = st.text(max_size=40)


@st.composite
def chat_requests(draw):
    request = inference_pb2.ChatCompletionRequest(model_id=draw(texts))
    for text in draw(st.lists(texts, max_size=4)):
        request.messages.add().user.content.items.add().text = text
    if draw(st.booleans()):
        request.sampling_params.max_tokens = draw(st.integers(0, 2**32 - 1))
        request.sampling_params.top_p.temperature = draw(st.floats(0, 2, width=32))
    return request


@given(chat_requests(), st.randoms(use_true_random=False))
def test_reads_what_protobuf_reads_whatever_the_order_of_the_fields(request_, rng):
    pieces = [
        inference_pb2.ChatCompletionRequest(model_id=request_.model_id).SerializeToString(),
        inference_pb2.ChatCompletionRequest(messages=request_.messages).SerializeToString(),
        inference_pb2.ChatCompletionRequest(sampling_params=request_.sampling_params).SerializeToString(),
    ]
    rng.shuffle(pieces)
    message = b"".join(pieces)
    parsed = inference_pb2.ChatCompletionRequest.FromString(message)
    key, prefix = wire.scan(message, 1, 2, prefix_size=1 << 20)
    assert (key or b"").decode() == parsed.model_id
    assert prefix == b"".join(item.SerializeToString() for item in parsed.messages)


@given(st.lists(texts, min_size=1, max_size=4))
def test_the_last_occurrence_of_a_single_field_counts_as_protobuf_has_it(names):
    message = b"".join(inference_pb2.ChatCompletionRequest(model_id=name).SerializeToString() for name in names if name)
    parsed = inference_pb2.ChatCompletionRequest.FromString(message)
    assert (wire.scan(message, 1)[0] or b"").decode() == parsed.model_id


@given(st.lists(texts, min_size=1, max_size=4))
def test_the_first_element_of_a_repeated_field_counts(names):
    message = struct_pb2.ListValue(values=[struct_pb2.Value(string_value=name) for name in names]).SerializeToString()
    first = struct_pb2.Value(string_value=names[0]).SerializeToString()
    assert wire.scan(message, 1, first=True)[0] == first


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_as_protobuf_does(data):
    try:
        wire.scan(data, 1, 2, prefix_size=10)
    except wire.MalformedMessageError:
        with pytest.raises(Exception, match="Error parsing message"):
            # Only what is wrong on the wire: a message without fields takes anything else.
            struct_pb2.Struct.FromString(data)


@given(chat_requests(), st.integers(0, 64))
def test_the_prefix_is_bounded(request_, size):
    _, prefix = wire.scan(request_.SerializeToString(), 1, 2, prefix_size=size)
    assert len(prefix) <= size


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",
        b"\x0a\x05ab",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x00",
        b"\x0f",
        b"\x0c",
        b"\x0b",
        b"\x0b\x14",
        b"\x09\x01",
    ],
)
def test_malformed_bytes_are_refused(data):
    with pytest.raises(wire.MalformedMessageError):
        wire.scan(data, 1)


def test_groups_of_unknown_fields_are_skipped():
    assert wire.scan(b"\x1b\x0a\x01x\x23\x24\x1c" + b"\x0a\x01m", 1)[0] == b"m"


def test_deeply_nested_groups_are_refused():
    with pytest.raises(wire.MalformedMessageError):
        wire.scan(b"\x1b" * 10_000, 1)
