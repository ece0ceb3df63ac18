"""A collector on loopback: takes OTLP over gRPC and keeps what it gets."""

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class Span:
    """A span as it was exported."""

    name: str
    kind: int
    """1: internal, 2: server, 3: client."""
    trace_id: str
    span_id: str
    parent_span_id: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    status: int
    """0: unset, 1: ok, 2: error."""


@dataclass
class OtlpSink:
    """What the collector got."""

    endpoint: str = ""
    """For `otlp_endpoint`."""
    spans: list[Span] = field(default_factory=list)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By the name of the metric, the attributes of its points."""
    raw: list[bytes] = field(default_factory=list)
    """Every request as it came, to search for what must not be there."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for_span(self, name: str, within: float = 10.0) -> Span:
        """Returns the first span whose name ends with `name`."""
        deadline = time.monotonic() + within
        with self._changed:
            while True:
                for span in self.spans:
                    if span.name.endswith(name):
                        return span
                if not self._changed.wait(deadline - time.monotonic()):
                    message = f"no span {name!r} among {[span.name for span in self.spans]}"
                    raise AssertionError(message)

    def took(self, raw: bytes, spans: list[Span], metrics: dict[str, list[dict[str, Any]]]) -> None:
        with self._changed:
            self.raw.append(raw)
            self.spans += spans
            for name, points in metrics.items():
                self.metrics.setdefault(name, []).extend(points)
            self._changed.notify_all()


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, sink: OtlpSink) -> None:
        self._sink = sink

    def Export(self, request: Any, context: Any) -> Any:
        spans = [
            _span(span, _attributes(group.resource.attributes))
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]
        self._sink.took(request.SerializeToString(), spans, {})
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, sink: OtlpSink) -> None:
        self._sink = sink

    def Export(self, request: Any, context: Any) -> Any:
        found: dict[str, list[dict[str, Any]]] = {}
        for group in request.resource_metrics:
            for scope in group.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, metric.WhichOneof("data"))
                    points = found.setdefault(metric.name, [])
                    points += [_attributes(point.attributes) for point in data.data_points]
        self._sink.took(request.SerializeToString(), [], found)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _span(span: Any, resource: dict[str, Any]) -> Span:
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Span(span.name, span.kind, *ids, _attributes(span.attributes), resource, span.status.code)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def otlp_sink() -> Iterator[OtlpSink]:
    """Runs a collector."""
    sink = OtlpSink()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(sink), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(sink), server)
    sink.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield sink
    finally:
        server.stop(None).wait()
