"""Composition root of one gateway process: everything is made, joined, started and stopped here."""

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from caravan.inspect.v1 import inspect_pb2_grpc
from caravan.registry.v1 import routes_pb2, routes_pb2_grpc
from gateway import background, contract
from gateway.balancing import Balancer, BalancingSettings
from gateway.call import Relay, RelaySettings
from gateway.control import ControlLoop, ControlSettings
from gateway.discovery import Resolve, resolve_by_system
from gateway.edge import Edge, server_context
from gateway.follower import Follower
from gateway.health import GatewayHealth
from gateway.inspection import InspectServicer
from gateway.measurements import Measurements
from gateway.providers import Providers
from gateway.proxy import Proxy
from gateway.registry import servicer as registry_servicer
from gateway.registry.registry import Registry
from gateway.registry.store import RegistryStore
from gateway.replicas import Fleet, Tls
from gateway.resolution import RoutesServicer
from gateway.routing import RoutingTable, Target
from gateway.settings import GatewaySettings
from gateway.tracing import Tracing
from gateway.view import View
from services.core.errors import CaravanError, UnavailableError
from services.core.readiness import Readiness
from services.core.server import Binding, ServiceServer
from services.core.telemetry import Telemetry

_log = structlog.get_logger(__name__)

_SETTLE_SECONDS = 2.0
_PAUSE_SECONDS = 0.5
_WATCH_ENDS_SECONDS = 1.0


