"""What the tests of the store write into it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from google.protobuf import timestamp_pb2

from caravan.agents.v1 import agents_pb2, config_pb2, events_pb2, turns_pb2
from caravan.types.v1 import types_pb2
from services.agents.ports import LeaseLostError, Store
from services.agents.state import Change, Lease, NewTurn, Request, SessionKey, Started, TurnKey

Payload = events_pb2.TurnEventPayload

ENDINGS = {
    turns_pb2.TURN_STATUS_AWAITING_INPUT: "turn_awaiting_input",
    turns_pb2.TURN_STATUS_COMPLETED: "turn_complete",
    turns_pb2.TURN_STATUS_FAILED: "turn_failed",
    turns_pb2.TURN_STATUS_CANCELLED: "turn_cancelled",
}


def new_id() -> str:
    return uuid.uuid4().hex


def config(model: str = "llama") -> config_pb2.AgentConfig:
    return config_pb2.AgentConfig(model=model, instructions="be brief")


def text(words: str) -> types_pb2.InterleavedContent:
    return types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=words)])


def create_turn(session: SessionKey, words: str = "hello", request_id: str = "") -> agents_pb2.CreateTurnRequest:
    message = types_pb2.Message(user=types_pb2.UserMessage(content=text(words)))
    return agents_pb2.CreateTurnRequest(
        agent_id=session.agent_id, session_id=session.session_id, messages=[message], request_id=request_id
    )


def execute_turn(words: str = "hello", request_id: str = "") -> agents_pb2.ExecuteTurnRequest:
    message = types_pb2.Message(user=types_pb2.UserMessage(content=text(words)))
    return agents_pb2.ExecuteTurnRequest(agent_id="somebody", messages=[message], request_id=request_id)


async def a_session(store: Store, *, ttl: timedelta | None = None, agent_id: str | None = None) -> SessionKey:
    if agent_id is None:
        agent_id = (await store.create_agent(new_id(), config())).agent_id
    key = SessionKey(agent_id, new_id())
    await store.create_session(key, "a talk", ttl)
    return key


async def begin(
    store: Store,
    session: SessionKey,
    words: str = "hello",
    *,
    request_id: str = "",
    revision: int | None = None,
    ttl: timedelta | None = None,
    keep: bool = True,
    earlier: int = 0,
) -> Started:
    """Begins a turn as CreateTurn does, or ExecuteTurn in a scratch session."""
    stateless = not session.agent_id
    request = execute_turn(words, request_id) if stateless else create_turn(session, words, request_id)
    turn_id = new_id()
    turn = NewTurn(
        TurnKey(session, turn_id),
        request,
        config(),
        [Payload(turn_start=events_pb2.TurnStart(turn_id=turn_id))],
        earlier=earlier,
        session_ttl=ttl,
        keep=keep,
    )
    return await store.begin_turn(turn, revision, Request.of(request))


async def running(store: Store, session: SessionKey, words: str = "hello") -> Lease:
    """Begins a turn that nobody else has."""
    started = await begin(store, session, words)
    assert started.lease is not None
    return started.lease


def step(step_id: str, model: str = "llama") -> turns_pb2.Step:
    begun = timestamp_pb2.Timestamp(seconds=1)
    return turns_pb2.Step(step_id=step_id, inference=turns_pb2.InferenceStep(model_id=model), started_at=begun)


def progress(words: str) -> Payload:
    return Payload(step_progress=events_pb2.StepProgress(delta=types_pb2.ContentDelta(text=words)))


def complete(step_id: str) -> Payload:
    return Payload(step_complete=events_pb2.StepComplete(step_id=step_id, step_details=step(step_id)))


def ending(
    status: turns_pb2.TurnStatus.ValueType = turns_pb2.TURN_STATUS_COMPLETED,
    words: str = "bye",
    steps: Sequence[turns_pb2.Step] = (),
) -> Change:
    """The change that ends a turn, or makes it wait."""
    turn = turns_pb2.Turn(output_message=types_pb2.CompletionMessage(content=text(words)))
    if status == turns_pb2.TURN_STATUS_AWAITING_INPUT:
        turn = turns_pb2.Turn(pending_tool_calls=[types_pb2.ToolCall(call_id="c1", tool_name="mine")])
    whole = turns_pb2.Turn(steps=steps)
    whole.MergeFrom(turn)
    payload = Payload()
    getattr(payload, ENDINGS[status]).turn.CopyFrom(whole)
    return Change(steps=steps, events=[payload], turn=turn, status=status)


def names(events: Sequence[events_pb2.TurnEvent]) -> list[tuple[int, str | None]]:
    return [(event.sequence, event.payload.WhichOneof("event")) for event in events]


@asynccontextmanager
async def kept(store: Store, lease: Lease) -> AsyncIterator[None]:
    """Renews a lease in the background, until it is lost."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(store.lease_seconds / 3)
            try:
                await store.heartbeat(lease)
            except LeaseLostError:
                return

    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
