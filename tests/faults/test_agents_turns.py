"""A turn outlives the process that runs it, wherever that process dies.

`CARAVAN_TEST_COMMIT_POINTS=all` kills at every write, before and after it; without it CI takes a few of them.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from caravan.agents.v1 import agents_pb2, agents_pb2_grpc, events_pb2, turns_pb2
from services.agents.store.scripts import scripts
from tests.services.agents.world import Replica, Talk, World, behind_the_gateway, call, outline, shown, text
from tests.support.eventually import eventually, until
from tests.support.http_endpoint import Endpoint
from tests.support.processes import ServiceProcess
from tests.support.redis_tap import RedisTap, redis_tap
from tests.support.stack import free_address
from tests.support.valkey import ValkeyServer, valkey_server

pytestmark = pytest.mark.faults
MOST_WRITES = 8
POINTS = [(number, after) for number in range(1, MOST_WRITES + 1) for after in (False, True)]
CHOSEN = (
    POINTS if os.environ.get("CARAVAN_TEST_COMMIT_POINTS") == "all" else [(1, True), (3, False), (4, True), (6, True)]
)


@pytest.fixture(scope="module")
def store_server() -> Any:
    with valkey_server(durable=True) as server:
        yield server


@pytest.fixture
async def world(store_server: ValkeyServer) -> AsyncIterator[World]:
    store_server.flush()
    world = World(store_server.url, free_address())
    async with behind_the_gateway(world):
        yield world


@pytest.fixture
async def tap(store_server: ValkeyServer) -> AsyncIterator[RedisTap]:
    names = ("begin_turn", "commit", "append")
    digests = {scripts()[name].digest.encode(): name for name in names}
    async with redis_tap(store_server.port, digests) as tap:
        yield tap


async def doomed(world: World, tap: RedisTap) -> tuple[ServiceProcess, Replica]:
    """A replica as a process of its own, with the tap between it and the store."""
    process = ServiceProcess(
        "services.agents",
        *("--listen", "127.0.0.1:0", "--gateway.address", world.address),
        *("--store.redis-url", f"redis://127.0.0.1:{tap.port}/0", "--store.lease-seconds", "1.0"),
        *("--tools.allow-private-addresses", "--drain-seconds", "0"),
    )
    address = (await asyncio.to_thread(process.wait_for, "serving", 60))["address"]
    return process, Replica(agents_pb2_grpc.AgentsServiceStub(grpc.aio.insecure_channel(address)), None)  # type: ignore[arg-type]


async def events_over(
    talk: Any, survivor: Replica, request: agents_pb2.StreamCreateTurnRequest
) -> list[events_pb2.TurnEvent]:
    """Follows a turn as a client does: where one replica breaks off, the next one goes on, by number or by request id."""
    events: list[events_pb2.TurnEvent] = []
    try:
        async for response in talk.replica.stub.StreamCreateTurn(request, timeout=30):
            events.append(response.event)  # noqa: PERF401 - what came before the break counts
    except grpc.aio.AioRpcError:
        talk.replica = survivor
    talk.replica = survivor
    if not events:
        return [response.event async for response in survivor.stub.StreamCreateTurn(request, timeout=30)]
    turn_id = events[0].payload.turn_start.turn_id
    return events + await talk.watched(turn_id, events[-1].sequence + 1)


@pytest.mark.parametrize(("number", "after"), CHOSEN)
async def test_a_replica_that_is_killed_at_a_write_leaves_a_turn_that_another_ends(
    world: World, tap: RedisTap, endpoint: Endpoint, number: int, after: bool
) -> None:
    endpoint.says("sunny")
    world.model.answers_to = _by_history
    process, first = await doomed(world, tap)
    try:
        weather = {"functionName": "weather", "parameters": {"city": {"paramType": "string"}}}
        tool = {"functionCall": weather, "remoteExecution": {"url": {"uri": endpoint.url}}}
        talk = await first.talk(tools=[tool])
        tap.cut_at(number, after=after, cut=lambda: process.send(signal.SIGKILL))
        async with world.replica() as survivor:
            request = talk.request("Weather?", requestId="once")
            events = await events_over(talk, survivor, request)
            again = [response.event async for response in survivor.stub.StreamCreateTurn(request, timeout=30)]
        turn = events[-1].payload.turn_complete.turn
        assert [event.sequence for event in events] == list(range(1, len(events) + 1)), outline(events)
        assert text(turn.output_message) == "It is sunny."
        assert again[-1].payload.turn_complete.turn.turn_id == turn.turn_id
        assert shown(events).endswith("It is sunny.")
        _no_effect_is_repeated_silently(turn, endpoint)
    finally:
        await asyncio.to_thread(process.stop)


def _by_history(request: Any) -> Any:
    """The same answer to the same conversation, so that a step that begins again gets what it got before."""
    told = any(message.HasField("tool") for message in request.messages)
    return ["It is ", "sunny."] if told else [call("weather", "w1", city="Oslo")]


def _no_effect_is_repeated_silently(turn: turns_pb2.Turn, endpoint: Endpoint) -> None:
    (record,) = [record for step in turn.steps for record in step.tool_execution.records]
    assert len(endpoint.seen) <= 1
    if record.state == turns_pb2.TOOL_CALL_STATE_SUCCEEDED:
        assert len(endpoint.seen) == 1
    else:
        assert record.state == turns_pb2.TOOL_CALL_STATE_INTERRUPTED


async def test_redis_that_is_killed_and_comes_back_stalls_turns_and_loses_none(
    world: World, store_server: ValkeyServer
) -> None:
    gate = asyncio.Event()
    world.model.says(["Hello ", gate.wait, "again."])  # type: ignore[list-item]
    async with world.replica(store={"retry_seconds": 20.0, "lease_seconds": 30.0}) as replica:
        talk = await replica.talk()
        stream = replica.stub.StreamCreateTurn(talk.request("Hi"), timeout=60)
        turn_id = (await anext(aiter(stream))).event.payload.turn_start.turn_id
        await until(lambda: world.model.running == 1)
        await asyncio.to_thread(store_server.kill)
        gate.set()
        await asyncio.sleep(1.0)
        await asyncio.to_thread(store_server.start)
        events = await talk.watched(turn_id)
    assert text(events[-1].payload.turn_complete.turn.output_message) == "Hello again."
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_a_turn_whose_store_stays_away_too_long_goes_on_when_the_store_is_back(
    world: World, store_server: ValkeyServer
) -> None:
    gate = asyncio.Event()
    world.model.says(["Hello ", gate.wait, "lost."], "Hello again.")  # type: ignore[list-item]
    async with world.replica(store={"retry_seconds": 0.3}) as replica:
        talk = await replica.talk()
        stream = replica.stub.StreamCreateTurn(talk.request("Hi"), timeout=60)
        turn_id = (await anext(aiter(stream))).event.payload.turn_start.turn_id
        await until(lambda: world.model.running == 1)
        await asyncio.to_thread(store_server.kill)
        gate.set()
        await asyncio.sleep(2.0)
        await asyncio.to_thread(store_server.start)
        events = await eventually(lambda: _watched(talk, turn_id), bool)
    assert text(events[-1].payload.turn_complete.turn.output_message) == "Hello again."
    assert "restart inference" in outline(events)
    assert shown(events) == "Hello again."
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def _watched(talk: Talk, turn_id: str) -> list[events_pb2.TurnEvent]:
    """All events of a turn; none while the store does not answer."""
    try:
        return await talk.watched(turn_id)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return []
