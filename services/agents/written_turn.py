"""A turn that is being written: its steps begin, go on and end, and a commit writes what has come together."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from google.protobuf import duration_pb2, timestamp_pb2

from caravan.agents.v1 import events_pb2, turns_pb2
from caravan.safety.v1 import safety_pb2
from caravan.types.v1 import types_pb2
from services.agents import events
from services.agents.desk import Desk
from services.agents.outbox import Outbox
from services.agents.state import Change, Lease
from services.agents.usage import summed
from services.core.errors import ResourceExhaustedError


class WrittenTurn:
    """A turn in the hands of who holds its lease.

    Attributes:
        desk: What it runs with.
        turn: The turn as it is.
        outbox: Pieces of answers on their way to the store.
    """

    def __init__(self, desk: Desk, lease: Lease, turn: turns_pb2.Turn) -> None:
        """Has changed nothing yet.

        Args:
            desk: What it runs with.
            lease: The right to write it.
            turn: The turn as it stands.
        """
        self.desk, self.turn = desk, turn
        self.outbox = Outbox(desk.store, lease)
        self._lease = lease
        self._steps: dict[str, turns_pb2.Step] = {}
        self._events: list[events_pb2.TurnEventPayload] = []
        self._committing: asyncio.Task[None] | None = None
        self._status: turns_pb2.TurnStatus.ValueType = turns_pb2.TURN_STATUS_IN_PROGRESS

    def now(self) -> timestamp_pb2.Timestamp:
        """The store's time."""
        return self._lease.now()

    def begin(self, step: turns_pb2.Step) -> None:
        """Adds a step that begins with the next commit."""
        added = self.turn.steps.add()
        added.CopyFrom(named(step, self.turn.turn_id, self.desk.new_id()))
        added.started_at.CopyFrom(self._lease.now())
        self._steps[step.step_id] = added
        self._events.append(events.step_start(added))

    def complete(self, step: turns_pb2.Step) -> None:
        """Ends a step with the next commit."""
        step.completed_at.CopyFrom(self._lease.now())
        self._steps[step.step_id] = step
        self._events.append(events.step_complete(step))
        self.desk.metrics.step_ended(step)

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
        self.conclude(turns_pb2.TURN_STATUS_COMPLETED, events.turn_complete)

    def wait(self, calls: Sequence[types_pb2.ToolCall]) -> None:
        """Makes the turn wait for the client with the next commit."""
        self.turn.pending_tool_calls.extend(calls)
        self.conclude(turns_pb2.TURN_STATUS_AWAITING_INPUT, events.turn_awaiting_input)

    async def restart(self, step: turns_pb2.Step, reason: str) -> None:
        """Begins a step again: what it has shown so far is void."""
        self.outbox.discard()
        step.attempts += 1
        self.changed(step, events.step_restart(step, reason))
        await self.commit()

    async def commit(self) -> None:
        """Writes everything that has come together: one round trip."""
        change = await self._change()
        await self.desk.store.commit(self._lease, change)
        if change.status not in (turns_pb2.TURN_STATUS_IN_PROGRESS, turns_pb2.TURN_STATUS_AWAITING_INPUT):
            seconds = (self._lease.now().ToNanoseconds() - self._lease.started_at.ToNanoseconds()) / 1e9
            self.desk.metrics.turn_ended(change.status, seconds)

    async def _change(self) -> Change:
        """Takes what has come together since the last commit, which has ended then. The steps go on; what is written of them does not."""
        if self._committing is not None:
            await asyncio.wait([self._committing])
            committed, self._committing = self._committing, None
            # Once: the turn's end, which may be why this failed, is written after it.
            committed.result()
        pieces = await self.outbox.taken()
        steps, self._steps = tuple(_copied(step) for step in self._steps.values()), {}
        news, self._events = (*pieces, *self._events), []
        return Change(steps, news, _rest_of(self.turn), self._status)

    async def commit_behind(self) -> None:
        """Writes everything that has come together while the turn goes on; what is written next waits for it."""
        self._committing = asyncio.create_task(self.desk.store.commit(self._lease, await self._change()))

    async def close_with(
        self,
        status: turns_pb2.TurnStatus.ValueType,
        event: Callable[[turns_pb2.Turn], events_pb2.TurnEventPayload],
    ) -> None:
        """Ends the turn where it stands, and writes that. Arguments as for `conclude`."""
        self.conclude(status, event)
        try:
            await self.commit()
        except ResourceExhaustedError:
            # The turn has become so large that not even its end can be written with all of it. What is written stays for GetTurn.
            del self.turn.steps[:]
            del self.turn.output_attachments[:]
            self.turn.ClearField("output_message")
            self.conclude(status, event)
            await self.commit()

    def drop(self) -> None:
        """Forgets what has not been written."""
        self.outbox.discard()
        self._steps, self._events = {}, []

    async def close(self) -> None:
        """Ends what is still being written."""
        if self._committing is not None:
            await asyncio.wait([self._committing])
            # Raised by what came after it, which waited for it.
            self._committing.exception()
        await self.outbox.close()

    @property
    def is_ending(self) -> bool:
        """Whether the turn's end has come together, or is on its way to the store."""
        return self._status != turns_pb2.TURN_STATUS_IN_PROGRESS

    @property
    def has_news(self) -> bool:
        """Whether there are events that no commit has taken yet."""
        return bool(self._events)

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

    def conclude(
        self,
        status: turns_pb2.TurnStatus.ValueType,
        event: Callable[[turns_pb2.Turn], events_pb2.TurnEventPayload],
    ) -> None:
        """Says where the turn stands from the next commit on.

        Args:
            status: Where.
            event: Makes the event that says so.
        """
        self._status = status
        self._events.append(event(self.turn))


def named(step: turns_pb2.Step, turn_id: str, step_id: str) -> turns_pb2.Step:
    """Gives a step that begins its names, and returns it.

    Args:
        step: The step.
        turn_id: Of its turn.
        step_id: Of its own.
    """
    step.turn_id, step.step_id, step.attempts = turn_id, step_id, 1
    return step


def _copied(step: turns_pb2.Step) -> turns_pb2.Step:
    copied = turns_pb2.Step()
    copied.CopyFrom(step)
    return copied


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
