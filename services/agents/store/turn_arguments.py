"""What scripts are given of a turn."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from caravan.agents.v1 import events_pb2, turns_pb2
from services.agents.state import STATELESS, Change, Lease, NewTurn
from services.agents.store.records import Codec, status_after, turn_in
from services.core.errors import ResourceExhaustedError
from services.core.redis.scripts import Argument

# What the store keeps of a turn elsewhere than in its changing part.
_Field: TypeAlias = Literal[
    "turn_id",
    "session_id",
    "agent_id",
    "input_messages",
    "steps",
    "started_at",
    "completed_at",
    "status",
    "revision",
    "last_sequence",
]
_NOT_STATE: tuple[_Field, ...] = get_args(_Field)


def base_of(turn: NewTurn) -> turns_pb2.Turn:
    """Returns what never changes of a turn."""
    session = turn.key.session
    base = turns_pb2.Turn(turn_id=turn.key.turn_id, input_messages=turn.request.messages)
    if session.agent_id == STATELESS:
        base.agent_id = turn.request.agent_id
    else:
        base.session_id, base.agent_id = session.session_id, session.agent_id
    return base


def events_of(
    codec: Codec, events: Sequence[events_pb2.TurnEventPayload], lease: Lease | None = None, revision: int = 0
) -> list[Argument]:
    """Returns events as `add_events` takes them.

    Args:
        codec: How messages are kept.
        events: The events.
        lease: Of the turn that they follow in, for the turn that an event may hold. None: it is about to begin.
        revision: Of the turn with these events.
    """
    arguments: list[Argument] = [len(events)]
    for place, payload in enumerate(events, start=1):
        turn = turn_in(payload)
        if turn is not None and lease is not None:
            turn.status = status_after(payload)
            turn.revision = revision
            turn.last_sequence = lease.last_sequence + place
            turn.started_at.CopyFrom(lease.started_at)
        arguments.append(codec.encode(payload))
    return arguments


def steps_of(codec: Codec, steps: Sequence[turns_pb2.Step]) -> list[Argument]:
    """Returns steps as `put_steps` takes them."""
    arguments: list[Argument] = [len(steps)]
    for step in steps:
        arguments += [step.step_id, codec.encode(step)]
    return arguments


def state_of(codec: Codec, change: Change) -> list[Argument]:
    """Returns whether the changing part of a turn is new, and its bytes."""
    if change.turn is None:
        return [0, ""]
    state = turns_pb2.Turn()
    state.CopyFrom(change.turn)
    for name in _NOT_STATE:
        state.ClearField(name)
    return [1, codec.encode(state)]


def check_size(arguments: Sequence[Argument], limit: int) -> None:
    """Refuses a write that is too large.

    Args:
        arguments: Of the script.
        limit: Most bytes.

    Raises:
        ResourceExhaustedError: They are more.
    """
    size = sum(len(argument) for argument in arguments if isinstance(argument, bytes))
    if size > limit:
        message = f"the turn would store {size} bytes at once, more than the {limit} that this service takes; send less"
        raise ResourceExhaustedError(message, reason="TURN_TOO_LARGE")
