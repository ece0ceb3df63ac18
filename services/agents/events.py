"""The events of a turn, made."""

from google.protobuf import struct_pb2

from caravan.agents.v1 import events_pb2, turns_pb2
from caravan.types.v1 import types_pb2

_TYPES = {
    "inference": turns_pb2.STEP_TYPE_INFERENCE,
    "tool_execution": turns_pb2.STEP_TYPE_TOOL_EXECUTION,
    "shield_call": turns_pb2.STEP_TYPE_SHIELD_CALL,
    "memory_retrieval": turns_pb2.STEP_TYPE_MEMORY_RETRIEVAL,
}
_TOUCHPOINTS = {
    turns_pb2.TOUCHPOINT_USER_INPUT: "user-input",
    turns_pb2.TOUCHPOINT_ASSISTANT_OUTPUT: "assistant-output",
    turns_pb2.TOUCHPOINT_TOOL_INPUT: "tool-input",
    turns_pb2.TOUCHPOINT_TOOL_OUTPUT: "tool-output",
}


def step_type(step: turns_pb2.Step) -> turns_pb2.StepType.ValueType:
    """Returns what kind of step it is."""
    kind = step.WhichOneof("step_details")
    return _TYPES[kind] if kind else turns_pb2.STEP_TYPE_UNSPECIFIED


def turn_start(turn_id: str) -> events_pb2.TurnEventPayload:
    """The turn begins."""
    return events_pb2.TurnEventPayload(turn_start=events_pb2.TurnStart(turn_id=turn_id))


def step_start(step: turns_pb2.Step) -> events_pb2.TurnEventPayload:
    """A step begins."""
    start = events_pb2.StepStart(step_type=step_type(step), step_id=step.step_id)
    if step.HasField("shield_call"):
        metadata = struct_pb2.Struct()
        metadata.update({"touchpoint": _TOUCHPOINTS[step.shield_call.touchpoint]})
        start.metadata.CopyFrom(metadata)
    return events_pb2.TurnEventPayload(step_start=start)


def step_restart(step: turns_pb2.Step, reason: str) -> events_pb2.TurnEventPayload:
    """A step begins again; `attempts` is the attempt that begins."""
    restart = events_pb2.StepRestart(
        step_type=step_type(step), step_id=step.step_id, attempt=step.attempts, reason=reason
    )
    return events_pb2.TurnEventPayload(step_restart=restart)


def step_progress(
    step: turns_pb2.Step, delta: types_pb2.ContentDelta, call_id: str = ""
) -> events_pb2.TurnEventPayload:
    """A piece of a step's result."""
    progress = events_pb2.StepProgress(step_type=step_type(step), step_id=step.step_id, delta=delta, call_id=call_id)
    return events_pb2.TurnEventPayload(step_progress=progress)


def step_complete(step: turns_pb2.Step) -> events_pb2.TurnEventPayload:
    """A step is whole."""
    complete = events_pb2.StepComplete(step_type=step_type(step), step_id=step.step_id, step_details=step)
    return events_pb2.TurnEventPayload(step_complete=complete)


def turn_awaiting_input(turn: turns_pb2.Turn) -> events_pb2.TurnEventPayload:
    """The turn waits for the client."""
    return events_pb2.TurnEventPayload(turn_awaiting_input=events_pb2.TurnAwaitingInput(turn=turn))


def turn_complete(turn: turns_pb2.Turn) -> events_pb2.TurnEventPayload:
    """The turn ended with an answer."""
    return events_pb2.TurnEventPayload(turn_complete=events_pb2.TurnComplete(turn=turn))


def turn_failed(turn: turns_pb2.Turn) -> events_pb2.TurnEventPayload:
    """The turn ended with an error."""
    return events_pb2.TurnEventPayload(turn_failed=events_pb2.TurnFailed(turn=turn))


def turn_cancelled(turn: turns_pb2.Turn) -> events_pb2.TurnEventPayload:
    """The turn was cancelled."""
    return events_pb2.TurnEventPayload(turn_cancelled=events_pb2.TurnCancelled(turn=turn))


ENDINGS = ("turn_complete", "turn_failed", "turn_cancelled")
"""The events that end a turn."""


def turn_of(payload: events_pb2.TurnEventPayload) -> turns_pb2.Turn | None:
    """Returns the turn that an event holds; None: it ends no call."""
    kind = payload.WhichOneof("event")
    if kind in (*ENDINGS, "turn_awaiting_input"):
        turn: turns_pb2.Turn = getattr(payload, kind).turn
        return turn
    return None
