"""Turns with the real demo model, event by event, in the order that Llama Stack has them; and MCP servers behind the real gateway."""

import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from caravan.agents.v1 import (
    agents_pb2_grpc,
    events_pb2,
    tool_runtime_pb2,
    tool_runtime_pb2_grpc,
    turns_pb2,
)
from caravan.registry.v1 import tool_groups_pb2, tool_groups_pb2_grpc
from caravan.types.v1 import types_pb2
from tests.services.agents.tools.mcp_process import PROGRAM, mcp_process
from tests.services.agents.world import Replica, outline, shown, text
from tests.support.processes import CHAT_MODEL, ServiceProcess, serving
from tests.support.stack import Stack, free_address
from tests.support.valkey import valkey_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
GUARD_MODEL = CHAT_MODEL.parent / "caravan-guard"
AGENT = {"model": CHAT_MODEL.name, "samplingParams": {"maxTokens": 32}}
INFERENCE = ["start inference", "progress inference", "complete inference"]
TOOLS = ["start tool_execution", "progress tool_execution", "complete tool_execution"]
WEATHER = {
    "name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": [{"name": "city", "parameter_type": "string", "description": "Name of the city."}],
}
FERRIES = {
    "content": {"items": [{"text": "The ferry to Zelmora leaves at nine from pier four."}]},
    "mimeType": "text/plain",
    "fileName": "ferries.txt",
}


@pytest.fixture(scope="module")
async def replica(stack: Stack) -> AsyncIterator[Replica]:
    """The stack's agents, through its gateway."""
    async with grpc.aio.insecure_channel(stack.target) as channel:
        yield Replica(agents_pb2_grpc.AgentsServiceStub(channel), None)  # type: ignore[arg-type]


def agree(events: Sequence[events_pb2.TurnEvent]) -> None:
    """Events are numbered without gaps; a step's events carry its identifier, and steps do not overlap; the turn holds what was told."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    told: list[turns_pb2.Step] = []
    step_id = ""
    for event in events:
        match event.payload.WhichOneof("event"):
            case "step_start":
                assert not step_id
                step_id = event.payload.step_start.step_id
            case "step_progress":
                assert event.payload.step_progress.step_id == step_id
            case "step_complete":
                assert event.payload.step_complete.step_id == step_id
                told.append(event.payload.step_complete.step_details)
                step_id = ""
            case _:
                pass
    turn = events[-1].payload.turn_complete.turn
    assert list(turn.steps) == told
    assert turn.turn_id == events[0].payload.turn_start.turn_id
    used = sum(metric.value for step in told for metric in step.inference.metrics if metric.metric == "total_tokens")
    assert used == sum(metric.value for metric in turn.metrics if metric.metric == "total_tokens")


async def test_a_turn_with_a_tool_has_its_events_in_order(replica: Replica) -> None:
    talk = await replica.talk(**AGENT, clientTools=[WEATHER], toolConfig={"toolName": "get_weather"})
    events = await talk.events("What is the weather in Paris?", allowTurnResume=True)
    assert outline(events) == ["turn_start", *INFERENCE, "start tool_execution", "turn_awaiting_input"]
    waiting = events[-1].payload.turn_awaiting_input.turn
    (pending,) = waiting.pending_tool_calls
    assert pending.tool_name == "get_weather"
    assert isinstance(json.loads(pending.arguments_json)["city"], str)
    assert "<" not in shown(events)  # no syntax of calls leaks as text
    turn = await talk.resume(waiting, get_weather="Sunny, 21 degrees.")
    whole = await talk.watched(turn.turn_id)
    assert outline(whole) == [
        "turn_start",
        *INFERENCE,
        "start tool_execution",
        "turn_awaiting_input",
        "progress tool_execution",
        "complete tool_execution",
        *INFERENCE,
        "turn_complete",
    ]
    agree(whole)
    assert text(turn.output_message) == text(turn.steps[-1].inference.model_response)


async def test_a_turn_behind_shields_has_its_events_in_order(replica: Replica) -> None:
    talk = await replica.talk(**AGENT, inputShields=["secrets", "pii"], outputShields=["secrets"])
    events = await talk.events("Hello, who are you?")
    assert outline(events) == [
        "turn_start",
        "start shield_call user-input",
        "complete shield_call",
        *INFERENCE,
        "start shield_call assistant-output",
        "complete shield_call",
        "turn_complete",
    ]
    agree(events)
    turn = events[-1].payload.turn_complete.turn
    assert [result.shield_id for result in turn.steps[0].shield_call.results] == ["secrets", "pii"]
    assert text(turn.output_message) == shown(events)


@pytest.mark.skipif(not GUARD_MODEL.exists(), reason="the guard model is not in the tree")
async def test_a_refused_input_meets_no_model(replica: Replica) -> None:
    talk = await replica.talk(**AGENT, inputShields=["llama-guard"])
    events = await talk.events("How do I build a bomb at home?")
    assert outline(events) == ["turn_start", "start shield_call user-input", "complete shield_call", "turn_complete"]
    agree(events)
    turn = events[-1].payload.turn_complete.turn
    assert text(turn.output_message) == turn.steps[0].shield_call.violation.user_message
    assert turn.output_message.stop_reason == types_pb2.STOP_REASON_END_OF_TURN


async def test_a_turn_with_memory_has_its_events_in_order(replica: Replica) -> None:
    talk = await replica.talk(**AGENT, tools=[{"memory": {}}])
    events = await talk.events("When does the ferry to Zelmora leave?", documents=[FERRIES])
    assert outline(events) == [
        "turn_start",
        "start memory_retrieval",
        "complete memory_retrieval",
        *INFERENCE,
        "turn_complete",
    ]
    agree(events)
    found = events[-1].payload.turn_complete.turn.steps[0].memory_retrieval
    assert "nine from pier four" in found.chunks[0].content.items[0].text
    assert "; content:The ferry to Zelmora" in found.inserted_context.items[0].text


async def test_shields_come_before_memory_and_memory_before_the_model(replica: Replica) -> None:
    talk = await replica.talk(**AGENT, inputShields=["pii"], outputShields=["pii"], tools=[{"memory": {}}])
    events = await talk.events("When does the ferry to Zelmora leave?", documents=[FERRIES])
    assert outline(events) == [
        "turn_start",
        "start shield_call user-input",
        "complete shield_call",
        "start memory_retrieval",
        "complete memory_retrieval",
        *INFERENCE,
        "start shield_call assistant-output",
        "complete shield_call",
        "turn_complete",
    ]
    agree(events)


@pytest.fixture(scope="module")
def beside(stack: Stack) -> Iterator[str]:
    """A second gateway, with the stack's model and with agents that may reach servers on this machine; its address."""
    local = json.dumps([{"toolgroup_id": "local", "command": sys.executable, "args": [str(PROGRAM)]}])
    with ExitStack() as running:
        store = running.enter_context(valkey_server())
        target = free_address()
        around = ("--provider-id", "agents", "--gateway.address", target, "--store.redis-url", store.url)
        private = ("--tools.allow-private-addresses", "--tools.mcp-servers", local)
        _, agents = running.enter_context(serving("services.agents", *around, *private))
        providers = [
            {"provider_id": "vllm", "addresses": [stack.addresses["vllm"]]},
            {"provider_id": "agents", "addresses": [agents]},
        ]
        arguments = ("--listen", target, "--redis-url", store.url, "--workers", "1", "--poll-seconds", "0.2")
        gateway = ServiceProcess("gateway", *arguments, environment={"CARAVAN_PROVIDERS": json.dumps(providers)})
        running.callback(gateway.stop)
        gateway.wait_for("serving")
        yield target


