"""One way to start, serve, drain and stop a service."""

import asyncio
import contextlib
import inspect
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc
import structlog
import uvloop
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from caravan.providers.v1 import providers_pb2_grpc
from services.core import heap, validation
from services.core.calls import Calls, Draining, Handler, Kind, Limits, Method, UnknownMethods
from services.core.credentials import server_credentials
from services.core.errors import CaravanError, FailedPreconditionError
from services.core.health import HEALTH_SERVICE, HealthServicer
from services.core.logs import configure_logs
from services.core.provider import Provider, ProviderServicer
from services.core.readiness import STARTING, Readiness
from services.core.settings import ServiceSettings, parse_settings
from services.core.telemetry import Telemetry

__all__ = ["Binding", "ServiceServer", "parse_settings", "run"]

PROVIDER_SERVICE = "caravan.providers.v1.ProviderService"
# The gateway asks it every second: neither logs nor traces are about that.
_POLLED = (PROVIDER_SERVICE, "DescribeProvider")
# Seconds that calls which were told to end get before the server goes on without them.
_STOP_SECONDS = 5.0
# Seconds during which calls are refused in so many words, before gRPC's own shutdown refuses them.
_REFUSING_SECONDS = 0.25
# Seconds that watches of health get to end by themselves.
_PLUMBING_SECONDS = 0.25
# Seconds that threads get to end when everything else has.
_EXIT_SECONDS = 3.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Binding:
    """One service that a server serves."""

    name: str
    """Full name of the service, for instance `caravan.inference.v1.InferenceService`."""

    add_to_server: Callable[[Any, Any], None]
    """The generated `add_..._to_server` function."""

    servicer: object
    """The service's implementation."""


class Closing(Protocol):
    """Something that is closed in the end."""

    async def close(self) -> None:
        """Closes it."""


