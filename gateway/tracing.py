"""A span for every call that is relayed, between the caller's and the service's."""

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.http2.hpack import Headers
from services.core.telemetry import SERVER_FAULTS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_TRACEPARENT, _TRACESTATE = b"traceparent", b"tracestate"
_CONTEXT = (_TRACEPARENT, _TRACESTATE)

_propagator = TraceContextTextMapPropagator()


class RelaySpan:
    """The span of one call."""

    __slots__ = ("_headers", "_span")

    def __init__(self, span: Span, headers: Headers) -> None:
        """Takes a span that has begun.

        Args:
            span: The span.
            headers: What tells the replica of it.
        """
        self._span = span
        self._headers = headers

    def carried_by(self, headers: Headers) -> Headers:
        """Returns a request's headers with this span in the place of the caller's."""
        return (*(header for header in headers if header[0] not in _CONTEXT), *self._headers)

    def end(self, provider_id: str, code: str, attempts: int, reason: str) -> None:
        """Ends it.

        Args:
            provider_id: Provider that answered. Empty: none.
            code: Canonical status code as a number; empty when there was none.
            attempts: Replicas tried.
            reason: The error's reason, when it is the gateway's own.
        """
        span = self._span
        if span.is_recording():
            number = int(code) if code.isdigit() else 2
            span.set_attribute("rpc.grpc.status_code", number)
            span.set_attribute("caravan.retries", max(0, attempts - 1))
            if provider_id:
                span.set_attribute("caravan.provider_id", provider_id)
            if reason:
                span.set_attribute("error.type", reason)
            if number in SERVER_FAULTS:
                span.set_status(StatusCode.ERROR, reason)
        span.end()


class Tracing:
    """Makes the spans of relayed calls."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Makes it.

        Args:
            provider: Where spans go, and which calls are sampled.
        """
        self._tracer = provider.get_tracer("caravan.gateway")

    def begin(self, path: str, headers: Headers) -> RelaySpan:
        """Begins the span of a call.

        Args:
            path: The RPC's path.
            headers: The request's, with the caller's trace context if it has one.
        """
        carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in _CONTEXT}
        parent = _propagator.extract(carrier)
        service, _, method = path[1:].partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        span = self._tracer.start_span(path[1:], context=parent, kind=SpanKind.SERVER, attributes=attributes)
        own: dict[str, str] = {}
        _propagator.inject(own, trace.set_span_in_context(span, parent))
        return RelaySpan(span, tuple((name.encode(), value.encode("latin-1")) for name, value in own.items()))
