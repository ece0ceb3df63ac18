"""Runs the tool calls of one answer: all of them, at the same time, each within its time, each past its shields."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from google.protobuf import json_format

from caravan.agents.v1 import turns_pb2
from caravan.safety.v1 import safety_pb2
from caravan.types.v1 import types_pb2
from services.agents.peers import Shields
from services.agents.shielding import masked_text, stops
from services.agents.telemetry import TurnMetrics
from services.agents.toolbox import Offered
from services.agents.tools.tool import Outcome, ToolError, text_content
from services.core.errors import CaravanError

MOST_RESULT_CHARACTERS = 200_000
INTERRUPTED = (
    "The process that ran this call died before its end was recorded. The call may or may not have had its effect. Find out before you "
    "call it again."
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """A call that has ended."""

    index: int
    """Place of the call in the answer."""
    response: types_pb2.ToolResponseMessage
    """What the model reads."""
    state: turns_pb2.ToolCallState.ValueType
    """How it ended."""
    error: CaravanError | ToolError | None = None
    """Why it failed."""
    attachments: Sequence[turns_pb2.Attachment] = ()
    """What it made."""
    verdicts: Sequence[tuple[turns_pb2.Touchpoint.ValueType, safety_pb2.RunShieldsResponse]] = ()
    """What shields found in its arguments and in its result."""


async def run_calls(
    calls: Sequence[tuple[int, types_pb2.ToolCall, Offered]], shields: Shields, metrics: TurnMetrics
) -> AsyncIterator[Done]:
    """Runs calls at the same time and yields each as it ends. Closing the iterator, and cancelling, ends those that still run.

    Args:
        calls: Place, call and tool of each.
        shields: Judge arguments and results.
        metrics: Record the calls.
    """
    running = [asyncio.create_task(_timed(index, call, offered, shields, metrics)) for index, call, offered in calls]
    try:
        for next_done in asyncio.as_completed(running):
            yield await next_done
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def arguments_of(call: types_pb2.ToolCall) -> Mapping[str, Any]:
    """Returns a call's arguments.

    Args:
        call: The call.

    Raises:
        ToolError: They are no JSON object.
    """
    if not call.arguments_json:
        return dict(json_format.MessageToDict(call.arguments))
    try:
        arguments = json.loads(call.arguments_json)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ToolError("the arguments must be a JSON object")
    return arguments


def response_to(call: types_pb2.ToolCall, content: types_pb2.InterleavedContent) -> types_pb2.ToolResponseMessage:
    """The answer to a call.

    Args:
        call: The call.
        content: What the model reads.
    """
    return types_pb2.ToolResponseMessage(call_id=call.call_id, tool_name=call.tool_name, content=content)


async def _timed(
    index: int, call: types_pb2.ToolCall, offered: Offered, shields: Shields, metrics: TurnMetrics
) -> Done:
    begun = time.monotonic()
    done = await _run(index, call, offered, shields)
    seconds = time.monotonic() - begun
    outcome = "failed" if done.error is not None else "succeeded"
    # Arguments and results may hold anything: neither is logged.
    _log.info("tool_call", tool=call.tool_name, call_id=call.call_id, outcome=outcome, seconds=round(seconds, 3))
    metrics.tool_called(call.tool_name, offered.toolgroup_id, outcome, seconds)
    return done


async def _run(index: int, call: types_pb2.ToolCall, offered: Offered, shields: Shields) -> Done:
    verdicts: list[tuple[turns_pb2.Touchpoint.ValueType, safety_pb2.RunShieldsResponse]] = []
    try:
        if offered.input_shields:
            before = await shields.judge(offered.input_shields, [_as_message(call)])
            verdicts.append((turns_pb2.TOUCHPOINT_TOOL_INPUT, before))
            if stops(before):
                return _failed(index, call, ToolError(_stopped("the arguments", before)), verdicts)
        outcome = await _within_time(call, offered)
        if offered.output_shields:
            response = response_to(call, outcome.content)
            after = await shields.judge(offered.output_shields, [types_pb2.Message(tool=response)])
            verdicts.append((turns_pb2.TOUCHPOINT_TOOL_OUTPUT, after))
            if stops(after):
                return _failed(index, call, ToolError(_stopped("the result", after)), verdicts)
            masked = masked_text(after)
            if masked is not None:
                outcome = Outcome(text_content(masked), outcome.attachments)
    except (ToolError, CaravanError) as error:
        return _failed(index, call, error, verdicts)
    except Exception as error:  # noqa: BLE001 - the outermost edge of a tool: a defect of it is no failure of the turn
        # What it says may hold anything.
        _log.error("tool_defect", tool=call.tool_name, call_id=call.call_id, error=type(error).__name__)
        return _failed(index, call, ToolError(f"{call.tool_name} failed, for no reason that it knows of"), verdicts)
    content = _shortened(outcome.content)
    return Done(
        index,
        response_to(call, content),
        turns_pb2.TOOL_CALL_STATE_SUCCEEDED,
        attachments=outcome.attachments,
        verdicts=verdicts,
    )


async def _within_time(call: types_pb2.ToolCall, offered: Offered) -> Outcome:
    assert offered.tool is not None
    try:
        async with asyncio.timeout(offered.timeout):
            return await offered.tool.run(arguments_of(call))
    except TimeoutError:
        raise ToolError(f"{call.tool_name} did not end within {offered.timeout:g} s and was stopped") from None


def _failed(
    index: int,
    call: types_pb2.ToolCall,
    error: ToolError | CaravanError,
    verdicts: Sequence[tuple[turns_pb2.Touchpoint.ValueType, safety_pb2.RunShieldsResponse]],
) -> Done:
    content = text_content(f"Error: {error.message}")
    return Done(index, response_to(call, content), turns_pb2.TOOL_CALL_STATE_FAILED, error=error, verdicts=verdicts)


def _as_message(call: types_pb2.ToolCall) -> types_pb2.Message:
    message = types_pb2.Message()
    message.assistant.tool_calls.add().CopyFrom(call)
    message.assistant.stop_reason = types_pb2.STOP_REASON_END_OF_MESSAGE
    return message


def _stopped(what: str, verdict: safety_pb2.RunShieldsResponse) -> str:
    return f"the shield {verdict.deciding_shield_id} refuses {what}: {verdict.violation.user_message}"


def _shortened(content: types_pb2.InterleavedContent) -> types_pb2.InterleavedContent:
    """Bounds what a tool puts into the prompt."""
    if sum(len(item.text) for item in content.items) <= MOST_RESULT_CHARACTERS:
        return content
    room, short = MOST_RESULT_CHARACTERS, types_pb2.InterleavedContent()
    for item in content.items:
        added = short.items.add()
        added.CopyFrom(item)
        if item.HasField("text"):
            added.text = item.text[:room]
            room -= len(added.text)
    short.items.add().text = f"\n[cut off after {MOST_RESULT_CHARACTERS} characters]"
    return short