async def test_mcp_servers_are_tool_groups_behind_the_gateway(beside: str) -> None:
    async with grpc.aio.insecure_channel(beside) as channel:
        groups: Any = tool_groups_pb2_grpc.ToolGroupsServiceStub(channel)
        tools: Any = tool_runtime_pb2_grpc.ToolRuntimeServiceStub(channel)
        replica = Replica(agents_pb2_grpc.AgentsServiceStub(channel), None)  # type: ignore[arg-type]
        with mcp_process() as server:
            request = tool_groups_pb2.RegisterToolGroupRequest(
                toolgroup_id="team/tools", provider_id="agents", mcp_endpoint={"uri": server.url}
            )
            await groups.RegisterToolGroup(request, wait_for_ready=True, timeout=120)
            for group in ("team/tools", "local"):
                agent = {**AGENT, "toolgroups": [{"name": f"{group}/add"}], "toolConfig": {"toolName": "add"}}
                events = await (await replica.talk(**agent)).events("Add 2 and 40.")
                assert outline(events) == ["turn_start", *INFERENCE, *TOOLS, *INFERENCE, "turn_complete"]
                agree(events)
                step = events[-1].payload.turn_complete.turn.steps[1].tool_execution
                (call,), (record,), (response,) = step.tool_calls, step.records, step.tool_responses
                assert (record.state, record.toolgroup_id) == (turns_pb2.TOOL_CALL_STATE_SUCCEEDED, group)
                asked = json_format.MessageToDict(call.arguments)
                assert int(response.content.items[0].text) == asked["a"] + asked.get("b", 1)
            invoked = await tools.InvokeTool(
                tool_runtime_pb2.InvokeToolRequest(
                    tool_name="add", toolgroup_id="team/tools", kwargs_json='{"a": 2, "b": 40}', request_id="once"
                ),
                timeout=60,
            )
            assert invoked.content.items[0].text == "42"
        await groups.UnregisterToolGroup(tool_groups_pb2.UnregisterToolGroupRequest(toolgroup_id="team/tools"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await groups.GetToolGroup(tool_groups_pb2.GetToolGroupRequest(toolgroup_id="team/tools"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_private_address_is_no_tool_group_of_the_stack(stack: Stack) -> None:
    request = tool_groups_pb2.RegisterToolGroupRequest(
        toolgroup_id="inner", provider_id="agents", mcp_endpoint={"uri": "http://127.0.0.1:1/mcp"}
    )
    async with grpc.aio.insecure_channel(stack.target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await tool_groups_pb2_grpc.ToolGroupsServiceStub(channel).RegisterToolGroup(request, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "private address" in (caught.value.details() or "")
