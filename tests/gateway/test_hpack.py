from contextlib import suppress

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from gateway.http2 import hpack
from gateway.http2.frames import ConnectionFault

names = st.sampled_from(
    [b":path", b":status", b"content-type", b"grpc-status", b"x-a", b"te", b"authorization"]
) | st.binary(min_size=1, max_size=20)
headers = st.lists(st.tuples(names, st.binary(max_size=200)), max_size=12)


@given(st.lists(headers, max_size=6), st.booleans())
def test_decodes_what_another_encoder_wrote_block_after_block(blocks, huffman):
    encoder, decoder = Encoder(), hpack.HeaderDecoder(1 << 20)
    for block in blocks:
        # Twice: the second time mostly from the dynamic table, and then from memory.
        for _ in range(3):
            assert list(decoder.decode(encoder.encode(block, huffman=huffman))) == block


@given(st.lists(headers, max_size=6))
def test_another_decoder_reads_what_is_encoded(blocks):
    decoder = Decoder()
    prefix = hpack.SHRINK_TABLE
    for block in blocks:
        assert [tuple(header) for header in decoder.decode(prefix + hpack.encode(tuple(block)), raw=True)] == block
        prefix = b""


@given(st.binary(max_size=100))
def test_any_bytes_are_decoded_or_refused(block):
    decoder = hpack.HeaderDecoder(1 << 16)
    with suppress(ConnectionFault, hpack.HeadersTooLargeError):
        decoder.decode(block)


def test_a_list_that_is_too_large_is_refused_and_the_decoder_stays_in_step():
    encoder, decoder = Encoder(), hpack.HeaderDecoder(1000)
    with pytest.raises(hpack.HeadersTooLargeError):
        decoder.decode(encoder.encode([(b"x-kept", b"v" * 500), (b"x-more", b"w" * 500)]))
    assert decoder.decode(encoder.encode([(b"x-kept", b"v" * 500)])) == ((b"x-kept", b"v" * 500),)


def test_a_small_block_that_stands_for_a_huge_list_is_refused():
    encoder, decoder = Encoder(), hpack.HeaderDecoder(64 << 10)
    decoder.decode(encoder.encode([(b"x-bomb", b"v" * 3900)]))
    with pytest.raises(hpack.HeadersTooLargeError):
        decoder.decode(b"\xbe" * 10_000)


def test_the_table_keeps_to_its_size():
    encoder, decoder = Encoder(), hpack.HeaderDecoder(1 << 20)
    for number in range(500):
        decoder.decode(encoder.encode([(b"x-%d" % number, b"v" * 100)]))
    assert decoder._table_size <= 4096


def test_secrets_are_marked_as_never_to_be_kept():
    assert hpack.encode(((b"authorization", b"Bearer x"),))[0] & 0xF0 == 0x10
