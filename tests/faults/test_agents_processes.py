"""Agents, gateway and inference as processes, as an operator runs them: the model's replica dies while it speaks, an agents replica while a
tool runs, and many clients want the same session at once."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from caravan.agents.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    events_pb2,
    tool_runtime_pb2,
    tool_runtime_pb2_grpc,
    turns_pb2,
)
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from tests.services.agents.tools.mcp_process import PROGRAM
from tests.services.agents.world import outline, shown, text
from tests.support.eventually import until
from tests.support.openai_server import OpenAIServer, openai_server, stream
from tests.support.processes import ServiceProcess
from tests.support.stack import free_address
from tests.support.valkey import valkey_server

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
LOCAL = json.dumps([{"toolgroup_id": "local", "command": sys.executable, "args": [str(PROGRAM)]}])
SPEAKS = ["Hello ", "my ", "dear ", "friend."]


def said(*pieces: str | float, end: bool = True) -> Any:
    """An answer of the model's server, in these pieces and pauses."""
    chunks: list[Any] = [
        piece if isinstance(piece, float) else {"choices": [{"index": 0, "delta": {"content": piece}}]}
        for piece in pieces
    ]
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return stream(*chunks, *([finish] if end else []), done=end)


BREAKS_OFF = said(SPEAKS[0], SPEAKS[1], 60.0, end=False)
WHOLE = said(*SPEAKS)


@dataclass
class Town:
    """Processes, and the servers behind the inference replicas: each replica has its own."""

    redis_url: str
    models: list[OpenAIServer]
    gateway: str = field(default_factory=free_address)
    inference: list[str] = field(default_factory=lambda: [free_address(), free_address()])
    agents: list[str] = field(default_factory=lambda: [free_address(), free_address()])
    running: dict[str, ServiceProcess] = field(default_factory=dict)

    def all_say(self, reply: Any) -> None:
        """What the model says from now on, wherever it is asked."""
        for model in self.models:
            model.will(reply)

    @property
    def speaking(self) -> int | None:
        """The replica whose model speaks."""
        return next((place for place, model in enumerate(self.models) if model.open), None)

    def kill(self, address: str) -> None:
        """Kills a process."""
        self.running[address].send(signal.SIGKILL)
        self.running.pop(address).stop()

    async def start_missing(self) -> None:
        """Starts what does not run."""
        await asyncio.gather(*(self._start(address) for address in (*self.inference, *self.agents, self.gateway)))

    async def stop(self) -> None:
        """Stops everything."""
        await asyncio.gather(*(asyncio.to_thread(process.stop) for process in self.running.values()))

    async def _start(self, address: str) -> None:
        if address in self.running:
            return
        module, arguments = self._command(address)
        providers = [
            {"provider_id": "remote", "addresses": self.inference},
            {"provider_id": "agents", "addresses": self.agents},
        ]
        environment = {"CARAVAN_PROVIDERS": json.dumps(providers)} if address == self.gateway else None
        process = ServiceProcess(module, "--listen", address, *arguments, environment=environment)
        self.running[address] = process
        await asyncio.to_thread(process.wait_for, "serving", 120.0)

    def _command(self, address: str) -> tuple[str, tuple[str, ...]]:
        if address == self.gateway:
            return "gateway", ("--redis-url", self.redis_url, "--workers", "1", "--poll-seconds", "0.2")
        if address in self.inference:
            url = self.models[self.inference.index(address)].url
            kind = ("--provider-id", "remote", "--provider.type", "remote::openai")
            return "services.inference", (*kind, "--provider.base-url", url)
        around = ("--provider-id", "agents", "--gateway.address", self.gateway, "--store.redis-url", self.redis_url)
        quick = ("--store.lease-seconds", "1.0", "--scan-seconds", "0.2", "--drain-seconds", "0")
        return "services.agents", (*around, *quick, "--tools.mcp-servers", LOCAL)


@pytest.fixture(scope="module")
async def whole_town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        store = stack.enter_context(valkey_server(durable=True))
        town = Town(store.url, [await stack.enter_async_context(openai_server()) for _ in range(2)])
        town.all_say(WHOLE)
        stack.push_async_callback(town.stop)
        yield town


@pytest.fixture
async def town(whole_town: Town) -> Town:
    """All of it runs."""
    await whole_town.start_missing()
    return whole_town


@dataclass
class Client:
    """A client of the gateway with a session."""

    stub: Any
    names: dict[str, str]

    @classmethod
    async def of(cls, channel: grpc.aio.Channel) -> "Client":
        stub: Any = agents_pb2_grpc.AgentsServiceStub(channel)
        request = agents_pb2.CreateAgentRequest(agent_config={"model": "m"})
        agent_id = (await stub.CreateAgent(request, wait_for_ready=True, timeout=60)).agent_id
        session = await stub.CreateSession(agents_pb2.CreateSessionRequest(agent_id=agent_id))
        return cls(stub, {"agent_id": agent_id, "session_id": session.session_id})

    def asks(self, words: str = "Hi") -> Any:
        """Begins a turn."""
        request = agents_pb2.StreamCreateTurnRequest(**self.names)
        request.messages.add().user.content.items.add().text = words
        return self.stub.StreamCreateTurn(request, timeout=60)

    async def watched(self, turn_id: str) -> list[events_pb2.TurnEvent]:
        """All events of a turn."""
        request = agents_pb2.WatchTurnRequest(**self.names, turn_id=turn_id)
        return [response.event async for response in self.stub.WatchTurn(request, timeout=60)]


