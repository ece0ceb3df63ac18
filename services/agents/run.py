"""Runs one turn from wherever it stands to its end, or until it waits for the client.

The order is Llama Stack's: input shields, retrieval, then inference and tools in turns, output shields, the end. What comes next follows
from the steps that are committed and from nothing else, so whoever takes a turn over goes on as the one before would have. One commit ends
a step and begins the next.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2

from caravan.agents.v1 import agents_pb2, config_pb2, events_pb2, turns_pb2
from caravan.safety.v1 import safety_pb2
from caravan.types.v1 import types_pb2
from services.agents import events, transcript
from services.agents.attachments import route
from services.agents.configuration import max_infer_iters
from services.agents.inferring import Inferring
from services.agents.outbox import Outbox
from services.agents.peers import Memory, Shields
from services.agents.ports import LeaseLostError, Store
from services.agents.retrieving import Retrieving
from services.agents.shielding import stops
from services.agents.state import Change, Lease, TurnRecord
from services.agents.steps import asks_for_form, infer, run_tools
from services.agents.toolbox import Groups, Toolbox, ToolMaker, toolbox_of
from services.agents.usage import summed
from services.core.errors import CaravanError
from services.core.fetch import FetchLimits
from services.core.status import error_of, status_of

_MOST_HISTORY = 1000
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Desk:
    """What a turn runs with, beside its own record."""

    store: Store
    """The state."""
    inferring: Inferring
    """The models."""
    shields: Shields
    """The shields."""
    retrieving: Retrieving
    """Retrieval."""
    memory: Memory
    """The banks."""
    maker: ToolMaker
    """Makes tools."""
    groups: Groups
    """Finds the tools of tool groups."""
    limits: FetchLimits
    """For documents that come as addresses."""
    new_id: Callable[[], str]
    """Makes identifiers of steps and calls."""


class TurnRun:
    """One turn that runs here.

    Attributes:
        turn: The turn as it is.
        config: What it runs with.
        box: The tools that it offers.
    """

    def __init__(self, desk: Desk, lease: Lease, record: TurnRecord) -> None:
        """Goes on from a record.

        Args:
            desk: What to run with.
            lease: The right to run it.
            record: The turn as it stands.
        """
        self.desk = desk
        self.turn = record.turn
        self.config: config_pb2.AgentConfig = record.config
        self.box = Toolbox()
        self.outbox = Outbox(desk.store, lease)
        self.inlined: Sequence[types_pb2.InterleavedContent] = ()
        self.history: Sequence[turns_pb2.Turn] = ()
        self._lease, self._request = lease, record.request
        self._session_bank = ""
        self._steps: dict[str, turns_pb2.Step] = {}
        self._events: list[events_pb2.TurnEventPayload] = []
        self._status: turns_pb2.TurnStatus.ValueType = turns_pb2.TURN_STATUS_IN_PROGRESS

    async def run(self) -> None:
        """Runs it. Returns when the turn has ended or waits; what goes wrong in the turn ends the turn, not this.

        Raises:
            LeaseLostError: It is somebody else's now.
            UnavailableError: The store does not answer.
        """
        work = asyncio.create_task(self._work())
        told = [asyncio.create_task(event.wait()) for event in (self._lease.cancel, self._lease.lost)]
        try:
            await asyncio.wait([work, *told], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
                return
            await _stopped(work)
            if self._lease.lost.is_set():
                message = f"turn {self.turn.turn_id} is run by another process now"
                raise LeaseLostError(message, reason="LEASE_LOST")
            await self._cancelled()
        finally:
            for task in (work, *told):
                await _stopped(task)
            await self.outbox.close()

    async def _work(self) -> None:
        try:
            await self._prepare()
            await self._proceed()
        except LeaseLostError:
            raise
        except CaravanError as error:
            await self._fail(error)
        except Exception as error:  # noqa: BLE001 - the outermost edge of a turn: it ends, whatever happened
            await self._fail(error_of(error))

    async def _proceed(self) -> None:
        step = self._open_step()
        if step is None:
            self._begin_next()
            await self.commit()
        else:
            await self.restart(step, "the process that ran it is gone")
        while self._status == turns_pb2.TURN_STATUS_IN_PROGRESS:
            step = self._open_step()
            assert step is not None
            await self._perform(step)
            if self._status == turns_pb2.TURN_STATUS_IN_PROGRESS:
                self._begin_next()
            await self.commit()

    async def _perform(self, step: turns_pb2.Step) -> None:
        match step.WhichOneof("step_details"):
            case "shield_call":
                await self._judge_input(step)
            case "memory_retrieval":
                await self._retrieve(step)
            case "inference":
                await infer(self, step)
            case _:
                await run_tools(self, step)

    # What comes next.

    def _begin_next(self) -> None:
        """Begins the step that follows from those before, or ends the turn."""
        if self.config.input_shields and not self._has("shield_call"):
            shield_call = turns_pb2.ShieldCallStep(touchpoint=turns_pb2.TOUCHPOINT_USER_INPUT)
            return self.begin(turns_pb2.Step(shield_call=shield_call))
        if self.box.memory is not None and not self._has("memory_retrieval"):
            return self.begin(turns_pb2.Step(memory_retrieval=turns_pb2.MemoryRetrievalStep()))
        before = transcript.inferences(self.turn)
        if not before:
            return self._begin_inference()
        message = before[-1].inference.model_response
        if len(before) >= max_infer_iters(self.config):
            return self.end(_without_calls(message))
        if message.tool_calls:
            unanswered = transcript.unanswered(self.turn)
            return self._begin_tools(message, unanswered) if unanswered else self._begin_inference()
        if self.config.HasField("response_format") and not asks_for_form(self, before[:-1]):
            return self._begin_inference()
        return self.end(message)

    def _begin_inference(self) -> None:
        self.begin(turns_pb2.Step(inference=turns_pb2.InferenceStep(model_id=self.config.model)))

    def _begin_tools(self, message: types_pb2.CompletionMessage, calls: Sequence[types_pb2.ToolCall]) -> None:
        ours = [call for call in calls if self.box.offered[call.tool_name].tool is not None]
        waits = isinstance(self._request, agents_pb2.CreateTurnRequest) and self._request.allow_turn_resume
        if not ours and not waits:
            # The client's calls end the turn; the next one brings the responses.
            answer = types_pb2.CompletionMessage()
            answer.CopyFrom(message)
            del answer.tool_calls[:]
            answer.tool_calls.extend(calls)
            return self.end(answer)
        step = turns_pb2.Step(tool_execution=turns_pb2.ToolExecutionStep())
        for call in calls if waits else ours:
            offered = self.box.offered[call.tool_name]
            here = offered.tool is not None
            record = turns_pb2.ToolCallRecord(call_id=call.call_id, toolgroup_id=offered.toolgroup_id)
            record.state = turns_pb2.TOOL_CALL_STATE_STARTED if here else turns_pb2.TOOL_CALL_STATE_AWAITING_CLIENT
            record.attempts = 1 if here else 0
            record.started_at.CopyFrom(self._lease.now())
            step.tool_execution.tool_calls.append(call)
            step.tool_execution.records.append(record)
        return self.begin(step)

    # The steps that are short.

    async def _judge_input(self, step: turns_pb2.Step) -> None:
        async with self.elsewhere():
            verdict = await self.desk.shields.judge(self.config.input_shields, list(self.turn.input_messages))
        self.judged(step, verdict)
        self.complete(step)
        if stops(verdict):
            self.end(refusal(verdict))

    async def _retrieve(self, step: turns_pb2.Step) -> None:
        assert self.box.memory is not None
        messages = transcript.told_input(self.turn)
        async with self.elsewhere():
            found = await self.desk.retrieving.retrieve(self.box.memory, self._session_bank, messages)
        step.memory_retrieval.CopyFrom(found)
        self.complete(step)

    # What steps are made with.

    def now(self) -> timestamp_pb2.Timestamp:
        """The store's time."""
        return self._lease.now()

    def begin(self, step: turns_pb2.Step) -> None:
        """Adds a step that begins with the next commit."""
        step.turn_id, step.step_id, step.attempts = self.turn.turn_id, self.desk.new_id(), 1
        step.started_at.CopyFrom(self._lease.now())
        added = self.turn.steps.add()
        added.CopyFrom(step)
        self._steps[step.step_id] = added
        self._events.append(events.step_start(added))

    def complete(self, step: turns_pb2.Step) -> None:
        """Ends a step with the next commit."""
        step.completed_at.CopyFrom(self._lease.now())
        self._steps[step.step_id] = step
        self._events.append(events.step_complete(step))

    def changed(self, step: turns_pb2.Step, *news: events_pb2.TurnEventPayload) -> None:
        """Records a step that goes on, with the next commit."""
        self._steps[step.step_id] = step
        self._events.extend(news)

    def judged(self, step: turns_pb2.Step, verdict: safety_pb2.RunShieldsResponse) -> None:
        """Writes a verdict into a step, and its warning into the turn."""
        if verdict.HasField("violation"):
            step.shield_call.violation.CopyFrom(verdict.violation)
        step.shield_call.results.extend(verdict.results)
        step.shield_call.masked_messages.extend(verdict.masked_messages)
        for result in verdict.results:
            if result.violation.violation_level == types_pb2.VIOLATION_LEVEL_WARN:
                self.turn.warnings.append(result.violation)

    def judged_step(
        self, touchpoint: turns_pb2.Touchpoint.ValueType, verdict: safety_pb2.RunShieldsResponse, call_id: str = ""
    ) -> None:
        """Adds a whole step for a verdict that is there already."""
        self.begin(turns_pb2.Step(shield_call=turns_pb2.ShieldCallStep(touchpoint=touchpoint, call_id=call_id)))
        step = self.turn.steps[-1]
        self.judged(step, verdict)
        self.complete(step)

    def used(self, metrics: Sequence[types_pb2.MetricInResponse]) -> None:
        """Adds an inference's usage to the turn's."""
        total = summed(self.turn.metrics, metrics)
        del self.turn.metrics[:]
        self.turn.metrics.extend(total)

    def end(self, answer: types_pb2.CompletionMessage) -> None:
        """Ends the turn with the next commit."""
        self.turn.output_message.CopyFrom(answer)
        self._conclude(turns_pb2.TURN_STATUS_COMPLETED, events.turn_complete)

    def wait(self, calls: Sequence[types_pb2.ToolCall]) -> None:
        """Makes the turn wait for the client with the next commit."""
        self.turn.pending_tool_calls.extend(calls)
        self._conclude(turns_pb2.TURN_STATUS_AWAITING_INPUT, events.turn_awaiting_input)

    async def restart(self, step: turns_pb2.Step, reason: str) -> None:
        """Begins a step again: what it has shown so far is void."""
        self.outbox.discard()
        step.attempts += 1
        self.changed(step, events.step_restart(step, reason))
        await self.commit()

    async def commit(self) -> None:
        """Writes everything that has come together: one round trip."""
        await self.outbox.flush()
        steps, self._steps = tuple(self._steps.values()), {}
        news, self._events = tuple(self._events), []
        await self.desk.store.commit(self._lease, Change(steps, news, _rest_of(self.turn), self._status))

    @asynccontextmanager
    async def elsewhere(self) -> AsyncIterator[None]:
        """Counts the time that others take."""
        begun = time.monotonic()
        try:
            yield
        finally:
            spent = self.turn.external_duration.ToNanoseconds() + round((time.monotonic() - begun) * 1e9)
            duration = duration_pb2.Duration()
            duration.FromNanoseconds(spent)
            self.turn.external_duration.CopyFrom(duration)

    # Before the first step, and the ends that are no answers.

    async def _prepare(self) -> None:
        files: dict[str, bytes] = {}
        self.box = await toolbox_of(self.config, self.desk.maker, self.desk.groups, files)
        self.history = await self._earlier_turns()
        if self.box.memory is not None:
            self._session_bank = (await self.desk.store.get_session(self._lease.turn.session)).memory_bank_id
        if not self._request.documents:
            return
        routed = await route(
            self._request.documents,
            self.desk.limits,
            to_memory=self.box.memory is not None,
            to_interpreter=self.box.interprets_code,
        )
        files.update(routed.files)
        self.inlined = routed.inlined
        if routed.documents and not self._has("memory_retrieval"):
            session = self._lease.turn.session
            self._session_bank = await self.desk.store.set_memory_bank(session, f"session-{session.session_id}")
            await self.desk.memory.make_bank(self._session_bank)
            await self.desk.memory.insert(self._session_bank, routed.documents)

    async def _earlier_turns(self) -> Sequence[turns_pb2.Turn]:
        if isinstance(self._request, agents_pb2.ExecuteTurnRequest):
            return self._request.turn_history
        found: list[turns_pb2.Turn] = []
        token = ""
        while True:
            page = await self.desk.store.list_turns(self._lease.turn.session, _PAGE, token)
            found += [turn for turn in page.items if turn.turn_id != self.turn.turn_id]
            token = page.next_token
            if not token:
                return found[-_MOST_HISTORY:]

    async def _fail(self, error: CaravanError) -> None:
        self.outbox.discard()
        self.turn.error.CopyFrom(status_of(error))
        self._steps, self._events = {}, []
        self._conclude(turns_pb2.TURN_STATUS_FAILED, events.turn_failed)
        await self.commit()

    async def _cancelled(self) -> None:
        self.outbox.discard()
        self._steps, self._events = {}, []
        self._conclude(turns_pb2.TURN_STATUS_CANCELLED, events.turn_cancelled)
        await self.commit()

    def _conclude(
        self,
        status: turns_pb2.TurnStatus.ValueType,
        event: Callable[[turns_pb2.Turn], events_pb2.TurnEventPayload],
    ) -> None:
        self._status = status
        self._events.append(event(self.turn))

    def _open_step(self) -> turns_pb2.Step | None:
        return next((step for step in self.turn.steps if not step.HasField("completed_at")), None)

    def _has(self, kind: str) -> bool:
        return any(step.WhichOneof("step_details") == kind for step in self.turn.steps)


