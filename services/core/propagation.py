"""Carries request id and trace context to the services that a call calls, with a client span for each of those calls."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.core.context import REQUEST, REQUEST_ID_KEY

_propagator = TraceContextTextMapPropagator()


def client_interceptors(tracer_provider: trace.TracerProvider | None = None) -> list[grpc.aio.ClientInterceptor]:
    """Returns the interceptors of an outgoing channel.

    Args:
        tracer_provider: Where client spans go. None: where the process's own go (`Telemetry.install`).
    """
    tracer = (tracer_provider or trace.get_tracer_provider()).get_tracer("caravan")
    return [_UnaryUnary(tracer), _UnaryStream(tracer), _StreamUnary(tracer), _StreamStream(tracer)]


class _Propagating:
    """Adds the metadata, and the span."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        # asyncio keeps no reference to tasks.
        self._ending: set[asyncio.Task[None]] = set()

    async def _call(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        path = details.method.decode() if isinstance(details.method, bytes) else details.method
        service, _, method = path.removeprefix("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        span = self._tracer.start_span(f"{service}/{method}", kind=SpanKind.CLIENT, attributes=attributes)
        call = await continuation(_with_context(details, span), request)
        if span.is_recording():
            call.add_done_callback(lambda done: self._end(span, done))
        return call

    def _end(self, span: trace.Span, call: Any) -> None:
        async def end() -> None:
            code: grpc.StatusCode = await call.code()
            span.set_attribute("rpc.grpc.status_code", code.value[0])
            if code is not grpc.StatusCode.OK:
                span.set_status(StatusCode.ERROR, code.name)
            span.end()

        task = asyncio.ensure_future(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _with_context(details: Any, span: trace.Span) -> Any:
    """Returns call details with request id and trace context among the metadata; those that the caller set itself are kept."""
    metadata = list(details.metadata or ())
    request = REQUEST.get()
    headers: dict[str, str] = {}
    if span.get_span_context().is_valid:
        _propagator.inject(headers, trace.set_span_in_context(span))
    elif request is not None:
        headers.update(request.trace_headers)
    if request is not None:
        headers[REQUEST_ID_KEY] = request.request_id
    present = {key for key, _ in metadata}
    metadata += [(key, value) for key, value in headers.items() if key not in present]
    return details._replace(metadata=grpc.aio.Metadata(*metadata))


class _UnaryUnary(_Propagating, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._call(continuation, client_call_details, request)


class _UnaryStream(_Propagating, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._call(continuation, client_call_details, request)


class _StreamUnary(_Propagating, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)


class _StreamStream(_Propagating, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)
