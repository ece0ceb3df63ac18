"""What a turn runs with: the agent's configuration, changed by what the turn's request does differently."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from caravan.agents.v1 import config_pb2
from caravan.types.v1 import types_pb2
from services.agents.state import TurnRequest
from services.core.errors import InvalidArgumentError

DEFAULT_MAX_INFER_ITERS = 10
# Field of an override whose value is a list of its own, with the list's name in it.
_LISTS = {
    "input_shields": "shield_ids",
    "output_shields": "shield_ids",
    "tools": "tools",
    "client_tools": "client_tools",
}


def effective(config: config_pb2.AgentConfig, request: TurnRequest) -> config_pb2.AgentConfig:
    """Returns the configuration of one turn.

    Args:
        config: The agent's.
        request: The turn's request.

    Raises:
        InvalidArgumentError: The two contradict each other, or themselves.
    """
    merged = config_pb2.AgentConfig()
    merged.CopyFrom(config)
    if request.HasField("overrides"):
        _override(merged, request.overrides)
    if request.HasField("toolgroups"):
        _replace(merged.toolgroups, request.toolgroups.toolgroups)
    if request.HasField("tool_config"):
        merged.tool_config.CopyFrom(request.tool_config)
        # The request's own word on tools is newer than the agent's short forms.
        if not request.overrides.HasField("tool_choice"):
            merged.ClearField("tool_choice")
        if not request.overrides.HasField("tool_prompt_format"):
            merged.ClearField("tool_prompt_format")
    check(merged, "agent_config")
    return merged


def check(config: config_pb2.AgentConfig, path: str) -> None:
    """Checks what the contract's own rules do not see.

    Args:
        config: A configuration.
        path: Path of the configuration in the request, for errors.

    Raises:
        InvalidArgumentError: Two tools have one name, or a short form contradicts `tool_config`.
    """
    seen: set[str] = set()
    for field, name in _names(config):
        if name in seen:
            raise InvalidArgumentError.of(f"{path}.{field}", f"a second tool is called {name!r}; give it another name")
        seen.add(name)
    tool_config(config, path)


def tool_config(config: config_pb2.AgentConfig, path: str = "agent_config") -> types_pb2.ToolConfig:
    """Returns how tools are offered and called, the short forms of October 2024 included.

    Args:
        config: A configuration.
        path: Path of the configuration in the request, for errors.

    Raises:
        InvalidArgumentError: A short form contradicts `tool_config`.
    """
    whole = types_pb2.ToolConfig()
    whole.CopyFrom(config.tool_config)
    if config.tool_choice:
        if whole.WhichOneof("choice") and whole.tool_choice != config.tool_choice:
            raise InvalidArgumentError.of(f"{path}.tool_choice", "contradicts tool_config; set one of the two")
        whole.tool_choice = config.tool_choice
    if config.tool_prompt_format:
        if whole.tool_prompt_format and whole.tool_prompt_format != config.tool_prompt_format:
            raise InvalidArgumentError.of(f"{path}.tool_prompt_format", "contradicts tool_config; set one of the two")
        whole.tool_prompt_format = config.tool_prompt_format
    return whole


def max_infer_iters(config: config_pb2.AgentConfig) -> int:
    """Returns the most inferences that a turn may have."""
    return config.max_infer_iters if config.HasField("max_infer_iters") else DEFAULT_MAX_INFER_ITERS


def _override(merged: config_pb2.AgentConfig, overrides: config_pb2.AgentConfigOverrides) -> None:
    for descriptor, value in overrides.ListFields():
        name = descriptor.name
        if name in _LISTS:
            _replace(getattr(merged, name), getattr(value, _LISTS[name]))
        elif isinstance(value, Message):
            getattr(merged, name).CopyFrom(value)
        else:
            setattr(merged, name, value)


def _replace(target: Any, source: Iterable[Any]) -> None:
    del target[:]
    target.extend(source)


def _names(config: config_pb2.AgentConfig) -> Iterable[tuple[str, str]]:
    """Fields and names of the tools that a model could call; `memory` is none of them."""
    for index, tool in enumerate(config.tools):
        kind = tool.WhichOneof("tool")
        if kind == "function_call":
            yield f"tools[{index}].function_call.function_name", tool.function_call.function_name
        elif kind:
            # Several memory tools would contradict one another as two searches would.
            yield f"tools[{index}]", kind
    for index, client_tool in enumerate(config.client_tools):
        yield f"client_tools[{index}].name", client_tool.name
