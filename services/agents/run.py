"""Runs one turn from wherever it stands to its end, or until it waits for the client.

The order is Llama Stack's: input shields, retrieval, then inference and tools in turns, output shields, the end. What comes next follows
from the steps that are committed and from nothing else, so whoever takes a turn over goes on as the one before would have. One commit ends
a step and begins the next.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from caravan.agents.v1 import agents_pb2, config_pb2, turns_pb2
from caravan.safety.v1 import safety_pb2
from caravan.types.v1 import types_pb2
from services.agents import events, transcript
from services.agents.attachments import route
from services.agents.configuration import max_infer_iters
from services.agents.desk import Desk
from services.agents.ports import LeaseLostError, StoreAwayError
from services.agents.shielding import stops
from services.agents.state import Lease, TurnRecord
from services.agents.steps import asks_for_form, infer, run_tools
from services.agents.toolbox import Toolbox, memory_of, toolbox_of
from services.agents.written_turn import WrittenTurn
from services.core.errors import CaravanError
from services.core.status import error_of, status_of

MOST_HISTORY = 1000
"""Most earlier turns that a prompt is made of."""


class TurnRun(WrittenTurn):
    """One turn that runs here.

    Attributes:
        config: What it runs with.
        box: The tools that it offers.
        inlined: Documents that stand in the prompt.
        history: Earlier turns.
    """

    def __init__(self, desk: Desk, lease: Lease, record: TurnRecord) -> None:
        """Goes on from a record.

        Args:
            desk: What to run with.
            lease: The right to run it.
            record: The turn as it stands.
        """
        super().__init__(desk, lease, record.turn)
        self.config: config_pb2.AgentConfig = record.config
        self.box = Toolbox()
        self.inlined: Sequence[types_pb2.InterleavedContent] = ()
        self.history: Sequence[turns_pb2.Turn] = ()
        self._request, self._session_bank = record.request, ""
        self._earlier = record.earlier
        self._working: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begins to run it; `run` looks after the rest. Cancelling the task stops the turn where it stands."""
        self._working = asyncio.create_task(self._work(), name=f"work-{self.turn.turn_id}")
        return self._working

    async def run(self) -> None:
        """Runs it on to its end, or until it waits for the client; what goes wrong in the turn ends the turn, not this.

        Raises:
            LeaseLostError: It is somebody else's now.
            StoreAwayError: The store does not answer.
        """
        work = self._working or self.start()
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
            await self.close()

    async def _work(self) -> None:
        try:
            await self._prepare()
            await self._proceed()
        except (LeaseLostError, StoreAwayError):
            raise
        except CaravanError as error:
            await self._fail(error)
        except Exception as error:  # noqa: BLE001 - the outermost edge of a turn: it ends, whatever happened
            await self._fail(error_of(error))

    async def _proceed(self) -> None:
        step = self._open_step()
        if step is None:
            self._begin_next()
            await self._go_on()
        elif not self._lease.is_first:
            await self.restart(step, "the process that ran it is gone")
        while self._status == turns_pb2.TURN_STATUS_IN_PROGRESS:
            step = self._open_step()
            assert step is not None
            await self._perform(step)
            if self._status == turns_pb2.TURN_STATUS_IN_PROGRESS:
                self._begin_next()
            await self._go_on()

    async def _go_on(self) -> None:
        """Commits. An inference need not wait for its beginning to be written: it has no effect that would have to be known of."""
        step = self._open_step()
        if self._status == turns_pb2.TURN_STATUS_IN_PROGRESS and step is not None and step.HasField("inference"):
            await self.commit_behind()
        else:
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
        for step in opening_steps(self.config):
            if not self._has(step.WhichOneof("step_details")):
                return self.begin(step)
        before = transcript.inferences(self.turn)
        message = before[-1].inference.model_response
        if len(before) >= max_infer_iters(self.config):
            return self.end(_without_calls(message))
        if message.tool_calls:
            unanswered = transcript.unanswered(self.turn)
            return self._begin_tools(message, unanswered) if unanswered else self.begin(_inference(self.config))
        if self.config.HasField("response_format") and not asks_for_form(self, before[:-1]):
            return self.begin(_inference(self.config))
        return self.end(message)

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
        session = self._lease.turn.session
        if self._earlier is None:
            return await self.desk.store.last_turns(session, MOST_HISTORY, self.turn.turn_id)
        return await self.desk.store.get_turns(session, self._earlier) if self._earlier else ()

    async def _fail(self, error: CaravanError) -> None:
        self.turn.error.CopyFrom(status_of(error))
        self.drop()
        await self.close_with(turns_pb2.TURN_STATUS_FAILED, events.turn_failed)

    async def _cancelled(self) -> None:
        """Ends the turn with what its tools have done so far; an end that it had come to is its end."""
        self.outbox.discard()
        if not self.is_ending:
            await self.close_with(turns_pb2.TURN_STATUS_CANCELLED, events.turn_cancelled)
        elif self.has_news:
            await self.commit()

    def _open_step(self) -> turns_pb2.Step | None:
        return next((step for step in self.turn.steps if not step.HasField("completed_at")), None)

    def _has(self, kind: str | None) -> bool:
        return any(step.WhichOneof("step_details") == kind for step in self.turn.steps)


def opening_steps(config: config_pb2.AgentConfig) -> list[turns_pb2.Step]:
    """Returns what a turn does before anything depends on what the model said, in order.

    Args:
        config: What the turn runs with.
    """
    steps = [_inference(config)]
    if memory_of(config) is not None:
        steps.insert(0, turns_pb2.Step(memory_retrieval=turns_pb2.MemoryRetrievalStep()))
    if config.input_shields:
        shield_call = turns_pb2.ShieldCallStep(touchpoint=turns_pb2.TOUCHPOINT_USER_INPUT)
        steps.insert(0, turns_pb2.Step(shield_call=shield_call))
    return steps


def _inference(config: config_pb2.AgentConfig) -> turns_pb2.Step:
    return turns_pb2.Step(inference=turns_pb2.InferenceStep(model_id=config.model))


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


async def _stopped(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits for its end."""
    task.cancel()
    await asyncio.wait([task])