class ServiceServer:
    """The gRPC server of one process: its services, health, reflection and, with a provider, ProviderService, on one port.

    Every handler is wrapped by `services.core.calls`. `generic_handlers` are not: they get raw calls and answer for themselves.
    """

    def __init__(  # noqa: PLR0913 - the composition root's one call
        self,
        settings: ServiceSettings,
        bindings: Sequence[Binding],
        provider: Provider | None = None,
        *,
        readiness: Readiness | None = None,
        generic_handlers: Sequence[grpc.GenericRpcHandler] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        telemetry: Telemetry | None = None,
        health: HealthServicer | None = None,
        also_reflected: Sequence[str] = (),
        closing: Sequence[Closing] = (),
    ) -> None:
        """Makes the server; nothing happens before `start`.

        Args:
            settings: The process's settings.
            bindings: The services to serve.
            provider: The provider behind them, which the server starts and stops.
            readiness: What health shows when there is no provider. None: ready as soon as it listens.
            generic_handlers: Asked for methods that the bindings do not have.
            interceptors: gRPC's own interceptors, for calls of every kind. Each costs every call; mind the streams.
            telemetry: Traces and metrics. None: as the settings say.
            health: Answers for more than this process. None: health shows the readiness.
            also_reflected: Full names of services that reflection describes although others answer them; their stubs must be imported.
            closing: What the services hold beside the provider; closed in this order when no call runs and the provider has stopped.
        """
        self.settings = settings
        self.provider = provider
        self.telemetry = telemetry if telemetry is not None else Telemetry.of(settings, _service_name(bindings))
        self.address = ""
        self._bindings = list(bindings)
        self._readiness = provider.readiness if provider else readiness or Readiness()
        self._own_readiness = provider is None and readiness is None
        self._generic_handlers = list(generic_handlers)
        self._interceptors = list(interceptors)
        self._limits = Limits(
            max_send_bytes=settings.max_send_bytes,
            max_concurrent=settings.max_concurrent_rpcs,
            not_started=STARTING if provider else None,
        )
        self._calls = Calls(self._limits, self.telemetry, access_log=settings.access_log)
        self.telemetry.observe_active(lambda: self._calls.active)
        self._health = health
        self._also_reflected = tuple(also_reflected)
        self._closing = tuple(closing)
        self._server: grpc.aio.Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._at_once = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def active_calls(self) -> int:
        """API calls that run now (those of generic handlers not counted)."""
        return self._calls.active

    async def start(self) -> int:
        """Listens, and begins to start the provider; `wait_ready` tells when that is done.

        Returns:
            The port; 0 for a Unix socket.

        Raises:
            FailedPreconditionError: It cannot listen there, or the TLS files are wrong.
        """
        self._server = self._build()
        port = self._bind(self._server)
        await self._server.start()
        self._starting = asyncio.create_task(self._start_provider(), name="provider-start")
        # Whoever waits gets the exception; without one it is no news to asyncio.
        self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return port

    async def wait_ready(self) -> None:
        """Waits until the provider has started and says that it can answer.

        Raises:
            Exception: What the provider's `start` raised.
        """
        if self._starting is None:
            message = "the server was not started"
            raise RuntimeError(message)
        await asyncio.shield(self._starting)
        changed = asyncio.Event()
        unsubscribe = self._readiness.subscribe(lambda _: changed.set())
        try:
            while not self._readiness.ready:
                changed.clear()
                await changed.wait()
        finally:
            unsubscribe()

    async def drain(self) -> None:
        """Stops in order: reports NOT_SERVING, refuses new calls, lets running ones finish for `drain_seconds`, stops the provider.

        Work that the provider does without a call begins to end at once, beside the calls.
        """
        await self._stop(self.settings.drain_seconds, delay=self.settings.drain_delay_seconds)

    async def stop(self) -> None:
        """Stops now: running calls are cancelled. Also cuts short a `drain` that is under way."""
        self._at_once.set()
        if self._stopping is not None and self._server is not None:
            await self._server.stop(None)
        await self._stop(None)

    async def wait(self) -> None:
        """Waits until the server has stopped.

        Raises:
            Exception: What the provider's `start` raised; the server is stopped then.
        """
        if self._starting is not None:
            stopped = asyncio.create_task(self._stopped.wait())
            await asyncio.wait((self._starting, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if self._starting.done() and not self._starting.cancelled() and self._starting.exception():
                await self.stop()
                await self._starting
        await self._stopped.wait()

    def _build(self) -> grpc.aio.Server:
        settings = self.settings
        server = grpc.aio.server(
            interceptors=self._interceptors,
            options=_options(settings),
            # Ours are counted by `Calls`, which leaves health out; those of generic handlers only gRPC can count.
            maximum_concurrent_rpcs=settings.max_concurrent_rpcs if self._generic_handlers else None,
        )
        bindings = list(self._bindings)
        if self.provider is not None:
            add = providers_pb2_grpc.add_ProviderServiceServicer_to_server
            bindings.append(Binding(PROVIDER_SERVICE, add, ProviderServicer(self.provider)))
        names: list[str] = []
        for binding in bindings:
            kind = Kind.PROVIDER if binding.name == PROVIDER_SERVICE else Kind.API
            names += self._add(server, binding, kind)
        always = [PROVIDER_SERVICE] if PROVIDER_SERVICE in names else []
        if self._health is None:
            ready = [name for name in names if name not in always]
            self._health = HealthServicer(self._readiness, ready_services=ready, always=always)
        add_health = health_pb2_grpc.add_HealthServicer_to_server
        names += self._add(server, Binding(HEALTH_SERVICE, add_health, self._health), Kind.PLUMBING)
        servicer = ReflectionServicer({*names, *self._also_reflected, reflection.SERVICE_NAME})
        add_reflection = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
        self._add(server, Binding(reflection.SERVICE_NAME, add_reflection, servicer), Kind.PLUMBING)
        generic = [Draining(self._limits, self._calls), *self._generic_handlers] if self._generic_handlers else []
        server.add_generic_rpc_handlers((*generic, UnknownMethods(self._calls)))
        return server

    def _add(self, server: grpc.aio.Server, binding: Binding, kind: Kind) -> list[str]:
        """Registers a service with wrapped handlers and returns the full names of what it registered."""
        registered = _Registered()
        binding.add_to_server(binding.servicer, registered)
        for service, handlers in registered.handlers.items():
            wrapped = {}
            for name, handler in handlers.items():
                streams = handler.request_streaming or handler.response_streaming
                own_kind = Kind.PLUMBING if (service, name) == _POLLED else kind
                wrapped[name] = self._calls.wrap(Method(service, name, own_kind, streams), handler)
                request_class = getattr(handler.request_deserializer, "__self__", None)
                if kind is not Kind.PLUMBING and request_class is not None:
                    validation.prepare(request_class)
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))
            server.add_registered_method_handlers(service, wrapped)
        return list(registered.handlers)

    def _bind(self, server: grpc.aio.Server) -> int:
        settings = self.settings
        try:
            if settings.tls is None:
                port = server.add_insecure_port(settings.listen)
            else:
                port = server.add_secure_port(settings.listen, server_credentials(settings.tls))
        except (RuntimeError, OSError) as error:
            message = (
                f"cannot listen on {settings.listen}: is the port taken, or the address not this machine's? ({error})"
            )
            raise FailedPreconditionError(message, reason="CANNOT_LISTEN") from error
        if settings.listen.startswith("unix:"):
            self.address = settings.listen
            return 0
        self.address = f"{settings.listen.rpartition(':')[0]}:{port}"
        return port

    async def _start_provider(self) -> None:
        if self.provider is not None:
            await self.provider.start()
            self._limits.not_started = None
        if (self.provider or self._own_readiness) and self._readiness.reason == STARTING:
            self._readiness.set_ready()

    async def _stop(self, grace: float | None, delay: float = 0.0) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._run_stop(grace, delay), name="server-stop")
        await asyncio.shield(self._stopping)

    async def _run_stop(self, grace: float | None, delay: float) -> None:
        try:
            if self._health is not None:
                self._health.drain()
            if self.provider is not None and self._limits.not_started is None:
                await self._ending("provider_drain_failed", self.provider.drain())
            await self._pause(delay)
            if self._server is not None:
                await self._finish_calls(self._server, grace)
            await self._stop_provider()
            for part in self._closing:
                await self._ending("close_failed", part.close())
            await self.telemetry.shutdown()
        finally:
            self._stopped.set()

    async def _pause(self, seconds: float) -> None:
        """Waits, unless the server is to stop at once."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), seconds)

    async def _finish_calls(self, server: grpc.aio.Server, grace: float | None) -> None:
        self._limits.draining = True
        if grace:
            # gRPC answers CANCELLED, which nobody retries, to calls that arrive just when it stops: turn clients away before that.
            await self._pause(min(grace, _REFUSING_SECONDS))
        stopping = asyncio.create_task(server.stop(grace))
        if grace:
            # Watches of health end by themselves; an idle reflection stream would hold the server for the whole grace.
            await self._calls.end_plumbing(min(grace, _PLUMBING_SECONDS))
        await asyncio.wait((stopping,), timeout=(grace or 0.0) + _STOP_SECONDS)
        if not stopping.done():
            _log.warning("calls_do_not_end", active=self.active_calls)

    async def _stop_provider(self) -> None:
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait((self._starting,), timeout=_STOP_SECONDS)
        if self.provider is not None:
            await self._ending("provider_stop_failed", self.provider.stop())

    async def _ending(self, failure: str, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - the process ends anyway, but in order
            _log.exception(failure, provider_id=self.settings.provider_id)


S = TypeVar("S", bound=ServiceSettings)
AppFactory = Callable[[S], ServiceServer | Awaitable[ServiceServer]]


def run(app_factory: AppFactory[S], settings: S) -> int:
    """Runs a service until SIGTERM or SIGINT, then drains it; a second signal stops it at once.

    Prints a JSON object a line on stdout: `{"event": "listening", "address": ...}` when calls are accepted, `serving` when the provider can
    answer, `draining` and `stopped`. The log is on stderr.

    Args:
        app_factory: Builds the server, inside the event loop.
        settings: The process's settings.

    Returns:
        Exit code: 0 after a drain, 1 when the service cannot start.
    """
    configure_logs(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_serve(app_factory, settings))
        # Work in a thread that nobody can call off, for instance the loading of a model, must not keep the process.
        last = threading.Timer(_EXIT_SECONDS, os._exit, (code,))
        last.daemon = True
        last.start()
    return code


async def _serve(app_factory: AppFactory[S], settings: S) -> int:
    signals = _Signals()
    server: ServiceServer | None = None
    try:
        built = app_factory(settings)
        server = await built if inspect.isawaitable(built) else built
        server.telemetry.install()
        await server.start()
        _announce("listening", address=server.address, provider_id=settings.provider_id)
        ready = asyncio.create_task(server.wait_ready())
        await asyncio.wait((ready, signals.first), return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            await ready
            heap.set_apart()
            _announce("serving", address=server.address)
            await signals.first
        ready.cancel()
    except CaravanError as error:
        _log.error("cannot_start", message=error.message, reason=error.reason, metadata=error.metadata)
        return await _give_up(server)
    except Exception:  # noqa: BLE001 - the outermost edge of the process
        _log.exception("cannot_start")
        return await _give_up(server)
    _announce("draining", signal=signals.first.result(), seconds=settings.drain_seconds)
    draining = asyncio.create_task(server.drain())
    await asyncio.wait((draining, signals.second), return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        await server.stop()
    await draining
    _announce("stopped")
    return 0


async def _give_up(server: ServiceServer | None) -> int:
    if server is not None:
        await server.stop()
    return 1


class _Signals:
    """SIGTERM and SIGINT as futures: the first and the second that arrive."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[str] = loop.create_future()
        self.second: asyncio.Future[str] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._arrived, number.name)

    def _arrived(self, name: str) -> None:
        for future in (self.first, self.second):
            if not future.done():
                future.set_result(name)
                return


