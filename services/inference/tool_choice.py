"""What a request's tool choice may and may not ask for."""

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.ports import ChatRequest


def check_tool_choice(request: ChatRequest) -> None:
    """Checks the tool choice against the tools.

    Raises:
        InvalidArgumentError: The choice names no declared tool, demands a call without tools, or contradicts `response_format`; or two
            tools have one name.
    """
    names = [tool.tool_name for tool in request.tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidArgumentError.of(
                f"tools[{index}].tool_name", f"{name!r} is declared twice; names must be unique"
            )
    config = request.tool_config
    chosen = config.tool_name if config.WhichOneof("choice") == "tool_name" else None
    if chosen is not None and chosen not in names:
        known = ", ".join(names) or "none"
        raise InvalidArgumentError.of(
            "tool_config.tool_name", f"{chosen!r} is not one of the request's tools ({known})"
        )
    demanded = chosen is not None or config.tool_choice == types_pb2.TOOL_CHOICE_REQUIRED
    if demanded and not names:
        raise InvalidArgumentError.of("tools", "must not be empty when tool_config demands a call")
    if demanded and request.HasField("response_format"):
        raise InvalidArgumentError.of(
            "response_format", "cannot be combined with a tool choice that demands a call; leave one of them out"
        )
