"""The two long steps of a turn: the model answers, and tools run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from caravan.agents.v1 import config_pb2, turns_pb2
from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.agents import events, transcript
from services.agents.configuration import max_infer_iters, tool_config
from services.agents.inferring import OutputShields
from services.agents.shielding import stops
from services.agents.toolbox import Offered
from services.agents.tooling import INTERRUPTED, Done, response_to, run_calls
from services.agents.tools.tool import ToolError, text_content
from services.core.errors import CaravanError, FailedPreconditionError
from services.core.status import status_of

if TYPE_CHECKING:
    from services.agents.run import TurnRun


async def infer(run: TurnRun, step: turns_pb2.Step) -> None:
    """Asks the model, shows what it says, and ends the step; ends the turn when an output shield stops the answer.

    Args:
        run: The turn.
        step: The step.
    """

    async def progress(delta: types_pb2.ContentDelta) -> None:
        if delta.HasField("text") and not delta.text:
            return
        await run.outbox.put(events.step_progress(step, delta))

    async def restart(reason: str) -> None:
        await run.restart(step, reason)

    conversation = transcript.told_input(run.turn)
    buffered = run.config.output_shielding == config_pb2.OUTPUT_SHIELDING_BUFFERED
    output_shields = OutputShields(run.config.output_shields, buffered, conversation)
    async with run.elsewhere():
        answer = await run.desk.inferring.answer(request_of(run), output_shields, progress, restart)
    run.used(answer.metrics)
    _name_apart(answer.message.tool_calls, run.desk.new_id)
    if stops(answer.verdict):
        # What a shield has stopped stays nowhere.
        answer.message.ClearField("content")
        answer.message.content.SetInParent()
        del answer.message.tool_calls[:]
    step.inference.model_response.CopyFrom(answer.message)
    step.inference.model_id = run.config.model
    step.inference.metrics.extend(answer.metrics)
    run.complete(step)
    verdict = answer.verdict
    if verdict is None or (answer.message.tool_calls and not verdict.HasField("violation")):
        return
    run.judged_step(turns_pb2.TOUCHPOINT_ASSISTANT_OUTPUT, verdict)
    if stops(verdict):
        refused = types_pb2.CompletionMessage(stop_reason=types_pb2.STOP_REASON_END_OF_TURN)
        refused.content.items.add().text = verdict.violation.user_message
        run.end(refused)


def _name_apart(calls: Iterable[types_pb2.ToolCall], new_id: Callable[[], str]) -> None:
    """Gives every call of an answer an identifier of its own."""
    seen: set[str] = set()
    for call in calls:
        if not call.call_id or call.call_id in seen:
            call.call_id = new_id()
        seen.add(call.call_id)


def request_of(run: TurnRun) -> inference_pb2.StreamChatCompletionRequest:
    """What to ask the model next.

    A form that the turn's last answer must have is asked for when no tool can be called any more: without tools at once, with tools after
    an answer that calls none, which the model then does not see, and in the last inference that there may be. A call that is demanded is
    demanded once; the model decides on further ones.

    Args:
        run: The turn.
    """
    config, turn = run.config, run.turn
    before = transcript.inferences(turn)
    formed = asks_for_form(run, before)
    told = turn
    if formed and before and not before[-1].inference.model_response.tool_calls:
        told = turns_pb2.Turn()
        told.CopyFrom(turn)
        told.steps.remove(before[-1])
    request = inference_pb2.StreamChatCompletionRequest(
        model_id=config.model, messages=transcript.prompt(config.instructions, run.history, told, run.inlined)
    )
    if config.HasField("sampling_params"):
        request.sampling_params.CopyFrom(config.sampling_params)
    if formed:
        request.response_format.CopyFrom(config.response_format)
    elif run.box.offered:
        request.tools.extend(run.box.definitions)
        request.tool_config.CopyFrom(tool_config(config))
        if before and (request.tool_config.tool_name or _demands_call(request.tool_config)):
            request.tool_config.tool_choice = types_pb2.TOOL_CHOICE_AUTO
    return request


def asks_for_form(run: TurnRun, before: Sequence[turns_pb2.Step]) -> bool:
    """Whether an inference asks for the form that the turn's last answer must have.

    Args:
        run: The turn.
        before: The inferences before it.
    """
    if not run.config.HasField("response_format"):
        return False
    is_last = len(before) + 1 >= max_infer_iters(run.config)
    answered = bool(before) and not before[-1].inference.model_response.tool_calls
    return not run.box.offered or is_last or answered


def _demands_call(choice: types_pb2.ToolConfig) -> bool:
    return choice.WhichOneof("choice") == "tool_choice" and choice.tool_choice == types_pb2.TOOL_CHOICE_REQUIRED


async def run_tools(run: TurnRun, step: turns_pb2.Step) -> None:
    """Runs the calls that have not ended, records each as it ends, and ends the step unless the client has calls to answer.

    Args:
        run: The turn.
        step: The step; its records say what was started.
    """
    todo = _to_run(run, step)
    done: list[Done] = []
    async with run.elsewhere():
        async for ended in run_calls(todo, run.desk.shields, run.desk.metrics):
            done.append(ended)
            _record(run, step, ended)
            if len(done) < len(todo):
                await run.commit()
    waiting = [
        call
        for call, record in zip(step.tool_execution.tool_calls, step.tool_execution.records, strict=True)
        if record.state == turns_pb2.TOOL_CALL_STATE_AWAITING_CLIENT
    ]
    if waiting:
        run.changed(step)
        run.wait(waiting)
        return
    run.complete(step)
    for ended in sorted(done, key=lambda ended: ended.index):
        for touchpoint, verdict in ended.verdicts:
            run.judged_step(touchpoint, verdict, step.tool_execution.tool_calls[ended.index].call_id)


def _to_run(run: TurnRun, step: turns_pb2.Step) -> Sequence[tuple[int, types_pb2.ToolCall, Offered]]:
    """The calls to run now. One that a process that is gone had begun is run again only when that does no harm."""
    todo: list[tuple[int, types_pb2.ToolCall, Offered]] = []
    tools = step.tool_execution
    for index, (call, record) in enumerate(zip(tools.tool_calls, tools.records, strict=True)):
        if record.state != turns_pb2.TOOL_CALL_STATE_STARTED:
            continue
        offered = run.box.offered[call.tool_name]
        if step.attempts > record.attempts and not (offered.tool and offered.tool.idempotent):
            error = FailedPreconditionError(INTERRUPTED, reason="TOOL_CALL_INTERRUPTED")
            state = turns_pb2.TOOL_CALL_STATE_INTERRUPTED
            _record(run, step, Done(index, response_to(call, text_content(INTERRUPTED)), state, error))
            continue
        record.attempts = step.attempts
        todo.append((index, call, offered))
    return todo


def _record(run: TurnRun, step: turns_pb2.Step, done: Done) -> None:
    """Writes a call's end into the step, the responses in the calls' order."""
    tools = step.tool_execution
    record = tools.records[done.index]
    record.state = done.state
    record.completed_at.CopyFrom(run.now())
    if done.error is not None:
        record.error.CopyFrom(status_of(_as_error(done.error)))
    responses = {response.call_id: response for response in tools.tool_responses}
    responses[done.response.call_id] = done.response
    ordered = [responses[call.call_id] for call in tools.tool_calls if call.call_id in responses]
    del tools.tool_responses[:]
    tools.tool_responses.extend(ordered)
    run.turn.output_attachments.extend(done.attachments)
    text = transcript.text_of(done.response.content)
    delta = types_pb2.ContentDelta(text=text)
    run.changed(step, events.step_progress(step, delta, done.response.call_id))


def _as_error(error: CaravanError | ToolError) -> CaravanError:
    if isinstance(error, CaravanError):
        return error
    metadata = {} if error.code is None else {"code": str(error.code)}
    return FailedPreconditionError(error.message, reason="TOOL_FAILED", metadata=metadata)
