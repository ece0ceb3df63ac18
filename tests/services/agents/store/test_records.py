"""What is kept, over releases of this program."""

import pytest
from google.protobuf.message import Message

from caravan.agents.v1 import agents_pb2, events_pb2, turns_pb2
from services.agents.store.records import Codec, ends, event_of, moment, turn_in
from services.core.errors import InternalError, UnavailableError

SESSION = agents_pb2.Session(session_id="s1", session_name="old name")


def renamed(kind: type[Message], body: bytes) -> bytes:
    """What a release might do to sessions of the version before."""
    message = kind.FromString(body)
    if isinstance(message, agents_pb2.Session):
        message.session_name = message.session_name.replace("old", "new")
    return message.SerializeToString()


def again(kind: type[Message], body: bytes) -> bytes:
    return renamed(kind, body).replace(b"new", b"NEW")


def test_what_is_encoded_is_decoded():
    assert Codec().decode(agents_pb2.Session, Codec().encode(SESSION)) == SESSION


def test_what_an_older_release_wrote_is_upgraded_version_by_version():
    kept = Codec(1).encode(SESSION)
    assert Codec(2, {1: renamed}).decode(agents_pb2.Session, kept).session_name == "new name"
    assert Codec(3, {1: renamed, 2: again}).decode(agents_pb2.Session, kept).session_name == "NEW name"
    written = Codec(2, {1: renamed}).encode(SESSION)
    assert Codec(2, {1: renamed}).decode(agents_pb2.Session, written).session_name == "old name"


def test_what_a_newer_release_wrote_is_unavailable():
    with pytest.raises(UnavailableError) as caught:
        Codec(1).decode(agents_pb2.Session, Codec(2).encode(SESSION))
    assert caught.value.reason == "STORE_IS_NEWER"


def test_what_is_damaged_is_said_to_be():
    with pytest.raises(InternalError):
        Codec().decode(agents_pb2.Session, b"\x01\xff\xff\xff")


def test_a_message_in_parts_is_the_sum_of_them():
    codec = Codec()
    base = codec.encode(turns_pb2.Turn(turn_id="t", session_id="s"))
    state = codec.encode(turns_pb2.Turn(agent_id="a"))
    assert codec.decode(turns_pb2.Turn, base, state) == turns_pb2.Turn(turn_id="t", session_id="s", agent_id="a")
    assert codec.decode(turns_pb2.Turn, base, b"") == turns_pb2.Turn(turn_id="t", session_id="s")


@pytest.mark.parametrize(
    "field", events_pb2.TurnEventPayload.DESCRIPTOR.oneofs_by_name["event"].fields, ids=lambda f: f.name
)
def test_every_event_that_holds_a_turn_is_known(field):
    payload = events_pb2.TurnEventPayload()
    getattr(payload, field.name).SetInParent()
    holds = "turn" in field.message_type.fields_by_name
    assert (turn_in(payload) is not None) == holds
    assert ends(payload) == (holds and field.name != "turn_awaiting_input")


def test_an_event_that_ends_a_turn_has_the_time_of_its_end():
    payload = events_pb2.TurnEventPayload(turn_complete=events_pb2.TurnComplete())
    event = event_of(payload, 7, moment(1_500))
    assert (event.sequence, event.timestamp.ToMilliseconds()) == (7, 1_500)
    assert event.payload.turn_complete.turn.completed_at == moment(1_500)
    assert not payload.turn_complete.turn.HasField("completed_at"), "the caller's own is left alone"