@pytest.fixture
async def client(town: Town) -> AsyncIterator[Client]:
    async with grpc.aio.insecure_channel(town.gateway) as channel:
        await served(channel)
        yield await Client.of(channel)


async def served(channel: grpc.aio.Channel) -> None:
    """Waits until the gateway can route turns, and knows the model that they name."""
    health: Any = health_pb2_grpc.HealthStub(channel)
    models: Any = models_pb2_grpc.ModelsServiceStub(channel)
    request = health_pb2.HealthCheckRequest(service=agents_pb2.DESCRIPTOR.services_by_name["AgentsService"].full_name)
    async with asyncio.timeout(60):
        while True:
            state = await health.Check(request, wait_for_ready=True)
            listed = await models.ListModels(models_pb2.ListModelsRequest())
            if state.status == health_pb2.HealthCheckResponse.SERVING and "m" in {m.model_id for m in listed.data}:
                return
            await asyncio.sleep(0.1)


async def outcome(call: Any) -> tuple[list[events_pb2.TurnEvent], grpc.StatusCode | None]:
    """All events of a call, and the code of the error that it ended with."""
    seen: list[events_pb2.TurnEvent] = []
    try:
        async for response in call:
            seen.append(response.event)  # noqa: PERF401 - what came before the error counts
    except grpc.aio.AioRpcError as error:
        return seen, error.code()
    return seen, None


async def test_an_inference_whose_replica_is_killed_is_made_again_and_no_text_is_doubled(
    town: Town, client: Client
) -> None:
    town.all_say(BREAKS_OFF)
    talk = client.asks()
    turn_id = (await anext(aiter(talk))).event.payload.turn_start.turn_id
    watching = asyncio.create_task(client.watched(turn_id))
    seen: list[events_pb2.TurnEvent] = []
    async for response in talk:
        seen.append(response.event)
        if shown(seen) == "Hello my ":
            break
    place = town.speaking
    assert place is not None
    for other in (model for number, model in enumerate(town.models) if number != place):
        other.will(WHOLE)
    await asyncio.to_thread(town.kill, town.inference[place])
    seen += [response.event async for response in talk]
    watched = await watching
    assert watched[1:] == seen
    assert [event.sequence for event in watched] == list(range(1, len(watched) + 1))
    assert outline(watched).count("restart inference") == 1
    assert shown(watched) == "".join(SPEAKS)
    turn = watched[-1].payload.turn_complete.turn
    assert text(turn.output_message) == "".join(SPEAKS)
    assert turn.steps[0].attempts == 2


async def test_an_inference_that_no_replica_can_make_fails_the_turn_within_the_policy(
    town: Town, client: Client
) -> None:
    town.all_say(BREAKS_OFF)
    talk = client.asks()
    await until(lambda: town.speaking is not None, 30)
    for address in town.inference:
        await asyncio.to_thread(town.kill, address)
    seen, code = await outcome(talk)
    assert code is grpc.StatusCode.UNAVAILABLE
    turn = seen[-1].payload.turn_failed.turn
    assert turn.status == turns_pb2.TURN_STATUS_FAILED
    assert outline(seen).count("restart inference") == turn.steps[0].attempts - 1 == 3


async def test_of_fifty_clients_of_one_session_one_is_served_and_nothing_is_interleaved(
    town: Town, client: Client
) -> None:
    town.all_say(said(SPEAKS[0], 1.0, *SPEAKS[1:]))
    calls = [client.asks(f"turn {number}") for number in range(50)]

    outcomes = await asyncio.gather(*(outcome(call) for call in calls))
    ran = [events for events, code in outcomes if code is None]
    assert {code for _, code in outcomes} == {None, grpc.StatusCode.ABORTED}
    # One that came when the first had ended is another turn, never a part of it.
    assert 1 <= len(ran) < 50
    assert len({events[0].payload.turn_start.turn_id for events in ran}) == len(ran)
    assert all(shown(events) == "".join(SPEAKS) for events in ran)
    listed = await client.stub.ListTurns(agents_pb2.ListTurnsRequest(**client.names))
    assert [turn.status for turn in listed.data] == [turns_pb2.TURN_STATUS_COMPLETED] * len(ran)


@pytest.mark.parametrize("tool", ["count", "wait"])
async def test_a_tool_call_whose_replica_is_killed_is_made_again_only_if_that_does_no_harm(
    town: Town, tool: str
) -> None:
    request = tool_runtime_pb2.InvokeToolRequest(
        tool_name=tool, kwargs_json='{"seconds": 2.0}', request_id=f"once {os.urandom(4).hex()}"
    )
    async with (
        grpc.aio.insecure_channel(town.agents[0]) as first,
        grpc.aio.insecure_channel(town.agents[1]) as second,
    ):
        stubs: list[Any] = [tool_runtime_pb2_grpc.ToolRuntimeServiceStub(channel) for channel in (first, second)]
        warm = tool_runtime_pb2.InvokeToolRequest(tool_name="add", kwargs_json='{"a": 1}')
        await asyncio.gather(*(stub.InvokeTool(warm, timeout=60) for stub in stubs))
        call = asyncio.ensure_future(stubs[0].InvokeTool(request, timeout=60))
        await asyncio.sleep(1.0)
        waits = asyncio.ensure_future(stubs[1].InvokeTool(request, timeout=60))
        await asyncio.to_thread(town.kill, town.agents[0])
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        if tool == "wait":
            assert (await waits).content.items[0].text == "waited"
            return
        for again in (waits, stubs[1].InvokeTool(request, timeout=60)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await again
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "may or may not have had its effect" in (caught.value.details() or "")
