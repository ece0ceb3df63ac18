"""Tools without an agent: what there is, and calling them."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format

from caravan.agents.v1 import tool_runtime_pb2, tools_pb2
from caravan.types.v1 import types_pb2
from services.agents.calling_once import CallingOnce, request_of
from services.agents.state import Page
from services.agents.telemetry import TurnMetrics
from services.agents.tools.groups import GroupTool, ToolGroups
from services.agents.tools.mcp import McpGroups
from services.agents.tools.tool import Outcome, Tool, ToolError, facts_struct
from services.core.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
)

_DEFAULT_PAGE = 100
_FAILED = 1
# Types as the contract spells them, and what of JSON they are.
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("string", "str"), str),
    **dict.fromkeys(("integer", "int", "number", "float"), (int, float)),
    **dict.fromkeys(("boolean", "bool"), bool),
    **dict.fromkeys(("array", "list"), list),
    **dict.fromkeys(("object", "dict"), dict),
}


class ToolRuntime:
    """The tools of tool groups."""

    def __init__(
        self, groups: ToolGroups, mcp: McpGroups, provider_id: str, once: CallingOnce, metrics: TurnMetrics
    ) -> None:
        """Runs and lists them.

        Args:
            groups: The tool groups.
            mcp: For servers that are no group.
            provider_id: This provider.
            once: Makes calls that are to be repeatable.
            metrics: Record the calls.
        """
        self._groups, self._mcp, self._provider_id, self._once = groups, mcp, provider_id, once
        self._metrics = metrics

    async def invoke(self, request: tool_runtime_pb2.InvokeToolRequest) -> tool_runtime_pb2.InvokeToolResponse:
        """Runs a tool. What goes wrong in the tool is part of the response.

        Raises:
            NotFoundError: There is no such tool or tool group.
            InvalidArgumentError: The arguments do not fit, or several groups have a tool of the name.
            DeadlineExceededError: It took too long.
            AbortedError: A call with the same `request_id` runs for longer than this one may wait.
            FailedPreconditionError: A call with the same `request_id` was made, and its result cannot be told.
        """
        arguments = _arguments(request)
        found = await self._one(request.tool_name, request.toolgroup_id)
        _check_arguments(found.definition, arguments)
        tool = found.tool
        if tool is None:
            raise InvalidArgumentError.of("tool_name", "this tool is the client's to run")
        # It is made of all arguments.
        once = await asyncio.to_thread(request_of, request) if request.request_id else None

        async def call() -> tool_runtime_pb2.InvokeToolResponse:
            return await self._timed(found.toolgroup_id, tool, arguments)

        if once is None:
            return await call()
        return await self._once.result(once, call, idempotent=tool.idempotent, patience=tool.timeout)

    async def runtime_tools(self, request: tool_runtime_pb2.ListRuntimeToolsRequest) -> Page[tools_pb2.ToolDef]:
        """Returns a page of the tools of a group, of an MCP server, or of all groups, as a model sees them."""
        uri = request.mcp_endpoint.uri
        if uri:
            found = [("", definition) for definition in await self._mcp.tools_at(uri, "mcp_endpoint")]
        else:
            found = [(tool.toolgroup_id, tool.definition) for tool in await self._of(request.tool_group_id)]
        page = _page([(group, item.tool_name, item) for group, item in found], request.page_size, request.page_token)
        return Page([_tool_def(definition) for definition in page.items], page.next_token)

    async def tools(self, request: tool_runtime_pb2.ListToolsRequest) -> Page[tool_runtime_pb2.Tool]:
        """Returns a page of the tools of groups."""
        found = [(tool.toolgroup_id, tool.name, tool) for tool in await self._of(request.toolgroup_id)]
        page = _page(found, request.page_size, request.page_token)
        return Page([self._shown(tool) for tool in page.items], page.next_token)

    async def get(self, request: tool_runtime_pb2.GetToolRequest) -> tool_runtime_pb2.Tool:
        """Returns one tool.

        Raises:
            NotFoundError: There is no such tool or tool group.
            InvalidArgumentError: Several groups have a tool of the name.
        """
        return self._shown(await self._one(request.tool_name, request.toolgroup_id))

    async def _of(self, toolgroup_id: str) -> Sequence[GroupTool]:
        """The tools of a group, or of all."""
        groups = [toolgroup_id] if toolgroup_id else self._groups.ids
        # All at the same time: each may be another server.
        listed = await asyncio.gather(*(self._groups.tools(group, {}) for group in groups))
        return [tool for tools in listed for tool in tools]

    async def _one(self, name: str, toolgroup_id: str) -> GroupTool:
        groups = [toolgroup_id] if toolgroup_id else self._groups.ids
        listed = await asyncio.gather(*(self._groups.tools(group, {}) for group in groups), return_exceptions=True)
        found = [
            tool for tools in listed if not isinstance(tools, BaseException) for tool in tools if tool.name == name
        ]
        if len(found) > 1:
            names = ", ".join(tool.toolgroup_id for tool in found)
            raise InvalidArgumentError.of("toolgroup_id", f"the tool groups {names} have a tool {name!r}; name one")
        if found:
            return found[0]
        # It may be a tool of a server that does not answer now.
        for tools in listed:
            if isinstance(tools, BaseException):
                raise tools
        message = f"there is no tool {name!r}; ListTools names those that there are"
        raise NotFoundError(message, resource_type="tool", resource_name=name)

    async def _timed(
        self, toolgroup_id: str, tool: Tool, arguments: Mapping[str, Any]
    ) -> tool_runtime_pb2.InvokeToolResponse:
        begun, outcome = time.monotonic(), "failed"
        try:
            response = await _called(tool, arguments)
            outcome = "failed" if response.error_message else "succeeded"
            return response
        finally:
            self._metrics.tool_called(tool.name, toolgroup_id, outcome, time.monotonic() - begun)

    def _shown(self, tool: GroupTool) -> tool_runtime_pb2.Tool:
        definition = _tool_def(tool.definition)
        return tool_runtime_pb2.Tool(
            identifier=tool.name,
            toolgroup_id=tool.toolgroup_id,
            tool_host=tool.host,
            description=definition.description,
            parameters=definition.parameters,
            provider_id=self._provider_id,
            provider_resource_id=tool.name,
        )


async def _called(tool: Tool, arguments: Mapping[str, Any]) -> tool_runtime_pb2.InvokeToolResponse:
    try:
        async with asyncio.timeout(tool.timeout):
            outcome = await tool.run(arguments)
    except TimeoutError:
        raise DeadlineExceededError(f"{tool.name} did not end within {tool.timeout:g} s and was stopped") from None
    except ToolError as error:
        code = _FAILED if error.code is None else error.code
        return tool_runtime_pb2.InvokeToolResponse(error_message=error.message, error_code=code)
    return _response(outcome)


def _arguments(request: tool_runtime_pb2.InvokeToolRequest) -> dict[str, Any]:
    if not request.kwargs_json:
        return dict(json_format.MessageToDict(request.kwargs))
    try:
        arguments = json.loads(request.kwargs_json)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidArgumentError.of("kwargs_json", "must be a JSON object")
    return arguments


def _check_arguments(definition: types_pb2.ToolDefinition, arguments: Mapping[str, Any]) -> None:
    for name, parameter in definition.parameters.items():
        field = f"kwargs.{name}"
        if name not in arguments:
            needed = (parameter.required if parameter.HasField("required") else True) and not parameter.HasField(
                "default"
            )
            if needed:
                raise InvalidArgumentError.of(field, f"is missing; {definition.tool_name} needs it")
            continue
        wanted = None if parameter.HasField("schema") else _TYPES.get(parameter.param_type)
        value = arguments[name]
        is_number = wanted == (int, float)
        if wanted is not None and (not isinstance(value, wanted) or (is_number and isinstance(value, bool))):
            raise InvalidArgumentError.of(field, f"must be of type {parameter.param_type}")


def _response(outcome: Outcome) -> tool_runtime_pb2.InvokeToolResponse:
    response = tool_runtime_pb2.InvokeToolResponse(
        content=outcome.content,
        error_message=outcome.error,
        metadata=facts_struct(outcome.metadata),
        attachments=outcome.attachments,
    )
    if outcome.error:
        response.error_code = _FAILED if outcome.error_code is None else outcome.error_code
    return response


def _tool_def(definition: types_pb2.ToolDefinition) -> tools_pb2.ToolDef:
    shown = tools_pb2.ToolDef(name=definition.tool_name, description=definition.description)
    for name in sorted(definition.parameters):
        known = definition.parameters[name]
        parameter = shown.parameters.add(name=name, parameter_type=known.param_type, description=known.description)
        if known.HasField("required"):
            parameter.required = known.required
        if known.HasField("default"):
            parameter.default.CopyFrom(known.default)
        if known.HasField("schema"):
            parameter.schema.CopyFrom(known.schema)
    return shown


def _page(found: Sequence[tuple[str, str, Any]], page_size: int, page_token: str) -> Page[Any]:
    """A page of what has a group and a name, in their order; the token is the last one's group and name."""
    after, slash, name = page_token.rpartition("/")
    if page_token and not slash:
        raise InvalidArgumentError.of("page_token", "must be the next_page_token of a page of the same list")
    ordered = sorted(found, key=lambda one: one[:2])
    left = [one for one in ordered if not page_token or one[:2] > (after, name)]
    size = page_size or _DEFAULT_PAGE
    shown = left[:size]
    return Page([one[2] for one in shown], "/".join(shown[-1][:2]) if len(left) > size else "")
