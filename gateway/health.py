"""`grpc.health.v1.Health` for the gateway: of itself, and of every service that it routes."""

from collections.abc import Callable, Mapping
from typing import Any

from grpc_health.v1 import health_pb2

from gateway.contract import Method, services_of
from services.core.health import HealthServicer
from services.core.readiness import Readiness

_Status = health_pb2.HealthCheckResponse


class GatewayHealth(HealthServicer):
    """The empty name and the gateway's own services: this worker has routes. A routed service: a replica can answer it now."""

    def __init__(self, readiness: Readiness, methods: Mapping[str, Method], can_answer: Callable[[str], bool]) -> None:
        """Makes the servicer.

        Args:
            readiness: Whether this worker has routes.
            methods: The contract's RPCs by path.
            can_answer: Tells whether a replica can answer a service, by its full name.
        """
        own = services_of({path: method for path, method in methods.items() if method.gateway})
        self._own = frozenset(("", *own))
        self._routed = frozenset(method.service for method in methods.values() if method.routed) - self._own
        super().__init__(readiness, ready_services=[*own, *self._routed])
        self._can_answer = can_answer

    def status(self, service: str) -> Any:
        """Returns the status of a service, or None for one that the contract does not have."""
        own = super().status("")
        if service in self._own:
            return own
        if service not in self._routed:
            return None
        return own if self._can_answer(service) else _Status.NOT_SERVING

    def changed(self) -> None:
        """Tells the watchers that a replica or a route has changed."""
        self._wake()
