"""MCP servers as tool groups: the official SDK's servers as processes, and servers that answer nonsense."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from caravan.agents.v1 import turns_pb2
from caravan.registry.v1 import tool_groups_pb2
from services.agents.tools.mcp import McpGroups, McpTool, StdioServerSettings
from services.agents.tools.tool import Outcome, ToolError
from services.core.errors import CaravanError, FailedPreconditionError, InvalidArgumentError, UnavailableError
from services.core.fetch import FetchLimits
from services.core.provider_data import enter_provider_data
from tests.services.agents.tools.mcp_process import PROGRAM, McpProcess, mcp_process
from tests.services.agents.world import World, call, text
from tests.support.http_endpoint import Endpoint

LIMITS = FetchLimits(timeout=60.0, max_bytes=1 << 20, allow_private=True)
LOCAL = StdioServerSettings(toolgroup_id="local", command=sys.executable, args=(str(PROGRAM),), env={"NOTE": "hello"})


@pytest.fixture(scope="module")
def remote() -> Iterator[McpProcess]:
    with mcp_process() as process:
        yield process


async def nothing_registered(_: str) -> None:
    pass


@asynccontextmanager
async def groups(*servers: StdioServerSettings, limits: FetchLimits = LIMITS) -> AsyncIterator[McpGroups]:
    made = McpGroups(servers, {}, limits, nothing_registered)
    try:
        yield made
    finally:
        await made.close()


def registration(url: str, **args: Any) -> tool_groups_pb2.ToolGroup:
    group = tool_groups_pb2.ToolGroup(toolgroup_id="remote", mcp_endpoint={"uri": url})
    group.args.update(args)
    return group


async def tool(made: McpGroups, group: str, name: str) -> McpTool:
    return next(found for found in await made.tools(group) if found.name == name)


def said(outcome: Outcome) -> str:
    return "".join(item.text for item in outcome.content.items)


async def test_a_registered_server_s_tools_run(remote: McpProcess) -> None:
    async with groups() as made:
        await made.add(registration(remote.url))
        assert [found.name for found in await made.tools("remote")] == sorted(
            ["add", "count", "die", "fail", "much", "picture", "process", "wait"]
        )
        add = await tool(made, "remote", "add")
        assert add.definition.description == "Adds two numbers."
        assert add.definition.parameters["a"].param_type == "integer"
        assert (add.definition.parameters["a"].required, add.definition.parameters["b"].required) == (True, False)
        assert add.definition.parameters["b"].default.number_value == 1
        assert (add.idempotent, (await tool(made, "remote", "fail")).idempotent) == (True, False)
        outcome = await add.run({"a": 2, "b": 40})
        assert (said(outcome), outcome.metadata) == ("42", {"structured_content": {"result": 42}})
        picture = await (await tool(made, "remote", "picture")).run({})
        (attachment,) = picture.attachments
        assert (attachment.mime_type, attachment.file_name) == ("image/png", "picture-1.png")
        assert attachment.data.startswith(b"\x89PNG")
        with pytest.raises(ToolError, match="no such thing"):
            await (await tool(made, "remote", "fail")).run({"why": "no such thing"})
        with pytest.raises(ToolError):
            await (await tool(made, "remote", "much")).run({"characters": 2 << 20})
        assert said(await add.run({"a": 1})) == "2"


async def test_a_server_that_died_is_connected_to_again(remote: McpProcess) -> None:
    async with groups() as made:
        await made.add(registration(remote.url))
        process = await tool(made, "remote", "process")
        first = said(await process.run({}))
        remote.kill()
        with pytest.raises(UnavailableError):
            await process.run({})
        assert await made.tools("remote")  # as they were known
        remote.start()
        assert said(await process.run({})) != first


async def test_a_registered_group_that_is_not_loaded_here_yet_is_found_in_the_registry(remote: McpProcess) -> None:
    asked: list[str] = []

    async def registered(group: str) -> tool_groups_pb2.ToolGroup | None:
        asked.append(group)
        return registration(remote.url, b=2) if group == "remote" else None

    made = McpGroups((), {}, LIMITS, registered)
    try:
        found = await asyncio.gather(
            made.knows("remote"), made.knows("remote"), made.knows("other"), made.knows("../x")
        )
        assert found == [True, True, False, False]
        assert asked == ["remote", "other"]
        assert said(await (await tool(made, "remote", "add")).run({"a": 1})) == "2"
        await made.add(registration(remote.url, b=2))  # the gateway loads it later on
        assert made.ids == ["remote"]
    finally:
        await made.close()


async def test_a_program_of_the_settings_is_started_and_started_again() -> None:
    async with groups(LOCAL) as made:
        process = await tool(made, "local", "process")
        first, second = await asyncio.gather(process.run({}), process.run({"note": "!"}))
        assert said(first).endswith(" hello")
        assert said(second) == f"{said(first)}!"
        with pytest.raises(UnavailableError, match="may have had its effect"):
            await (await tool(made, "local", "die")).run({})
        assert said(await process.run({})) != said(first)


async def test_a_program_that_does_not_exist_says_so() -> None:
    async with groups(StdioServerSettings(toolgroup_id="local", command="/does/not/exist")) as made:
        with pytest.raises(UnavailableError, match="cannot be started"):
            await made.tools("local")


@pytest.mark.parametrize(
    ("answer", "headers", "status"),
    [
        ("<html>hello</html>", {"Content-Type": "text/html"}, 200),
        ("{not json", {}, 200),
        ("[" * 100_000, {}, 200),
        (b"\x00" * (2 << 20), {}, 200),
        ("data: {\n\n", {"Content-Type": "text/event-stream"}, 200),
        ("", {}, 202),
        ("oops", {}, 500),
        ("", {"Location": "http://169.254.169.254/"}, 307),
        ("\x1f\x8b", {"Content-Encoding": "gzip"}, 200),
    ],
)
async def test_a_server_that_answers_nonsense_is_refused(
    endpoint: Endpoint, answer: Any, headers: dict[str, str], status: int
) -> None:
    endpoint.says(answer, headers=headers, status=status)
    async with groups() as made:
        with pytest.raises((FailedPreconditionError, UnavailableError), match="tool group remote"):
            await made.add(registration(endpoint.url))
        assert made.ids == []


@pytest.mark.parametrize("seconds", [0.0, 3.0])
async def test_a_server_that_hangs_or_answers_something_else_is_given_up(endpoint: Endpoint, seconds: float) -> None:
    endpoint.takes(seconds)
    endpoint.says({"jsonrpc": "2.0", "id": 999, "result": {}})
    async with groups(limits=FetchLimits(timeout=0.5, allow_private=True)) as made:
        with pytest.raises(CaravanError):
            await made.add(registration(endpoint.url))


def answers(endpoint: Endpoint, *results: Any) -> None:
    """Makes the endpoint an MCP server that says this after the handshake."""
    stream = {"Content-Type": "text/event-stream"}
    handshake = {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "x", "version": "1"},
    }
    refusal = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no such method"}}
    endpoint.says(f"data: {json.dumps(refusal)}\n\n", headers=stream)
    endpoint.says(_event(handshake), headers=stream)
    endpoint.says("", status=202)
    for result in results:
        endpoint.says(_event(result), headers=stream)


def _event(result: Any) -> str:
    return f"data: {json.dumps({'jsonrpc': '2.0', 'id': 1, 'result': result})}\n\n"


def listed(name: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": properties}}


async def test_tools_that_no_model_can_be_told_of_are_left_out(endpoint: Endpoint) -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"properties": deep}
    tools = [
        listed("fine", place={"type": ["null", "string"]}, kinds={"type": "array", "items": {"type": "string"}}),
        listed("no spaces"),
        listed("deep", a=deep),
        listed("large", a={"enum": ["x" * 100_000]}),
        listed("wrong", **{"a b": {"type": "string"}}),
        listed("many", **{f"p{n}": {} for n in range(200)}),
    ]
    answers(endpoint, {"tools": tools})
    async with groups() as made:
        await made.add(registration(endpoint.url))
        found = {one.name: one.definition for one in await made.tools("remote")}
        assert list(found) == ["fine"]
        assert found["fine"].parameters["place"].param_type == "string"
        assert found["fine"].parameters["kinds"].schema["items"]["type"] == "string"


@pytest.mark.parametrize(
    "result",
    [
        {"content": [{"type": "image", "data": "not base64!", "mimeType": "image/png"}]},
        {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}] * 40},
        {"content": [{"type": "surprise"}]},
        {"content": "text"},
        {"content": [{"type": "text", "text": "x" * (2 << 20)}]},
        {"content": [], "isError": True},
        {"resultType": "input_required"},
        ["no object"],
    ],
)
async def test_a_result_that_is_nonsense_is_an_error_of_the_tool(endpoint: Endpoint, result: Any) -> None:
    answers(endpoint, {"tools": [listed("fine")]}, result)
    async with groups() as made:
        await made.add(registration(endpoint.url))
        with pytest.raises((ToolError, UnavailableError)):
            await (await tool(made, "remote", "fine")).run({})


async def test_private_addresses_are_refused() -> None:
    async with groups(limits=FetchLimits(timeout=60.0)) as made:
        with pytest.raises(InvalidArgumentError, match="private address"):
            await made.add(registration("http://127.0.0.1:1/mcp"))


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with groups() as made:
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await made.add(registration("http://127.0.0.1:1/mcp"))


async def test_the_caller_s_credentials_are_sent_and_not_shown(endpoint: Endpoint) -> None:
    endpoint.says("no", status=401)

    async def register() -> None:
        headers = {endpoint.url: {"Authorization": "Bearer s3cret"}}
        enter_provider_data([("caravan-provider-data", json.dumps({"mcp_headers": headers}))])
        async with groups() as made:
            await made.add(registration(endpoint.url))

    with pytest.raises(FailedPreconditionError, match="mcp_headers") as caught:
        await asyncio.create_task(register())
    assert "s3cret" not in str(caught.value)
    assert {seen.headers.get("authorization") for seen in endpoint.seen} == {"Bearer s3cret"}


async def test_a_turn_calls_tools_of_programs(world: World) -> None:
    async with world.replica(tools={"mcp_servers": (LOCAL,)}) as replica:
        world.model.says([call("add", a=40)], "It is 42.")
        talk = await replica.talk(toolgroups=[{"name": "local/add", "args": {"b": 2}}])
        turn = await talk.turn("What is 40 and 2?")
        (record,) = turn.steps[1].tool_execution.records
        assert (record.state, record.toolgroup_id) == (turns_pb2.TOOL_CALL_STATE_SUCCEEDED, "local")
        assert turn.steps[1].tool_execution.tool_responses[0].content.items[0].text == "42"
        assert text(turn.output_message) == "It is 42."
        (offered,) = world.model.asked[0].tools
        assert (offered.tool_name, list(offered.parameters)) == ("add", ["a"])
