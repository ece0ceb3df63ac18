"""What callers hear when an MCP server fails."""

from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

from services.agents.tools.mcp_http import Notice
from services.agents.tools.tool import ToolError
from services.core.errors import CaravanError, DeadlineExceededError, FailedPreconditionError, UnavailableError

_MOST_ERROR = 1000
_REASON = "MCP_SERVER"
_UNAUTHORIZED = (401, 403)
_SERVER_ERROR = 500


def failure(group: str, error: Exception, notice: Notice, *, asked: bool) -> CaravanError | ToolError:
    """Returns what to raise.

    Args:
        group: Tool group that the server is.
        error: What the SDK raised.
        notice: What the transport noticed.
        asked: The server was connected to, and then asked.
    """
    server, cause = f"the MCP server of tool group {group}", _innermost(error)
    if notice.refusal is not None:
        return notice.refusal
    if isinstance(cause, CaravanError):
        return cause
    if notice.status in _UNAUTHORIZED:
        message = (
            f"{server} does not accept the credentials (HTTP status {notice.status}): put headers for its address into "
            "mcp_headers, in the request's provider data or in the service's settings"
        )
        return FailedPreconditionError(message, reason="MCP_UNAUTHORIZED")
    if isinstance(cause, TimeoutError) or (isinstance(cause, MCPError) and cause.code == REQUEST_TIMEOUT):
        return DeadlineExceededError(f"{server} did not answer in time")
    if notice.too_large:
        return _told(f"{server} answered with more than tools.max_result_bytes", None, asked=asked)
    return _unreachable(server, cause, notice, asked=asked) or _wrong(server, cause, asked=asked)


def _is_closed(error: BaseException) -> bool:
    cause = _innermost(error)
    return isinstance(cause, MCPError) and cause.code == CONNECTION_CLOSED


def _unreachable(server: str, cause: BaseException, notice: Notice, *, asked: bool) -> UnavailableError | None:
    if _is_closed(cause):
        when = "before it answered; a call may have had its effect" if asked else "while it was connected to"
        why = f"ended the connection {when}"
    elif notice.failure or notice.status >= _SERVER_ERROR:
        why = f"cannot be reached ({notice.failure or f'HTTP status {notice.status}'})"
    elif isinstance(cause, OSError):
        why = f"cannot be started ({type(cause).__name__})"
    else:
        return None
    return UnavailableError(f"{server} {why}", retry_after=5.0, reason=_REASON)


def _wrong(server: str, cause: BaseException, *, asked: bool) -> FailedPreconditionError | ToolError:
    """A server that answers, with a refusal or with nonsense."""
    if isinstance(cause, MCPError):
        said = f"{server} refuses: {cause.message[:_MOST_ERROR]}"
        code = cause.code if -(2**31) <= cause.code < 2**31 else None
    else:
        said, code = f"{server} answered with something that is not the Model Context Protocol", None
    return _told(said, code, asked=asked)


def _told(said: str, code: int | None, *, asked: bool) -> FailedPreconditionError | ToolError:
    return ToolError(said, code) if asked else FailedPreconditionError(said, reason=_REASON)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error
