"""The gRPC edge of the tools without an agent."""

from typing import Any, TypeAlias

import grpc

from caravan.agents.v1 import tool_runtime_pb2, tool_runtime_pb2_grpc
from services.agents.tool_runtime import ToolRuntime

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ToolRuntimeServicer(tool_runtime_pb2_grpc.ToolRuntimeServiceServicer):
    """Hands each call to the domain."""

    def __init__(self, runtime: ToolRuntime) -> None:
        """Serves these tools.

        Args:
            runtime: The tools.
        """
        self._runtime = runtime

    async def InvokeTool(
        self, request: tool_runtime_pb2.InvokeToolRequest, context: Context
    ) -> tool_runtime_pb2.InvokeToolResponse:
        """Runs a tool."""
        return await self._runtime.invoke(request)

    async def ListRuntimeTools(
        self, request: tool_runtime_pb2.ListRuntimeToolsRequest, context: Context
    ) -> tool_runtime_pb2.ListRuntimeToolsResponse:
        """Lists tools as a model sees them."""
        page = await self._runtime.runtime_tools(request)
        return tool_runtime_pb2.ListRuntimeToolsResponse(data=page.items, next_page_token=page.next_token)

    async def ListTools(
        self, request: tool_runtime_pb2.ListToolsRequest, context: Context
    ) -> tool_runtime_pb2.ListToolsResponse:
        """Lists the tools of tool groups."""
        page = await self._runtime.tools(request)
        return tool_runtime_pb2.ListToolsResponse(data=page.items, next_page_token=page.next_token)

    async def GetTool(
        self, request: tool_runtime_pb2.GetToolRequest, context: Context
    ) -> tool_runtime_pb2.GetToolResponse:
        """Gets one tool."""
        return tool_runtime_pb2.GetToolResponse(tool=await self._runtime.get(request))
