"""What is known of the call that runs now, for code that is far from gRPC."""

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass, field

REQUEST_ID_KEY = "x-request-id"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
# Visible ASCII, bounded: it goes to logs, to traces and back to the caller.
_REQUEST_ID = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One call, as everything below the servicer may know it."""

    request_id: str
    """Identifies the call in logs and traces; the caller's own (`x-request-id` metadata) or made here."""

    trace_headers: dict[str, str] = field(default_factory=dict)
    """W3C trace context to hand on to an engine or a server: `traceparent`, `tracestate`. Empty when the call is not traced."""

    deadline: float | None = None
    """When the caller stops waiting, on the clock of `time.monotonic()`, in seconds. None: never."""


REQUEST: ContextVar[RequestContext | None] = ContextVar("caravan_request", default=None)
"""The context of the call that runs in this task; None outside a call. Set once for each call, at the edge."""


def current_request() -> RequestContext:
    """Returns the context of the call that runs now.

    Outside a call (start-up, background work) it returns one with a new identifier, no trace and no deadline.
    """
    return REQUEST.get() or RequestContext(request_id=new_request_id())


def new_request_id() -> str:
    """Returns a new identifier: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def request_id_or_new(proposed: str | bytes | None) -> str:
    """Returns the caller's identifier if it is fit for logs (1 to 128 visible ASCII characters), otherwise a new one."""
    if isinstance(proposed, str) and _REQUEST_ID.fullmatch(proposed):
        return proposed
    return new_request_id()


def trace_id_of(request: RequestContext) -> str:
    """Returns the trace id, 32 hexadecimal digits, or an empty string when the call is not traced."""
    return request.trace_headers.get(TRACEPARENT, "")[3:35]