class _Registered:
    """Stands in for a server in the generated `add_..._to_server` functions and keeps what they register."""

    def __init__(self) -> None:
        self.handlers: dict[str, Mapping[str, Handler]] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Ignores them: the generated code registers the same handlers by name too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        self.handlers[service] = handlers


def _announce(event: str, **fields: Any) -> None:
    try:
        print(json.dumps({"event": event, **fields}), flush=True)  # noqa: T201 - a contract with whoever started the process
    except OSError:
        # Nobody reads any more.
        sys.stdout = None


def _options(settings: ServiceSettings) -> list[tuple[str, Any]]:
    return [
        ("grpc.so_reuseport", int(settings.reuse_port)),
        ("grpc.max_receive_message_length", settings.max_receive_bytes),
        ("grpc.max_send_message_length", settings.max_send_bytes),
        ("grpc.keepalive_time_ms", round(settings.keepalive_seconds * 1e3)),
        ("grpc.keepalive_timeout_ms", round(settings.keepalive_timeout_seconds * 1e3)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients may ping an idle connection this often; gRPC's default, five minutes, makes it drop Caravan's own.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ]


def _service_name(bindings: Sequence[Binding]) -> str:
    """Returns the `service.name` of telemetry, for instance "caravan-inference"."""
    parts = bindings[0].name.split(".") if bindings else []
    return f"caravan-{parts[1]}" if len(parts) > 1 else "caravan"
