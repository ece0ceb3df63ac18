"""Turns as callers see them: begun, followed, resumed, cancelled, read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

from caravan.agents.v1 import agents_pb2, config_pb2, events_pb2, turns_pb2
from services.agents import events
from services.agents.agents import DEFAULT_PAGE, Agents
from services.agents.configuration import effective
from services.agents.ports import TurnStore
from services.agents.resuming import resumed
from services.agents.runner import TurnRunner
from services.agents.sessions import Sessions
from services.agents.state import (
    Change,
    NewTurn,
    Page,
    Request,
    SessionKey,
    Started,
    TurnKey,
    TurnRecord,
    TurnRequest,
)
from services.core.errors import UnavailableError
from services.core.status import error_from_status

_CANCEL_SECONDS = 10.0


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
        started = await self._begin(key, request, config, life, revision=revision, keep=keep)
        return Followed(started, request.cancel_on_disconnect)

    async def execute(self, request: agents_pb2.ExecuteTurnRequest) -> Followed:
        """Begins a turn whose history the caller brings; it ends with the call."""
        brought = request.WhichOneof("agent") == "agent_config"
        agent_config = request.agent_config if brought else await self._agents.config(request.agent_id)
        session = await asyncio.to_thread(lambda: SessionKey.stateless(Request.of(request)))
        key = TurnKey(session, self._new_id())
        started = await self._begin(key, request, effective(agent_config, request), None, revision=None, keep=False)
        return Followed(started, cancel_on_disconnect=True)

    async def resume(self, request: agents_pb2.ResumeTurnRequest) -> Followed:
        """Goes on with a turn that waits for the client."""
        self._runner.require_room()
        key = TurnKey(SessionKey(request.agent_id, request.session_id), request.turn_id)
        decided: list[TurnRecord] = []

        def decide(record: TurnRecord) -> Change:
            change, turn = resumed(record.turn, request.tool_responses)
            decided[:] = [TurnRecord(turn, record.request, record.config)]
            return change

        revision = request.revision if request.HasField("revision") else None
        started = await self._store.resume_turn(key, decide, revision, Request.of(request))
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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CANCEL_SECONDS):
                    async for _ in self._store.watch(key):
                        pass
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

    async def _begin(
        self,
        key: TurnKey,
        request: TurnRequest,
        config: config_pb2.AgentConfig,
        life: timedelta | None,
        *,
        revision: int | None,
        keep: bool,
    ) -> Started:
        self._runner.require_room()
        # What hashes a request reads all of its documents.
        once = await asyncio.to_thread(Request.of, request) if request.request_id else None
        new = NewTurn(key, request, config, [events.turn_start(key.turn_id)], life, keep)
        started = await self._store.begin_turn(new, revision, once)
        if started.lease is not None:
            self._runner.start(started.lease, TurnRecord(_begun(started, request), request, config))
        return started


def _begun(started: Started, request: TurnRequest) -> turns_pb2.Turn:
    assert started.lease is not None
    return turns_pb2.Turn(
        turn_id=started.key.turn_id,
        session_id=request.session_id if isinstance(request, agents_pb2.CreateTurnRequest) else "",
        agent_id=request.agent_id,
        input_messages=request.messages,
        started_at=started.lease.started_at,
        status=turns_pb2.TURN_STATUS_IN_PROGRESS,
    )


def _raise_failure(turn: turns_pb2.Turn) -> None:
    if turn.status == turns_pb2.TURN_STATUS_FAILED:
        raise error_from_status(turn.error, {"turn_id": turn.turn_id})
