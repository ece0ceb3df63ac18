"""How often a turn asks the store, seen on the wire between the two."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from services.agents.outbox import BETWEEN_WRITES
from services.agents.store.scripts import scripts
from tests.services.agents.world import Replica, World, call, text
from tests.support.http_endpoint import Endpoint
from tests.support.redis_tap import RedisTap, redis_tap
from tests.support.valkey import ValkeyServer

# What a replica asks whether or not a turn runs.
_ANYWAY = ("due", "heartbeat")


@dataclass
class Tapped:
    """A replica, and what it asks its store."""

    replica: Replica
    tap: RedisTap

    def asked(self) -> list[str]:
        """What was asked since this was called last, for turns: scripts and other commands by name, in order."""
        found = [name for name in self.tap.writes if name not in _ANYWAY]
        self.tap.writes.clear()
        return found


@pytest.fixture
async def tapped(world: World, store_server: ValkeyServer) -> AsyncIterator[Tapped]:
    names = {script.digest.encode(): name for name, script in scripts().items()}
    commands = {b"SUBSCRIBE": "listen", b"HMGET": "HMGET", b"$3\r\nGET\r\n": "GET"}
    async with redis_tap(store_server.port, names | commands) as tap:
        url = f"redis://127.0.0.1:{tap.port}/0"
        async with world.replica(store={"redis_url": url, "lease_seconds": 30.0}, scan_seconds=60) as replica:
            yield Tapped(replica, tap)


async def a_while() -> None:
    """Long enough for the first piece of an answer to be written, too short for the next one."""
    await asyncio.sleep(0.015)


async def test_a_turn_of_one_step_asks_the_store_three_times(world: World, tapped: Tapped) -> None:
    world.model.says(["Hello ", a_while, "Ada."])
    talk = await tapped.replica.talk(instructions="Be brief.")
    tapped.asked()
    events = await talk.events("Hi")
    assert text(events[-1].payload.turn_complete.turn.output_message) == "Hello Ada."
    assert tapped.asked() == ["begin_turn", "append", "commit"]


async def test_a_turn_after_others_asks_once_more_for_what_was_said(world: World, tapped: Tapped) -> None:
    world.model.says(["Hello ", a_while, "Ada."])
    talk = await tapped.replica.talk()
    for _ in range(3):
        await talk.turn("Hi")
    tapped.asked()
    await talk.turn("Hi")
    assert tapped.asked() == ["begin_turn", "read", "append", "commit"]
    said = [message.WhichOneof("role") for message in world.model.asked[-1].messages]
    assert said == ["user", "assistant"] * 3 + ["user"]


async def test_a_tool_and_the_answer_after_it_ask_three_times_more(
    world: World, tapped: Tapped, endpoint: Endpoint
) -> None:
    endpoint.says("sunny")
    world.model.says([call("weather", city="Oslo"), a_while], ["It is ", a_while, "sunny."])
    function = {"function_name": "weather", "parameters": {"city": {"param_type": "string"}}}
    talk = await tapped.replica.talk(
        tools=[{"function_call": function, "remote_execution": {"url": {"uri": endpoint.url}}}]
    )
    tapped.asked()
    turn = await talk.turn("Weather?")
    assert len(turn.steps) == 3
    assert tapped.asked() == ["begin_turn", "append", "commit", "commit", "append", "commit"]


async def test_who_watches_a_turn_that_runs_in_the_same_process_asks_nothing(world: World, tapped: Tapped) -> None:
    gate = asyncio.Event()
    world.model.says(["Hello ", gate.wait, "Ada."])  # type: ignore[list-item]
    talk = await tapped.replica.talk()
    stream = tapped.replica.stub.StreamCreateTurn(talk.request("Hi"), timeout=30)
    events = []
    watching: list[asyncio.Task[object]] = []
    async for response in stream:
        events.append(response.event)
        if response.event.payload.HasField("step_progress") and not watching:
            turn_id = events[0].payload.turn_start.turn_id
            watching = [asyncio.create_task(talk.watched(turn_id, first)) for first in (0, 1, 3, 4)]
            await asyncio.sleep(0.1)
            tapped.asked()
            gate.set()
    for first, watched in zip((1, 1, 3, 4), watching, strict=True):
        assert await watched == events[first - 1 :]
    assert [name for name in tapped.asked() if name not in ("append", "commit")] == []


async def test_pieces_that_come_quickly_are_written_together(world: World, tapped: Tapped) -> None:
    async def soon() -> None:
        await asyncio.sleep(0.002)

    world.model.says([part for number in range(30) for part in (f"{number} ", soon)])
    talk = await tapped.replica.talk()
    tapped.asked()
    began = time.monotonic()
    events = await talk.events("Count")
    took = time.monotonic() - began
    assert text(events[-1].payload.turn_complete.turn.output_message) == "".join(f"{number} " for number in range(30))
    assert tapped.asked().count("append") <= took / BETWEEN_WRITES + 1
