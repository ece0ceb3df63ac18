"""What an operator's Prometheus sees of turns."""

import re

import grpc
import httpx

from caravan.agents.v1 import agents_pb2_grpc
from tests.services.agents.world import Replica, World, call
from tests.support.http_endpoint import Endpoint
from tests.support.processes import serving
from tests.support.stack import free_address


def series(text: str, name: str) -> dict[str, float]:
    """The values of a metric by its attributes, those of the scope left out."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? ([0-9.e+-]+)$", text, re.MULTILINE)
    shown = {}
    for attributes, value in found:
        own = [one for one in attributes.split(",") if one.startswith(("caravan_", "error_"))]
        shown[",".join(sorted(own)).replace('"', "")] = float(value)
    return shown


async def test_turns_steps_and_tool_calls_are_counted_and_no_name_of_a_callers_is_an_attribute(
    world: World, endpoint: Endpoint
) -> None:
    endpoint.says("no such city", status=404)
    endpoint.says("sunny")
    port = free_address().rpartition(":")[2]
    arguments = [
        *("--gateway.address", world.address, "--store.redis-url", world.redis_url),
        *("--tools.allow-private-addresses", "--prometheus-port", port),
    ]
    function = {"function_name": "a_secret_name", "parameters": {"city": {"param_type": "string"}}}
    tool = {"function_call": function, "remote_execution": {"url": {"uri": endpoint.url}}}
    world.model.says([call("a_secret_name", city="x")], [call("a_secret_name", city="y")], "Sunny.")
    with serving("services.agents", *arguments) as (_, address):
        async with grpc.aio.insecure_channel(address) as channel:
            replica = Replica(agents_pb2_grpc.AgentsServiceStub(channel), None)  # type: ignore[arg-type]
            await (await replica.talk(tools=[tool])).turn("Weather?")
        async with httpx.AsyncClient() as client:
            shown = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    assert series(shown, "caravan_agents_turns_running") == {"": 0}
    assert series(shown, "caravan_agents_turn_duration_seconds_count") == {"caravan_turn_status=completed": 1}
    assert series(shown, "caravan_agents_steps_total") == {
        "caravan_step_type=inference": 3,
        "caravan_step_type=tool_execution": 2,
    }
    assert series(shown, "caravan_agents_tool_duration_seconds_count") == {
        "caravan_tool_kind=function,caravan_tool_outcome=failed": 1,
        "caravan_tool_kind=function,caravan_tool_outcome=succeeded": 1,
    }
    assert "a_secret_name" not in shown
