"""What the client's tool responses do to a turn that waits for them."""

from collections.abc import Iterable

from caravan.agents.v1 import turns_pb2
from caravan.types.v1 import types_pb2
from services.agents import events
from services.agents.state import Change, TurnRecord
from services.agents.transcript import text_of
from services.core.errors import FieldViolation, InvalidArgumentError


def resumed(record: TurnRecord, responses: Iterable[types_pb2.ToolResponseMessage]) -> tuple[Change, turns_pb2.Turn]:
    """Ends the step that waits, with the client's responses.

    Args:
        record: The turn as it waits.
        responses: The responses.

    Returns:
        The change, and the turn with it.

    Raises:
        InvalidArgumentError: A pending call is not answered, or another is.
    """
    given = _by_call(record.turn, responses)
    changed = turns_pb2.Turn()
    changed.CopyFrom(record.turn)
    del changed.pending_tool_calls[:]
    step = next(step for step in changed.steps if not step.HasField("completed_at"))
    tools, news = step.tool_execution, []
    for call in tools.records:
        if call.call_id in given:
            call.state = turns_pb2.TOOL_CALL_STATE_SUCCEEDED
            call.completed_at.CopyFrom(record.read_at)
            delta = types_pb2.ContentDelta(text=text_of(given[call.call_id].content))
            news.append(events.step_progress(step, delta, call.call_id))
    known = {response.call_id: response for response in tools.tool_responses} | given
    ordered = [known[call.call_id] for call in tools.tool_calls if call.call_id in known]
    del tools.tool_responses[:]
    tools.tool_responses.extend(ordered)
    step.completed_at.CopyFrom(record.read_at)
    rest = turns_pb2.Turn()
    rest.CopyFrom(changed)
    del rest.steps[:]
    return Change([step], [*news, events.step_complete(step)], rest), changed


def _by_call(
    turn: turns_pb2.Turn, responses: Iterable[types_pb2.ToolResponseMessage]
) -> dict[str, types_pb2.ToolResponseMessage]:
    pending = {call.call_id: call for call in turn.pending_tool_calls}
    given: dict[str, types_pb2.ToolResponseMessage] = {}
    wrong: list[FieldViolation] = []
    for index, response in enumerate(responses):
        field = f"tool_responses[{index}].call_id"
        if response.call_id not in pending:
            wrong.append(FieldViolation(field, f"no pending call is {response.call_id!r}"))
        elif response.call_id in given:
            wrong.append(FieldViolation(field, f"answers {response.call_id!r} a second time"))
        else:
            answer = types_pb2.ToolResponseMessage()
            answer.CopyFrom(response)
            answer.tool_name = response.tool_name or pending[response.call_id].tool_name
            given[response.call_id] = answer
    missing = [call_id for call_id in pending if call_id not in given]
    if missing:
        wrong.append(FieldViolation("tool_responses", f"the pending calls {', '.join(missing)} are not answered"))
    if wrong:
        message = "the tool responses must answer the turn's pending_tool_calls, each once"
        raise InvalidArgumentError(message, violations=wrong)
    return given
