"""Shields around a tool, what a tool may put into a prompt, and keys, which appear nowhere."""

import json
from typing import Any

import pytest

from caravan.agents.v1 import turns_pb2
from caravan.types.v1 import types_pb2
from services.agents.tooling import MOST_RESULT_CHARACTERS
from tests.services.agents.world import Replica, World, call, outline, text
from tests.support.http_endpoint import Endpoint

WEATHER = {"function_name": "weather", "parameters": {"city": {"param_type": "string"}}}


def weather(endpoint: Endpoint, **fields: Any) -> dict[str, Any]:
    """A tool that an HTTP endpoint runs."""
    return {"function_call": WEATHER, "remote_execution": {"url": {"uri": endpoint.url}}, **fields}


def read_by_the_model(world: World) -> str:
    """What the model got as the tool's result."""
    return "".join(item.text for item in world.model.asked[-1].messages[-1].tool.content.items)


async def test_a_shield_on_a_tools_input_keeps_the_call_from_running(
    world: World, replica: Replica, endpoint: Endpoint
) -> None:
    world.model.says([call("weather", "w", city="bomb")], "I may not.")
    talk = await replica.talk(tools=[weather(endpoint, inputShields=["no-bomb"], outputShields=["no-x"])])
    events = await talk.events("Weather?")
    assert not endpoint.seen
    assert outline(events)[4:9] == [
        "start tool_execution",
        "progress tool_execution",
        "complete tool_execution",
        "start shield_call tool-input",
        "complete shield_call",
    ]
    turn = events[-1].payload.turn_complete.turn
    assert turn.steps[1].tool_execution.records[0].state == turns_pb2.TOOL_CALL_STATE_FAILED
    shielded = turn.steps[2].shield_call
    assert (shielded.call_id, shielded.violation.violation_level) == ("w", types_pb2.VIOLATION_LEVEL_ERROR)
    assert "refuses the arguments" in read_by_the_model(world)
    assert text(turn.output_message) == "I may not."


async def test_a_shield_on_a_tools_output_keeps_the_result_from_the_model(
    world: World, replica: Replica, endpoint: Endpoint
) -> None:
    endpoint.says("make a bomb of it")
    world.model.says([call("weather", "w", city="Oslo")], "I may not.")
    talk = await replica.talk(tools=[weather(endpoint, inputShields=["no-bomb"], outputShields=["no-bomb"])])
    events = await talk.events("Weather?")
    touchpoints = [
        event.payload.step_start.metadata["touchpoint"]
        for event in events
        if event.payload.step_start.step_type == turns_pb2.STEP_TYPE_SHIELD_CALL
    ]
    assert touchpoints == ["tool-input", "tool-output"]
    assert len(endpoint.seen) == 1
    assert "of it" not in str(world.model.asked)
    assert b"of it" not in b"".join(event.SerializeToString() for event in events)


async def test_what_a_shield_masks_in_a_result_the_model_reads_masked(
    world: World, replica: Replica, endpoint: Endpoint
) -> None:
    endpoint.says("call 4711 now")
    world.model.says([call("weather", "w", city="Oslo")], "Done.")
    await (await replica.talk(tools=[weather(endpoint, outputShields=["mask-4711"])])).turn("Weather?")
    assert read_by_the_model(world) == "call **** now"


async def test_a_long_result_is_cut_off(world: World, replica: Replica, endpoint: Endpoint) -> None:
    endpoint.says("x" * (MOST_RESULT_CHARACTERS + 5))
    world.model.says([call("weather", "w", city="Oslo")], "Done.")
    await (await replica.talk(tools=[weather(endpoint)])).turn("Weather?")
    read = read_by_the_model(world)
    assert read.startswith("x" * MOST_RESULT_CHARACTERS)
    assert read.endswith("[cut off after 200000 characters]")


async def test_keys_are_in_no_log_no_event_and_no_error(
    world: World, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.says("denied", status=401)
    brought = [("caravan-provider-data", json.dumps({"wolfram_alpha_api_key": "s3cret-of-the-caller"}))]
    settings = {"brave_url": endpoint.url, "wolfram_alpha_url": endpoint.url}
    async with world.replica(tools={**settings, "brave_search_api_key": "s3cret-of-the-service"}) as replica:
        world.model.says([call("brave_search", query="x"), call("wolfram_alpha", query="y")], "Nothing.")
        talk = await replica.talk(tools=[{"braveSearch": {}}, {"wolframAlpha": {}}])
        stream = replica.stub.StreamCreateTurn(talk.request("Search"), metadata=brought, timeout=30)
        events = [response.event async for response in stream]
    assert {seen.headers.get("x-subscription-token") or seen.query["appid"] for seen in endpoint.seen} == {
        "s3cret-of-the-service",
        "s3cret-of-the-caller",
    }
    logged = capsys.readouterr()
    assert "tool_call" in logged.out + logged.err
    assert "s3cret" not in logged.out + logged.err
    assert b"s3cret" not in b"".join(event.SerializeToString() for event in events)
    assert "does not accept the key" in str(events[-1])