def refusal(verdict: safety_pb2.RunShieldsResponse) -> types_pb2.CompletionMessage:
    """The answer in place of one that a shield has stopped.

    Args:
        verdict: The verdict.
    """
    answer = types_pb2.CompletionMessage(stop_reason=types_pb2.STOP_REASON_END_OF_TURN)
    answer.content.items.add().text = verdict.violation.user_message
    return answer


def _without_calls(message: types_pb2.CompletionMessage) -> types_pb2.CompletionMessage:
    """The answer of the last inference that there may be: its calls are not run, and the turn ends."""
    if not message.tool_calls:
        return message
    answer = types_pb2.CompletionMessage(content=message.content, stop_reason=types_pb2.STOP_REASON_END_OF_TURN)
    answer.content.SetInParent()
    return answer


def _rest_of(turn: turns_pb2.Turn) -> turns_pb2.Turn:
    """What of a turn a commit may change, beside its steps."""
    rest = turns_pb2.Turn(
        output_attachments=turn.output_attachments,
        metrics=turn.metrics,
        pending_tool_calls=turn.pending_tool_calls,
        warnings=turn.warnings,
    )
    for name in ("output_message", "error", "external_duration"):
        if turn.HasField(name):
            getattr(rest, name).CopyFrom(getattr(turn, name))
    return rest


async def _stopped(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits for its end."""
    task.cancel()
    await asyncio.wait([task])
