"""What MCP servers say, in the words of the contract: tools and results. Servers are strangers: everything is checked and bounded."""

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from mcp import types as mcp_types

from caravan.agents.v1 import turns_pb2
from caravan.types.v1 import types_pb2
from services.agents.tools.tool import Outcome, ToolError, text_content

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_MIME_TYPE = re.compile(r"[\w.+-]{1,127}/[\w.+-]{1,127}")
_MOST_PARAMETERS = 128
_MOST_DESCRIPTION = 16384
_MOST_SCHEMA_BYTES = 65536
_MOST_DEPTH = 16
_MOST_ERROR = 4000
_MOST_ATTACHMENTS = 32
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class McpToolInfo:
    """A tool of an MCP server."""

    definition: types_pb2.ToolDefinition
    """What a model sees."""
    idempotent: bool
    """The server says that a call may run twice without harm."""


def tool_infos(group: str, tools: Iterable[mcp_types.Tool]) -> tuple[McpToolInfo, ...]:
    """Returns a server's tools in the order of their names. Those that no model could be told of are left out, and logged.

    Args:
        group: Tool group, for the log.
        tools: As the server lists them.
    """
    found: dict[str, McpToolInfo] = {}
    for tool in tools:
        try:
            found[tool.name] = _info(tool)
        except ValueError as error:
            _log.warning("mcp_tool_left_out", group=group, tool=tool.name[:128], why=str(error))
    return tuple(found[name] for name in sorted(found))


def outcome_of(tool: str, result: mcp_types.CallToolResult) -> Outcome:
    """Returns what a call came to. Texts are the content; images, sound and files become attachments.

    Args:
        tool: Name of the tool.
        result: The server's result.

    Raises:
        ToolError: The tool says that it failed, or the result is malformed.
    """
    texts: list[str] = []
    attachments: list[turns_pb2.Attachment] = []
    for block in result.content:
        match block:
            case mcp_types.TextContent():
                texts.append(block.text)
            case mcp_types.ImageContent() | mcp_types.AudioContent():
                texts.append(_attach(attachments, tool, block.data, block.mime_type))
            case mcp_types.ResourceLink():
                texts.append(f"{block.name}: {block.uri}")
            case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents() as resource):
                texts.append(resource.text)
            case mcp_types.EmbeddedResource(resource=mcp_types.BlobResourceContents() as resource):
                texts.append(_attach(attachments, tool, resource.blob, resource.mime_type or ""))
    structured = _structured(tool, result.structured_content)
    if structured and not any(texts):
        texts = [structured]
    text = "\n".join(texts)
    if result.is_error:
        raise ToolError(text[:_MOST_ERROR] or f"{tool} failed and did not say why")
    facts = {"structured_content": result.structured_content} if structured else {}
    return Outcome(text_content(text), tuple(attachments), metadata=facts)


def _info(tool: mcp_types.Tool) -> McpToolInfo:
    if not _NAME.fullmatch(tool.name):
        message = "its name has other characters than letters, digits, '_', '.' and '-', or is too long"
        raise ValueError(message)
    schema = tool.input_schema
    if not is_plain(schema, _MOST_SCHEMA_BYTES):
        message = "its schema is too large, too deep, or no JSON"
        raise ValueError(message)
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, dict) or not isinstance(required, list) or len(properties) > _MOST_PARAMETERS:
        message = f"its parameters are no object of at most {_MOST_PARAMETERS}"
        raise ValueError(message)
    definition = types_pb2.ToolDefinition(
        tool_name=tool.name, description=(tool.description or tool.title or "")[:_MOST_DESCRIPTION]
    )
    for name, value in properties.items():
        if not _NAME.fullmatch(name):
            message = "a parameter's name has other characters than letters, digits, '_', '.' and '-'"
            raise ValueError(message)
        own = value if isinstance(value, dict) else {}
        definition.parameters[name].CopyFrom(_parameter(own, schema, is_required=name in required))
    hints = tool.annotations
    return McpToolInfo(definition, bool(hints and (hints.read_only_hint or hints.idempotent_hint)))


def _parameter(own: dict[str, Any], schema: dict[str, Any], *, is_required: bool) -> types_pb2.ToolParamDefinition:
    kinds = own.get("type")
    named = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    kind = next((name for name in named if isinstance(name, str) and name and name != "null"), "")
    description = own.get("description")
    parameter = types_pb2.ToolParamDefinition(
        param_type=kind[:256] or "object",
        description=description[:_MOST_DESCRIPTION] if isinstance(description, str) else "",
        required=is_required,
    )
    if "default" in own and own["default"] is not None:
        parameter.default.CopyFrom(_value(own["default"]))
    # A type and a description say it all for simple ones.
    if not kind or set(own) - {"type", "description", "title", "default"}:
        definitions = {name: schema[name] for name in ("$defs", "definitions") if isinstance(schema.get(name), dict)}
        parameter.schema.update({**own, **(definitions if "$ref" in json.dumps(own) else {})})
    return parameter


def _value(value: Any) -> Any:
    holder = types_pb2.ToolParamDefinition()
    holder.schema.update({"value": value})
    return holder.schema.fields["value"]


def _attach(attachments: list[turns_pb2.Attachment], tool: str, data: str, mime_type: str) -> str:
    """Adds a file and returns what the model reads in its place."""
    if len(attachments) >= _MOST_ATTACHMENTS:
        message = f"{tool} answered with more than {_MOST_ATTACHMENTS} files"
        raise ToolError(message)
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        message = f"{tool} answered with data that is not valid base64"
        raise ToolError(message) from None
    if not content:
        return "[an empty file]"
    kind = mime_type if _MIME_TYPE.fullmatch(mime_type) else "application/octet-stream"
    name = f"{tool}-{len(attachments) + 1}{mimetypes.guess_extension(kind) or '.bin'}"
    attachments.append(turns_pb2.Attachment(data=content, mime_type=kind, file_name=name))
    return f"[{name}: {kind}, {len(content)} bytes, shown to the user]"


def _structured(tool: str, content: Any) -> str:
    if content is None:
        return ""
    if not is_plain(content, None):
        message = f"{tool} answered with structured content that is too deep, or no JSON"
        raise ToolError(message)
    return json.dumps(content, ensure_ascii=False)


def is_plain(value: Any, most_bytes: int | None) -> bool:
    """Whether a value is JSON that a message can hold: finite numbers, valid text, not too deep, not too large.

    Args:
        value: The value.
        most_bytes: Most bytes of its text; None: any number.
    """
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, TypeError, RecursionError):
        return False
    return (most_bytes is None or size <= most_bytes) and _depth_fits(value)


def _depth_fits(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(_MOST_DEPTH):
        inner: list[Any] = []
        for one in level:
            inner += one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ()
        if not inner:
            return True
        level = inner
    return False
