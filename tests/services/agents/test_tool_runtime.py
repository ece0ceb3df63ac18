"""Tools without an agent, and tool groups that are loaded, on a real replica."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from caravan.agents.v1 import tool_runtime_pb2, tool_runtime_pb2_grpc, turns_pb2
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from tests.services.agents.tools.mcp_process import PROGRAM, mcp_process
from tests.services.agents.world import Replica, World, call, text

BUILT_IN = {
    "builtin::code_interpreter",
    "builtin::photogen",
    "builtin::rag",
    "builtin::websearch",
    "builtin::wolfram_alpha",
}
TOOLS = ["add", "count", "die", "fail", "much", "picture", "process", "wait"]
LOCAL = {"toolgroup_id": "local", "command": sys.executable, "args": (str(PROGRAM),)}


class Runtime:
    """The runtime and the provider of a replica, as the gateway calls them."""

    def __init__(self, replica: Replica, channel: grpc.aio.Channel) -> None:
        self.replica = replica
        self.stub: Any = tool_runtime_pb2_grpc.ToolRuntimeServiceStub(channel)
        self.provider: Any = providers_pb2_grpc.ProviderServiceStub(channel)

    async def invoke(self, name: str, group: str = "", **arguments: Any) -> tool_runtime_pb2.InvokeToolResponse:
        return await self.invoke_once("", name, group, **arguments)

    async def invoke_once(
        self, request_id: str, name: str, group: str = "", *, key: str = "", **arguments: Any
    ) -> tool_runtime_pb2.InvokeToolResponse:
        request = tool_runtime_pb2.InvokeToolRequest(
            tool_name=name, toolgroup_id=group, kwargs_json=json.dumps(arguments), request_id=request_id
        )
        brought = [("caravan-provider-data", json.dumps({"key": key}))] if key else None
        return await self.stub.InvokeTool(request, timeout=60, metadata=brought)

    async def load(self, group: str, uri: str) -> None:
        resource = providers_pb2.Resource(tool_group={"toolgroup_id": group, "mcp_endpoint": {"uri": uri}})
        await self.provider.LoadResource(providers_pb2.LoadResourceRequest(resource=resource), timeout=90)


@pytest.fixture
async def runtime(world: World) -> AsyncIterator[Runtime]:
    async with (
        world.replica(tools={"mcp_servers": (LOCAL,)}) as replica,
        grpc.aio.insecure_channel(replica.server.address) as channel,
    ):
        yield Runtime(replica, channel)


async def code_of(awaitable: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value.code(), caught.value.details() or ""


async def test_tools_are_listed_page_by_page_and_run(runtime: Runtime) -> None:
    described = await runtime.provider.DescribeProvider(providers_pb2.DescribeProviderRequest())
    assert {resource.tool_group.toolgroup_id for resource in described.resources} == {*BUILT_IN, "local"}
    assert list(described.loadable_kinds) == [options_pb2.RESOURCE_KIND_TOOL_GROUP]
    found, token = [], ""
    while True:
        request = tool_runtime_pb2.ListToolsRequest(page_size=3, page_token=token)
        page = await runtime.stub.ListTools(request, timeout=90)
        found += page.data
        token = page.next_page_token
        if not token:
            break
    names = [(tool.toolgroup_id, tool.identifier) for tool in found]
    assert names == sorted(names)
    assert [name for group, name in names if group == "local"] == TOOLS
    assert ("builtin::websearch", "brave_search") in names
    request = tool_runtime_pb2.ListRuntimeToolsRequest(tool_group_id="local")
    seen = await runtime.stub.ListRuntimeTools(request)
    assert [tool.name for tool in seen.data] == TOOLS
    got = (await runtime.stub.GetTool(tool_runtime_pb2.GetToolRequest(tool_name="add"))).tool
    assert (got.toolgroup_id, got.tool_host) == ("local", tool_runtime_pb2.TOOL_HOST_MODEL_CONTEXT_PROTOCOL)

    answer = await runtime.invoke("add", a=2, b=40)
    assert (answer.content.items[0].text, answer.error_message, answer.HasField("error_code")) == ("42", "", False)
    assert answer.metadata["structured_content"]["result"] == 42
    assert (await runtime.invoke("picture")).attachments[0].mime_type == "image/png"
    failed = await runtime.invoke("fail", why="no such thing")
    assert "no such thing" in failed.error_message
    assert failed.HasField("error_code")
    printed = await runtime.invoke("code_interpreter", "builtin::code_interpreter", code="print(6 * 7)")
    assert "42" in printed.content.items[0].text


async def test_what_does_not_fit_is_refused(runtime: Runtime) -> None:
    code, why = await code_of(runtime.invoke("add", a="two"))
    assert (code, "kwargs.a" in why) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert (await code_of(runtime.invoke("add")))[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert (await code_of(runtime.invoke("add", "nowhere", a=1)))[0] == grpc.StatusCode.NOT_FOUND
    assert (await code_of(runtime.invoke("subtract")))[0] == grpc.StatusCode.NOT_FOUND
    request = tool_runtime_pb2.InvokeToolRequest(tool_name="add", kwargs_json="[1]")
    assert (await code_of(runtime.stub.InvokeTool(request)))[0] == grpc.StatusCode.INVALID_ARGUMENT
    request = tool_runtime_pb2.ListToolsRequest(page_token="x")
    assert (await code_of(runtime.stub.ListTools(request)))[0] == grpc.StatusCode.INVALID_ARGUMENT


def said(answer: tool_runtime_pb2.InvokeToolResponse) -> str:
    return answer.content.items[0].text


async def test_a_call_with_a_request_id_runs_once_however_often_it_is_made(runtime: Runtime) -> None:
    first, second = await asyncio.gather(*(runtime.invoke_once("once", "count", seconds=0.3) for _ in range(2)))
    third = await runtime.invoke_once("once", "count", seconds=0.3)
    assert [said(answer) for answer in (first, second, third)] == ["1", "1", "1"]
    assert said(await runtime.invoke_once("again", "count", seconds=0.3)) == "2"
    assert said(await runtime.invoke("count")) == "3"


async def test_a_request_id_belongs_to_the_call_and_to_its_callers_credentials(runtime: Runtime) -> None:
    assert said(await runtime.invoke_once("mine", "count", key="secret")) == "1"
    assert said(await runtime.invoke_once("mine", "count", key="secret")) == "1"
    for other in (runtime.invoke_once("mine", "count", key="stolen"), runtime.invoke_once("mine", "add", a=1)):
        assert (await code_of(other))[0] == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_error_of_a_call_that_may_have_had_its_effect_is_its_result(runtime: Runtime) -> None:
    code, why = await code_of(runtime.invoke_once("dead", "die"))
    assert (code, "may have had its effect" in why) == (grpc.StatusCode.UNAVAILABLE, True)
    process = said(await runtime.invoke("process"))
    assert (await code_of(runtime.invoke_once("dead", "die"))) == (code, why)
    assert said(await runtime.invoke("process")) == process  # it was not killed again
    failed = await runtime.invoke_once("failed", "fail", why="no such thing")
    assert await runtime.invoke_once("failed", "fail", why="no such thing") == failed


async def test_a_call_whose_client_goes_away_is_told_as_interrupted_unless_it_may_run_twice(runtime: Runtime) -> None:
    await runtime.invoke("add", a=1)  # the server runs
    for name in ("count", "wait"):
        call_ = asyncio.ensure_future(runtime.invoke_once(name, name, seconds=2.0))
        await asyncio.sleep(0.7)
        call_.cancel()
        await asyncio.gather(call_, return_exceptions=True)
    for _ in range(2):
        code, why = await code_of(runtime.invoke_once("count", "count", seconds=2.0))
        assert (code, "may not have had its effect" in why) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    assert said(await runtime.invoke_once("wait", "wait", seconds=2.0)) == "waited"


async def test_a_result_that_is_too_large_to_keep_is_told_once(world: World) -> None:
    async with (
        world.replica(tools={"mcp_servers": (LOCAL,)}, store={"max_result_bytes": 1024}) as replica,
        grpc.aio.insecure_channel(replica.server.address) as channel,
    ):
        runtime = Runtime(replica, channel)
        assert len(said(await runtime.invoke_once("large", "much", characters=5000))) == 5000
        code, why = await code_of(runtime.invoke_once("large", "much", characters=5000))
        assert (code, "too large to keep" in why) == (grpc.StatusCode.FAILED_PRECONDITION, True)


async def test_a_registered_server_is_loaded_used_by_a_turn_and_dropped(world: World, runtime: Runtime) -> None:
    with mcp_process() as server:
        await runtime.load("team/tools", server.url)
        assert (await code_of(runtime.invoke("add", a=1)))[0] == grpc.StatusCode.INVALID_ARGUMENT  # two groups have it
        assert (await runtime.invoke("add", "team/tools", a=1)).content.items[0].text == "2"
        world.model.says([call("picture")], "Here it is.")
        turn = await (await runtime.replica.talk(toolgroups=[{"name": "team/tools"}])).turn("Paint.")
        (record,) = turn.steps[1].tool_execution.records
        assert (record.state, record.toolgroup_id) == (turns_pb2.TOOL_CALL_STATE_SUCCEEDED, "team/tools")
        assert turn.output_attachments[0].file_name == "picture-1.png"
        assert text(turn.output_message) == "Here it is."
        request = tool_runtime_pb2.ListRuntimeToolsRequest(mcp_endpoint={"uri": server.url})
        assert [tool.name for tool in (await runtime.stub.ListRuntimeTools(request)).data] == TOOLS
    kind = options_pb2.RESOURCE_KIND_TOOL_GROUP
    await runtime.provider.UnloadResource(providers_pb2.UnloadResourceRequest(kind=kind, resource_id="team/tools"))
    assert (await code_of(runtime.invoke("add", "team/tools", a=1)))[0] == grpc.StatusCode.NOT_FOUND
    assert (await code_of(runtime.load("gone", server.url)))[0] == grpc.StatusCode.UNAVAILABLE
