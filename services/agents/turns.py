"""Turns as callers see them: begun, followed, resumed, cancelled, read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from caravan.agents.v1 import agents_pb2, config_pb2, events_pb2, turns_pb2
from services.agents import events
from services.agents.agents import DEFAULT_PAGE, Agents
from services.agents.configuration import effective
from services.agents.ports import TurnStore
from services.agents.resuming import resumed
from services.agents.run import MOST_HISTORY, opening_steps
from services.agents.runner import TurnRunner
from services.agents.sessions import Sessions
from services.agents.state import (
    Change,
    Lease,
    NewTurn,
    Page,
    Request,
    SessionKey,
    Started,
    TurnKey,
    TurnRecord,
    TurnRequest,
)
from services.agents.written_turn import named
from services.core.errors import UnavailableError
from services.core.status import error_from_status

_CANCEL_SECONDS = 10.0
# Rounds of the event loop in which a turn that has just begun can ask the model, before its first events are sent: the model takes longest.
_HEAD_START = 4


@dataclass(frozen=True, slots=True)
class Followed:
    """A turn that a call follows."""

    started: Started
    """The turn."""
    cancel_on_disconnect: bool
    """The turn is cancelled when the call ends before it."""


class Turns:
    """Turns."""

    def __init__(self, agents: Agents, sessions: Sessions, runner: TurnRunner, new_id: Callable[[], str]) -> None:
        """Runs them in this process.

        Args:
            agents: The agents.
            sessions: Their sessions.
            runner: Runs turns.
            new_id: Makes identifiers.
        """
        self._agents, self._sessions, self._runner, self._new_id = agents, sessions, runner, new_id
        self._store: TurnStore = runner.store

    async def create(self, request: agents_pb2.CreateTurnRequest) -> Followed:
        """Begins a turn of a session."""
        config = effective(await self._agents.config(request.agent_id), request)
        key = TurnKey(SessionKey(request.agent_id, request.session_id), self._new_id())
        revision = request.revision if request.HasField("revision") else None
        keep = not request.overrides.HasField("enable_session_persistence") or (
            request.overrides.enable_session_persistence
        )
        life = self._sessions.life(config) if keep else self._sessions.life(await self._agents.config(request.agent_id))
        new = self._new_turn(key, request, config, life, keep=keep)
        started = await self._begin(new, revision, await _once(request))
        return Followed(started, request.cancel_on_disconnect)

    async def execute(self, request: agents_pb2.ExecuteTurnRequest) -> Followed:
        """Begins a turn whose history the caller brings; it ends with the call."""
        brought = request.WhichOneof("agent") == "agent_config"
        # No session tells whether the agent is still there.
        agent_config = request.agent_config if brought else await self._agents.current_config(request.agent_id)
        once = await _once(request)
        key = TurnKey(SessionKey.stateless(once), self._new_id())
        new = self._new_turn(key, request, effective(agent_config, request), None, keep=False)
        return Followed(await self._begin(new, None, once), cancel_on_disconnect=True)

    async def resume(self, request: agents_pb2.ResumeTurnRequest) -> Followed:
        """Goes on with a turn that waits for the client."""
        key = TurnKey(SessionKey(request.agent_id, request.session_id), request.turn_id)
        decided: list[TurnRecord] = []

        def decide(record: TurnRecord) -> Change:
            change, turn = resumed(record, request.tool_responses)
            decided[:] = [replace(record, turn=turn)]
            return change

        revision = request.revision if request.HasField("revision") else None
        with self._runner.room():
            started = await self._store.resume_turn(key, decide, revision, await _once(request))
            if started.lease is not None:
                self._runner.start(started.lease, decided[0])
        return Followed(started, request.cancel_on_disconnect)

    async def follow(self, followed: Followed) -> AsyncIterator[events_pb2.TurnEvent]:
        """Yields the events that belong to a call, up to the one that ends the turn or says that it waits for the client.

        Raises:
            CaravanError: The turn's own error, after `turn_failed`.
        """
        key, first = followed.started.key, followed.started.first_sequence
        ended = False
        try:
            for _ in range(_HEAD_START if followed.started.lease is not None else 0):
                await asyncio.sleep(0)
            async with contextlib.aclosing(self._store.watch(key, first)) as watched:  # type: ignore[type-var]
                async for event in watched:
                    turn = events.turn_of(event.payload)
                    ended = turn is not None
                    yield event
                    if turn is not None:
                        _raise_failure(turn)
                        return
        finally:
            if not ended and followed.cancel_on_disconnect:
                await asyncio.shield(self._store.cancel_turn(key, "the client went away"))

    async def whole(self, followed: Followed) -> turns_pb2.Turn:
        """Returns a turn when it has ended or waits for the client.

        Raises:
            CaravanError: The turn's own error.
        """
        async with contextlib.aclosing(self.follow(followed)) as following:  # type: ignore[type-var]
            async for event in following:
                turn = events.turn_of(event.payload)
                if turn is not None:
                    _raise_failure(turn)
                    return turn
        message = "the turn's events ended early; read it with GetTurn"
        raise UnavailableError(message, reason="WATCH_ENDED")

    async def cancel(self, key: TurnKey, request: agents_pb2.CancelTurnRequest) -> turns_pb2.Turn:
        """Cancels a turn and returns it when it has ended."""
        revision = request.revision if request.HasField("revision") else None
        status = await self._store.cancel_turn(key, request.reason, revision, Request.of(request))
        if status in (turns_pb2.TURN_STATUS_IN_PROGRESS, turns_pb2.TURN_STATUS_AWAITING_INPUT):
            taken = await self._store.take_over(key)
            if taken is not None:
                self._runner.start(*taken)
            await self._ended(key)
        return await self._store.get_turn(key)

    async def get(self, key: TurnKey) -> turns_pb2.Turn:
        """Returns a turn."""
        return await self._store.get_turn(key)

    async def step(self, key: TurnKey, step_id: str) -> turns_pb2.Step:
        """Returns a step of a turn."""
        return await self._store.get_step(key, step_id)

    async def list(self, session: SessionKey, page_size: int, page_token: str) -> Page[turns_pb2.Turn]:
        """Returns a page of a session's turns."""
        return await self._store.list_turns(session, page_size or DEFAULT_PAGE, page_token)

    def watch(self, key: TurnKey, from_sequence: int) -> AsyncIterator[events_pb2.TurnEvent]:
        """Yields the events of a turn from a number on."""
        return self._store.watch(key, from_sequence)

    async def _begin(self, new: NewTurn, revision: int | None, once: Request | None) -> Started:
        with self._runner.room():
            started = await self._store.begin_turn(new, revision, once)
            if started.lease is not None:
                self._runner.start(started.lease, _begun(new, started, started.lease))
        return started

    def _new_turn(
        self, key: TurnKey, request: TurnRequest, config: config_pb2.AgentConfig, life: timedelta | None, *, keep: bool
    ) -> NewTurn:
        news = [events.turn_start(key.turn_id)]
        steps = []
        # Documents are fetched and put where they belong before the first step; without any, it begins with the turn, in the same write.
        if not request.documents:
            steps = [named(opening_steps(config)[0], key.turn_id, self._new_id())]
            news.append(events.step_start(steps[0]))
        earlier = MOST_HISTORY if isinstance(request, agents_pb2.CreateTurnRequest) else 0
        return NewTurn(key, request, config, news, steps, earlier, life, keep)

    async def _ended(self, key: TurnKey) -> None:
        """Waits for a turn to end, for a while."""
        last = (await self._store.get_turn(key)).last_sequence
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS), contextlib.aclosing(self._store.watch(key, last)) as watched:  # type: ignore[type-var]
                async for _ in watched:
                    pass


async def _once(request: TurnRequest | agents_pb2.ResumeTurnRequest) -> Request | None:
    """What makes a call repeatable. All that is asked for goes into it, documents and tools' results too: not in the event loop."""
    return await asyncio.to_thread(Request.of, request) if request.request_id else None


def _begun(new: NewTurn, started: Started, lease: Lease) -> TurnRecord:
    """A turn that has just begun, as it could be read."""
    request = new.request
    turn = turns_pb2.Turn(
        turn_id=started.key.turn_id,
        session_id=request.session_id if isinstance(request, agents_pb2.CreateTurnRequest) else "",
        agent_id=request.agent_id,
        input_messages=request.messages,
        steps=new.steps,
        started_at=lease.started_at,
        status=turns_pb2.TURN_STATUS_IN_PROGRESS,
    )
    for step in turn.steps:
        step.started_at.CopyFrom(lease.started_at)
    return TurnRecord(turn, request, new.config, lease.started_at, started.earlier)


def _raise_failure(turn: turns_pb2.Turn) -> None:
    if turn.status == turns_pb2.TURN_STATUS_FAILED:
        raise error_from_status(turn.error, {"turn_id": turn.turn_id})
