"""What the gateway measures of the calls that it relays."""

import structlog
from opentelemetry import metrics

from services.core.telemetry import Telemetry

_log = structlog.get_logger("caravan.access")

_OK = "0"
_CANCELLED = "1"


class Measurements:
    """Counts calls and, when they fail, logs them. A call that went well costs nothing unless somebody collects metrics."""

    def __init__(self, telemetry: Telemetry, *, access_log: bool) -> None:
        """Makes the measurements.

        Args:
            telemetry: Where metrics go.
            access_log: Log calls that the gateway or a provider could not answer.
        """
        self._access_log = access_log
        self._duration = None
        if telemetry.meter_provider is not None:
            meter = telemetry.meter_provider.get_meter("caravan.gateway")
            self._duration = meter.create_histogram("caravan.gateway.call.duration", "ms", "Duration of relayed calls")
            self._attempts = meter.create_counter(
                "caravan.gateway.call.retries", "{attempt}", "Attempts beyond the first"
            )

    def __call__(self, path: str, provider_id: str, code: str, seconds: float, attempts: int) -> None:
        """Notes a call that has ended; see `gateway.call.Observer`."""
        if self._duration is not None:
            self._measure(path, provider_id, code, seconds, attempts)
        if self._access_log and code not in (_OK, _CANCELLED):
            _log.info(
                "relayed", path=path, provider_id=provider_id, code=code, seconds=round(seconds, 4), attempts=attempts
            )

    def _measure(self, path: str, provider_id: str, code: str, seconds: float, attempts: int) -> None:
        attributes = {"rpc.method": path, "caravan.provider_id": provider_id, "rpc.grpc.status_code": code}
        if isinstance(self._duration, metrics.Histogram):
            self._duration.record(seconds * 1e3, attributes)
        if attempts > 1:
            self._attempts.add(attempts - 1, attributes)
