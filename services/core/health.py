"""`grpc.health.v1.Health` over a readiness: SERVING only while the provider can really answer."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.core.errors import NotFoundError
from services.core.readiness import Readiness

HEALTH_SERVICE = "grpc.health.v1.Health"

# The types that come with grpcio-health-checking lag behind it.
_health: Any = health_pb2
_Status: Any = health_pb2.HealthCheckResponse
_SERVING: int = _Status.SERVING
_NOT_SERVING: int = _Status.NOT_SERVING


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Health of this process, by the name of a service; the empty name stands for the process.

    Unlike grpcio-health-checking's servicer it ends its watches when the server drains, so that a watching balancer holds nothing up.
    """

    def __init__(self, readiness: Readiness, *, ready_services: Iterable[str], always: Iterable[str] = ()) -> None:
        """Makes the servicer.

        Args:
            readiness: Whether the provider can answer.
            ready_services: Full names of the services that answer while `readiness` says so.
            always: Full names of those that answer until the server drains.
        """
        self._readiness = readiness
        self._ready_services = frozenset(("", *ready_services))
        self._always = frozenset(always)
        self._draining = False
        self._wakers: set[asyncio.Event] = set()
        readiness.subscribe(lambda _: self._wake())

    def drain(self) -> None:
        """Reports NOT_SERVING from now on and ends the watches."""
        self._draining = True
        self._wake()

    def status(self, service: str) -> int | None:
        """Returns the status of a service, or None for one that this process does not have."""
        if service in self._always:
            return _NOT_SERVING if self._draining else _SERVING
        if service in self._ready_services:
            serving = self._readiness.ready and not self._draining
            return _SERVING if serving else _NOT_SERVING
        return None

    async def Check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """Returns the status of one service."""
        status = self.status(request.service)
        if status is None:
            message = f"this server has no service {request.service!r}; reflection lists those it has"
            raise NotFoundError(message, resource_type="service", resource_name=request.service)
        return _Status(status=status)

    async def List(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """Returns the status of every service."""
        names = sorted(self._ready_services | self._always)
        return _health.HealthListResponse(statuses={name: _Status(status=self.status(name)) for name in names})

    async def Watch(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        """Streams the status of one service: now, and on every change."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            sent: int | None = None
            while True:
                waker.clear()
                status = self.status(request.service)
                status = _Status.SERVICE_UNKNOWN if status is None else status
                if status != sent:
                    yield _Status(status=status)
                    sent = status
                if self._draining:
                    return
                await waker.wait()
        finally:
            self._wakers.discard(waker)

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()