class Worker:
    """One gateway process."""

    def __init__(self, settings: GatewaySettings, folder: Path, *, resolve: Resolve = resolve_by_system) -> None:
        """Makes everything; nothing happens before `start`. Needs a running event loop.

        Args:
            settings: The gateway's settings.
            folder: Holds the socket of what the gateway answers itself; no other process uses it.
            resolve: Looks the replicas' names up.

        Raises:
            FailedPreconditionError: TLS files are wrong.
        """
        tls = server_context(settings.tls) if settings.tls else None
        upstream_tls = Tls.of(settings.upstream_tls) if settings.upstream_tls else None
        self._settings = settings
        self._methods = contract.load()
        self._readiness = Readiness()
        own = Target("gateway", (f"unix:{folder / 'own.sock'}",), frozenset())
        self._own = own
        self._store = RegistryStore(settings.redis_url)
        self._providers = Providers(settings.upstream_tls)
        self._follower = Follower(self._store)
        self._table = RoutingTable(routes_pb2.Snapshot())
        self._fleet = Fleet(upstream_tls)
        self._telemetry = Telemetry.of(settings, "caravan-gateway")
        self._relay = Relay(
            self._fleet,
            Balancer(BalancingSettings(load_bound=settings.load_bound)),
            own=own,
            refresh=self._follower.look,
            observe=Measurements(self._telemetry, access_log=settings.access_log),
            tracing=Tracing(self._telemetry.tracer_provider) if self._telemetry.tracer_provider else None,
            settings=RelaySettings(
                max_message_bytes=settings.max_receive_bytes,
                replay_bytes=settings.replay_bytes,
                max_attempts=settings.max_attempts,
                max_calls=settings.max_concurrent_rpcs,
            ),
        )
        proxy = Proxy(self._methods, self._relay, scheme=b"https" if settings.upstream_tls else b"http")
        self._edge = Edge(proxy.accept, tls=tls)
        self._control = ControlLoop(
            {provider.provider_id: provider.addresses for provider in settings.providers},
            self._store,
            self._providers,
            settings=ControlSettings(period=settings.poll_seconds, lease_seconds=settings.lease_seconds),
            resolve=resolve,
        )
        self._health = GatewayHealth(self._readiness, self._methods, self._can_answer)
        self._routes = RoutesServicer(self._follower, lambda: self._table, self._usable)
        self._server = self._own_server(own.addresses[0])
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, address: str) -> None:
        """Begins to serve on `host:port`, which other processes may share.

        Raises:
            CaravanError: It cannot; the message says what to do.
        """
        await self._check_store()
        self._follower.on_view(self._take)
        self._fleet.on_change(self._replica_changed)
        self._fleet.set_addresses(self._own.addresses)
        await self._server.start()
        # A worker that takes the place of one that died gets calls from its first moment on: it needs routes by then.
        await self._follower.look()
        for name, loop in (("follow", self._follower.run), ("news", self._hear), ("control", self._control.run)):
            self._tasks.append(asyncio.create_task(self._forever(name, loop), name=name))
        await self._edge.listen(address)

    async def wait_ready(self) -> None:
        """Waits until there are routes and every replica has been tried."""
        while not self._follower.view.version:
            await self._follower.wait_for(lambda view: bool(view.version), 1.0)
        await self._fleet.settle(_SETTLE_SECONDS)
        self._readiness.set_ready()

    async def drain(self) -> None:
        """Stops in order: NOT_SERVING, no new calls, what runs may end within `drain_seconds`, then everything else."""
        self._health.drain()
        await asyncio.sleep(self._settings.drain_delay_seconds)
        self._routes.end_streams()
        await self._edge.stop_listening()
        deadline = asyncio.get_running_loop().time() + self._settings.drain_seconds
        while self._relay.calls and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(0.02)
        await self.stop()

    async def stop(self) -> None:
        """Stops now: calls that still run are told that the gateway goes away."""
        for call in list(self._relay.calls):
            call.fail(UnavailableError("the gateway is shutting down; try again", reason="SHUTTING_DOWN"))
        await asyncio.sleep(0)
        await background.end(self._tasks)
        await self._follower.close()
        await self._edge.close()
        await self._fleet.close()
        await self._server.stop()
        await self._providers.close()
        await self._store.close()

    # What the parts tell one another.

    def _take(self, view: View) -> None:
        """Routes by a new view."""
        self._table = RoutingTable(view.snapshot)
        self._relay.table = self._table
        self._fleet.set_addresses((*self._own.addresses, *self._table.addresses))
        self._health.changed()

    def _replica_changed(self) -> None:
        self._control.poke()
        self._health.changed()

    def _usable(self, address: str) -> bool:
        replica = self._fleet.replicas.get(address)
        return replica is not None and replica.usable

    def _can_answer(self, service: str) -> bool:
        return any(
            self._usable(endpoint.address)
            for provider in self._table.snapshot.providers
            if service in provider.services
            for endpoint in provider.endpoints
        )

    async def _hear(self) -> None:
        """Reacts to the store's news for as long as it tells them."""
        while True:
            with suppress(CaravanError):
                async for news in self._store.news():
                    if news == "changed":
                        self._control.poke()
                    await self._follower.look()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _forever(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a loop that must not end; a defect in it is logged and does not stop the worker."""
        while True:
            try:
                await loop()
            except Exception:  # noqa: BLE001 - the outermost edge of a background task
                _log.exception("background_task_failed", task=name)
            await asyncio.sleep(_PAUSE_SECONDS)

    # Making the parts.

    async def _check_store(self) -> None:
        """Says early and once that Redis is away; the gateway waits for it."""
        try:
            await self._store.ping()
        except CaravanError as error:
            _log.warning("registry_store_away", why=error.message)

    def _own_server(self, listen: str) -> ServiceServer:
        """Returns the server of what the gateway answers itself; the proxy sends such calls there like any other."""
        registry = Registry(self._store, self._providers, self._follower)
        inspect = InspectServicer(self._methods, self._follower)
        _import_stubs()
        return ServiceServer(
            self._settings.model_copy(
                update={"listen": listen, "tls": None, "reuse_port": False, "drain_seconds": _WATCH_ENDS_SECONDS}
            ),
            [
                *registry_servicer.bindings(registry),
                Binding(
                    "caravan.inspect.v1.InspectService", inspect_pb2_grpc.add_InspectServiceServicer_to_server, inspect
                ),
                Binding(
                    "caravan.registry.v1.RoutesService",
                    routes_pb2_grpc.add_RoutesServiceServicer_to_server,
                    self._routes,
                ),
            ],
            readiness=self._readiness,
            telemetry=self._telemetry,
            health=self._health,
            also_reflected=contract.services_of(self._methods),
        )


def _import_stubs() -> None:
    """Imports the stubs of the whole contract, so that reflection can describe it."""
    for name in contract.stub_modules():
        importlib.import_module(name)
