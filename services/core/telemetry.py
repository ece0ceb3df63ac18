"""OpenTelemetry traces and metrics of calls, and the trace context that travels with them.

Off unless a collector or a Prometheus port is configured; then a call costs nothing more than looking at its `traceparent`. Names are
those of OpenTelemetry's RPC conventions. Request metadata and messages never become attributes, so neither do credentials.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.core.errors import FailedPreconditionError
from services.core.propagation import client_interceptors
from services.core.settings import ServiceSettings, split_address

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["ServerSpan", "Telemetry", "client_interceptors"]

SCOPE = "caravan"
FLUSH_SECONDS = 3.0
_METRIC_INTERVAL_MILLIS = 15_000

_propagator = TraceContextTextMapPropagator()
SERVER_FAULTS: frozenset[int] = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
"""Numbers of the codes that say that the server is at fault (OpenTelemetry's conventions for gRPC server spans)."""


@dataclass(slots=True)
class ServerSpan:
    """One traced call."""

    span: trace.Span
    attributes: dict[str, str]
    token: Any
    trace_headers: dict[str, str]


class Telemetry:
    """Traces and metrics of one process."""

    def __init__(
        self, tracer_provider: "TracerProvider | None" = None, meter_provider: "MeterProvider | None" = None
    ) -> None:
        """Makes telemetry over the given providers.

        Args:
            tracer_provider: Where spans go. None: nowhere.
            meter_provider: Where measurements go. None: nowhere.
        """
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.enabled = tracer_provider is not None or meter_provider is not None
        self._tracer = tracer_provider.get_tracer(SCOPE) if tracer_provider else trace.NoOpTracer()
        meter = meter_provider.get_meter(SCOPE) if meter_provider else metrics.NoOpMeter(SCOPE)
        self._duration = meter.create_histogram("rpc.server.duration", "ms", "Duration of calls")
        self._meter = meter
        self._requests = meter.create_histogram(
            "rpc.server.requests_per_rpc", "{message}", "Request messages of a stream"
        )
        self._responses = meter.create_histogram(
            "rpc.server.responses_per_rpc", "{message}", "Response messages of a stream"
        )

    @classmethod
    def of(cls, settings: ServiceSettings, service_name: str) -> "Telemetry":
        """Returns telemetry as configured.

        Args:
            settings: The process's settings.
            service_name: `service.name` of the resource, for instance "caravan-inference".
        """
        if settings.otlp_endpoint is None and settings.prometheus_port is None:
            return cls()
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import Resource

        resource = Resource.create(
            {
                "service.name": service_name,
                "service.version": _version(),
                "service.instance.id": settings.provider_id,
            }
        )
        meter_provider = MeterProvider(
            resource=resource, metric_readers=list(_metric_readers(settings)), shutdown_on_exit=False
        )
        return cls(_tracer_provider(settings, resource), meter_provider)

    def install(self) -> None:
        """Makes these the process's own providers, for libraries that ask OpenTelemetry for them (engines, HTTP clients)."""
        if self.tracer_provider is not None:
            trace.set_tracer_provider(self.tracer_provider)
        if self.meter_provider is not None:
            metrics.set_meter_provider(self.meter_provider)

    def observe_active(self, active: Callable[[], int]) -> None:
        """Reports the number of calls that run now.

        Args:
            active: Tells the number; called from an exporter's thread.
        """
        self._meter.create_observable_up_down_counter(
            "rpc.server.active_requests", [lambda _: [metrics.Observation(active())]], "{call}", "Calls that run now"
        )

    def begin(self, service: str, method: str, carrier: Mapping[str, str]) -> ServerSpan:
        """Starts the span of a call and makes it the current one.

        Args:
            service: Full name of the service.
            method: Name of the method.
            carrier: The trace headers that came with the call.
        """
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        parent = _propagator.extract(carrier)
        span = self._tracer.start_span(
            f"{service}/{method}", context=parent, kind=SpanKind.SERVER, attributes=attributes
        )
        current = trace.set_span_in_context(span, parent)
        headers: dict[str, str] = {}
        _propagator.inject(headers, current)
        return ServerSpan(span, attributes, otel_context.attach(current), headers)

    def end(
        self, call: ServerSpan, code: grpc.StatusCode, seconds: float, messages: tuple[int, int] | None, reason: str
    ) -> None:
        """Ends the span of a call and counts it.

        Args:
            call: What `begin` returned.
            code: How the call ended.
            seconds: How long it took.
            messages: Numbers of request and response messages. None: it does not stream.
            reason: The error's reason; empty when it went well.
        """
        number: int = code.value[0]
        call.span.set_attribute("rpc.grpc.status_code", number)
        if reason:
            call.span.set_attribute("error.type", reason)
        if number in SERVER_FAULTS:
            call.span.set_status(StatusCode.ERROR, reason)
        call.span.end()
        otel_context.detach(call.token)
        measured: dict[str, str | int] = {**call.attributes, "rpc.grpc.status_code": number}
        self._duration.record(seconds * 1e3, measured)
        if messages is not None:
            self._requests.record(messages[0], measured)
            self._responses.record(messages[1], measured)

    async def shutdown(self, within: float = FLUSH_SECONDS) -> None:
        """Sends what is not sent yet, and stops. A collector that does not answer costs at most `within` seconds."""
        if not self.enabled:
            return
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def stop() -> None:
            if self.tracer_provider is not None:
                self.tracer_provider.shutdown()
            if self.meter_provider is not None:
                self.meter_provider.shutdown(timeout_millis=within * 1e3)
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        # A daemon: an exporter that hangs must not keep the process.
        threading.Thread(target=stop, name="telemetry-shutdown", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), within)
        except TimeoutError:
            return


def _tracer_provider(settings: ServiceSettings, resource: Any) -> "TracerProvider | None":
    if settings.otlp_endpoint is None:
        return None
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    provider = TracerProvider(
        resource=resource, sampler=ParentBasedTraceIdRatio(settings.trace_sample_ratio), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, insecure=settings.otlp_endpoint.startswith("http://"))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _metric_readers(settings: ServiceSettings) -> Iterable["MetricReader"]:
    if settings.otlp_endpoint is not None:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        insecure = settings.otlp_endpoint.startswith("http://")
        exporter = OTLPMetricExporter(endpoint=settings.otlp_endpoint, insecure=insecure)
        yield PeriodicExportingMetricReader(exporter, export_interval_millis=_METRIC_INTERVAL_MILLIS)
    if settings.prometheus_port is not None:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import start_http_server

        host = "127.0.0.1" if settings.listen.startswith("unix:") else split_address(settings.listen)[0]
        # The registry is prometheus-client's own, so engines that export there are shown too.
        reader = PrometheusMetricReader()
        try:
            start_http_server(settings.prometheus_port, addr=host)
        except OSError as error:
            message = f"cannot serve /metrics on {host}:{settings.prometheus_port}: {error}"
            raise FailedPreconditionError(message, reason="CANNOT_LISTEN") from error
        yield reader


def _version() -> str:
    try:
        return version("caravan")
    except PackageNotFoundError:
        return "0"
