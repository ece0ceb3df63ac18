"""How messages are kept: bytes with a version before them, so that a later version of this program reads what an earlier one wrote."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from google.protobuf import timestamp_pb2
from google.protobuf.message import DecodeError, Message

from caravan.agents.v1 import agents_pb2, events_pb2, turns_pb2
from services.agents.ports import StoreAwayError
from services.agents.state import STATELESS, SessionKey
from services.core.errors import InternalError

M = TypeVar("M", bound=Message)
Upgrade: TypeAlias = Callable[[type[Message], bytes], bytes]
Fields: TypeAlias = Mapping[bytes, bytes]

VERSION = 1
"""Version that is written. A field that is added to a message needs no new one; a new meaning of what is kept does, and an upgrade."""

_ENDED = {
    "turn_complete": turns_pb2.TURN_STATUS_COMPLETED,
    "turn_failed": turns_pb2.TURN_STATUS_FAILED,
    "turn_cancelled": turns_pb2.TURN_STATUS_CANCELLED,
}


class Codec:
    """Bytes of messages, with their version."""

    def __init__(self, version: int = VERSION, upgrades: Mapping[int, Upgrade] | None = None) -> None:
        """Makes a codec.

        Args:
            version: Version that it writes, 1 to 255.
            upgrades: By an older version, what makes its bytes of a kind of message those of the next version.
        """
        self._version = version
        self._mark = bytes([version])
        self._upgrades = dict(upgrades or {})

    def encode(self, message: Message) -> bytes:
        """Returns what is kept of a message."""
        return self._mark + message.SerializeToString()

    def decode(self, kind: type[M], *kept: bytes) -> M:
        """Returns the message that was kept, in one or several parts that make it up.

        Raises:
            StoreAwayError: A newer version of this program wrote it.
            InternalError: It is damaged.
        """
        try:
            return kind.FromString(b"".join(self._body(kind, part) for part in kept if part))
        except DecodeError as error:
            message = f"the agents' store holds a damaged {kind.DESCRIPTOR.name}"
            raise InternalError(message, reason="AGENTS_STORE") from error

    def _body(self, kind: type[Message], kept: bytes) -> bytes:
        version, body = kept[0], kept[1:]
        if version > self._version:
            message = (
                f"the agents' store holds a {kind.DESCRIPTOR.name} of version {version}, written by a newer release; "
                "replace this replica by that release"
            )
            raise StoreAwayError(message, reason="STORE_IS_NEWER")
        while version < self._version:
            body = self._upgrades[version](kind, body)
            version += 1
        return body


def fields_of(reply: Sequence[bytes]) -> dict[bytes, bytes]:
    """Returns names and values in turn, as a server sends a hash, by name."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def agent_of(codec: Codec, kept: bytes, created: bytes) -> agents_pb2.Agent:
    """Returns an agent.

    Args:
        codec: Of what is kept.
        kept: The agent as it is kept.
        created: When it was created, microseconds since the epoch.
    """
    agent = codec.decode(agents_pb2.Agent, kept)
    agent.created_at.FromMicroseconds(int(created))
    return agent


def session_of(codec: Codec, fields: Fields) -> agents_pb2.Session:
    """Returns a session without its turns.

    Args:
        codec: Of what is kept.
        fields: Its hash.
    """
    session = codec.decode(agents_pb2.Session, fields[b"session"])
    session.started_at.FromMicroseconds(int(fields[b"created"]))
    session.memory_bank_id = fields[b"bank"].decode()
    session.revision = int(fields[b"revision"])
    session.turn_count = int(fields[b"count"])
    session.current_turn_id = fields[b"current"].decode()
    if int(fields[b"expires"]):
        session.expires_at.FromMilliseconds(int(fields[b"expires"]))
    return session


def new_session(codec: Codec, kept: bytes, created: bytes, ttl_milliseconds: int) -> agents_pb2.Session:
    """Returns a session as it is when it was just created; arguments as for `session_of`."""
    expires = int(created) // 1000 + ttl_milliseconds if ttl_milliseconds else 0
    fields = {
        b"session": kept,
        b"created": created,
        b"bank": b"",
        b"revision": b"1",
        b"count": b"0",
        b"current": b"",
        b"expires": b"%d" % expires,
    }
    return session_of(codec, fields)


def turn_of(codec: Codec, fields: Fields) -> turns_pb2.Turn:
    """Returns a turn with its steps.

    Args:
        codec: Of what is kept.
        fields: Its hash.
    """
    turn = codec.decode(turns_pb2.Turn, fields[b"base"], fields[b"state"])
    turn.status = turns_pb2.TurnStatus.ValueType(int(fields[b"status"]))
    turn.revision = int(fields[b"revision"])
    turn.last_sequence = int(fields[b"sequence"])
    turn.started_at.CopyFrom(moment(int(fields[b"started"])))
    if b"ended" in fields:
        turn.completed_at.CopyFrom(moment(int(fields[b"ended"])))
    steps = sorted(value for name, value in fields.items() if name.startswith(b"step:"))
    turn.steps.extend(step_of(codec, value, turn.started_at) for value in steps)
    return turn


def step_of(codec: Codec, kept: bytes, turn_started: timestamp_pb2.Timestamp) -> turns_pb2.Step:
    """Returns a step.

    Args:
        codec: Of what is kept.
        kept: The step as it is kept, after its number.
        turn_started: When its turn began. The step that begins with it was written before that time was known.
    """
    step = codec.decode(turns_pb2.Step, kept[8:])
    if not step.HasField("started_at"):
        step.started_at.CopyFrom(turn_started)
    return step


def turn_in(payload: events_pb2.TurnEventPayload) -> turns_pb2.Turn | None:
    """Returns the turn that an event holds; None when its kind holds none."""
    name = payload.WhichOneof("event")
    return getattr(payload, name).turn if name in _ENDED or name == "turn_awaiting_input" else None


def ends(payload: events_pb2.TurnEventPayload) -> bool:
    """Tells whether an event ends its turn."""
    return payload.WhichOneof("event") in _ENDED


def status_after(payload: events_pb2.TurnEventPayload) -> turns_pb2.TurnStatus.ValueType:
    """Returns where a turn stands after an event that holds it."""
    return _ENDED.get(payload.WhichOneof("event") or "", turns_pb2.TURN_STATUS_AWAITING_INPUT)


def event_of(
    payload: events_pb2.TurnEventPayload, sequence: int, timestamp: timestamp_pb2.Timestamp
) -> events_pb2.TurnEvent:
    """Returns an event as readers see it."""
    event = events_pb2.TurnEvent(sequence=sequence, timestamp=timestamp, payload=payload)
    if ends(payload):
        turn = turn_in(event.payload)
        assert turn is not None
        turn.completed_at.CopyFrom(timestamp)
    return event


def kept_event(codec: Codec, entry: Sequence[bytes | Sequence[bytes]]) -> events_pb2.TurnEvent:
    """Returns an event of a stream's entry."""
    name, values = entry
    assert isinstance(name, bytes)
    fields = fields_of([value for value in values if isinstance(value, bytes)])
    payload = codec.decode(events_pb2.TurnEventPayload, fields[b"e"])
    return event_of(payload, int(name.partition(b"-")[0]), moment(int(fields[b"t"])))


def moment(milliseconds: int) -> timestamp_pb2.Timestamp:
    """Returns a time of milliseconds since the epoch."""
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromMilliseconds(milliseconds)
    return timestamp


def described(key: SessionKey) -> str:
    """Returns a session as messages name it."""
    return "stateless turns" if key.agent_id == STATELESS else f"session {key.session_id!r} of agent {key.agent_id!r}"
