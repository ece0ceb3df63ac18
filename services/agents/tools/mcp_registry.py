"""The registry's word on tool groups, through the gateway."""

from caravan.registry.v1 import tool_groups_pb2, tool_groups_pb2_grpc
from services.core.errors import NotFoundError, UnimplementedError
from services.core.gateway import Gateway


class GrpcToolGroups:
    """Registered tool groups."""

    def __init__(self, gateway: Gateway, provider_id: str, timeout: float) -> None:
        """Asks through a gateway.

        Args:
            gateway: The gateway.
            provider_id: This provider: other providers' groups are not looked for.
            timeout: Longest time in seconds for one answer.
        """
        self._gateway, self._provider_id, self._timeout = gateway, provider_id, timeout
        self._stub: tool_groups_pb2_grpc.ToolGroupsServiceAsyncStub = tool_groups_pb2_grpc.ToolGroupsServiceStub(
            gateway.channel
        )

    async def find(self, toolgroup_id: str) -> tool_groups_pb2.ToolGroup | None:
        """Returns a group of this provider with an MCP server; None: there is none.

        Args:
            toolgroup_id: The group.

        Raises:
            CaravanError: The gateway does not answer.
        """
        request = tool_groups_pb2.GetToolGroupRequest(toolgroup_id=toolgroup_id)
        try:
            found = await self._gateway.call(self._stub.GetToolGroup, request, timeout=self._timeout)
        except (NotFoundError, UnimplementedError):
            # What is at the gateway's address need not have a registry.
            return None
        group = found.tool_group
        is_ours = group.provider_id == self._provider_id and group.mcp_endpoint.uri
        return group if is_ours else None
