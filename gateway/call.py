"""One call on its way: from the client's stream to a replica's and back, its bytes unparsed.

A call is *committed* when the replica's response headers arrive. Until then it has produced nothing, and the gateway keeps the request's
bytes (as many as `replay_bytes`) to send the whole of it to another replica when the first answers UNAVAILABLE, refuses the stream or is
lost. A request stream that outgrows what is kept is committed by that: it is never repeated in part.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from gateway import messages, wire
from gateway.balancing import Balancer, fingerprint
from gateway.contract import Method
from gateway.http2.connection import Stream
from gateway.http2.frames import ErrorCode
from gateway.http2.hpack import Headers
from gateway.messages import PREFIX_SIZE, MessageMeter
from gateway.replicas import Fleet, Replica
from gateway.requests import Request, format_timeout
from gateway.routing import RoutingTable, Target
from gateway.tracing import RelaySpan, Tracing
from services.core.errors import (
    CallCancelledError,
    CaravanError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.core.status import too_large

_UNAVAILABLE = b"14"
_EXHAUSTED = b"8"


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Limits of the data path."""

    max_message_bytes: int = 32 << 20
    """Largest message in either direction."""

    replay_bytes: int = 32 << 20
    """Most bytes of a request that are kept so that another replica can be tried."""

    prefix_bytes: int = 2048
    """Leading bytes of the prefix field that tell prompts apart."""

    max_attempts: int = 3
    """Replicas that a call is tried on at most."""

    patience: float = 2.0
    """Seconds that a call waits for a replica which is being connected to."""

    max_calls: int | None = None
    """Calls that run at once at most; more are refused. Those that the gateway answers itself do not count. None: no limit."""


class Observer(Protocol):
    """Hears of every call that has ended."""

    def __call__(self, path: str, provider_id: str, code: str, seconds: float, attempts: int) -> None:
        """Notes a call.

        Args:
            path: The RPC's path; empty when it is unknown.
            provider_id: Provider that answered. Empty: none.
            code: Canonical status code as a number, or "1" when the caller went away.
            seconds: From the request's first byte to the last of the response.
            attempts: Replicas tried.
        """


class Relay:
    """What all calls share: where they may go, their limits, and which there are."""

    def __init__(  # noqa: PLR0913 - all of it is made elsewhere
        self,
        fleet: Fleet,
        balancer: Balancer,
        *,
        own: Target,
        refresh: Callable[[], Awaitable[bool]],
        observe: Observer,
        tracing: Tracing | None = None,
        settings: RelaySettings = RelaySettings(),
    ) -> None:
        """Makes a relay without routes.

        Args:
            fleet: Connections to the replicas.
            balancer: Chooses among them.
            own: Where the services that the gateway answers itself are served.
            refresh: Looks for a newer snapshot, and tells whether there was one. Called before a resource is said to be unknown.
            observe: Hears of every call that has ended.
            tracing: Makes spans of relayed calls. None: none.
            settings: Limits.
        """
        self.fleet = fleet
        self.balancer = balancer
        self.own = own
        self.settings = settings
        self.refresh = refresh
        self.observe = observe
        self.tracing = tracing
        self.table: RoutingTable | None = None
        self.calls: set[Call] = set()
        self.relayed = 0
        """Calls among them that replicas answer."""
        self.waiting: dict[Call, None] = {}
        self.background: set[asyncio.Task[None]] = set()
        fleet.on_change(self._wake)

    def _wake(self) -> None:
        for call in list(self.waiting):
            call.attempt()


class Call:
    """One call: the client's stream, and the replica's once there is one."""

    __slots__ = (
        "_attempts",
        "_body",
        "_body_size",
        "_client",
        "_code",
        "_ended",
        "_expected",
        "_kept",
        "_opened",
        "_prefix",
        "_reason",
        "_refreshed",
        "_relay",
        "_relayed",
        "_replica",
        "_request",
        "_request_meter",
        "_responding",
        "_response_meter",
        "_span",
        "_started",
        "_target",
        "_timer",
        "_tried",
        "_upstream",
    )

    def __init__(self, relay: Relay, client: Stream) -> None:
        """Makes a call that has not begun."""
        self._relay = relay
        self._client = client
        self._request: Request | None = None
        self._started = time.monotonic()
        self._target: Target | None = None
        self._prefix: int | None = None
        self._body: list[bytes] = []
        """The request's bytes, for as long as they may be needed again."""
        self._body_size = 0
        self._opened = 0
        """Bytes of the body for which the client's window was opened again."""
        self._kept = True
        """The whole request up to now is in the body."""
        self._expected = 0
        self._ended = False
        self._upstream: Stream | None = None
        self._replica: Replica | None = None
        self._tried: list[Replica] = []
        self._attempts = 0
        self._responding = False
        self._refreshed = False
        self._timer: asyncio.TimerHandle | None = None
        self._request_meter = MessageMeter(relay.settings.max_message_bytes)
        self._response_meter = MessageMeter(relay.settings.max_message_bytes)
        self._code = b""
        self._reason = ""
        self._span: RelaySpan | None = None
        self._relayed = False

    def begin(self, request: Request, *, end: bool) -> None:
        """Finds out where the call goes; for that it may have to wait for the first message."""
        self._request = request
        self._ended = end
        self._client.on_data = self._request_data
        self._client.on_reset = self._client_reset
        method, limit = request.method, self._relay.settings.max_calls
        if method is None or method.gateway:
            self._target = self._relay.own
            self.attempt()
            return
        self._relayed = True
        self._relay.relayed += 1
        if self._relay.tracing is not None:
            self._span = self._relay.tracing.begin(request.path, request.forward)
        if limit is not None and self._relay.relayed > limit:
            text = f"the gateway relays {limit} calls already, as many as max_concurrent_rpcs allows; try again"
            self.fail(ResourceExhaustedError(text, retry_after=1.0, subject="calls", reason="TOO_MANY_CALLS"))
        elif method.field_number and method.kind:
            if end:
                self.fail(self._missing_key(method))
        else:
            self._route(None)

    def fail(self, error: CaravanError) -> None:
        """Ends the call with an error of our own."""
        self._drop_upstream(failed=None)
        trailers = messages.status_headers(error)
        self._code, self._reason = trailers[0][1], error.reason
        self._client.on_data = self._swallow
        self._client.send_headers(trailers if self._responding else messages.RESPONSE_HEADERS + trailers, end=True)
        self._finish()

    def refuse_other_protocol(self) -> None:
        """Answers a request that is no gRPC."""
        self._client.send_headers(((b":status", b"415"), (b"content-type", b"text/plain")), end=True)
        self._finish()

    # The request.

    def _request_data(self, data: bytes, end: bool) -> None:
        self._ended = end
        size = self._request_meter.feed(data)
        if size:
            self.fail(too_large(size, self._relay.settings.max_message_bytes))
            return
        if self._kept:
            self._body.append(data)
            self._body_size += len(data)
        if self._upstream is not None:
            if self._kept and self._body_size > self._relay.settings.replay_bytes:
                self._forget_body()
            self._upstream.send_data(data, end)
        elif self._target is not None or self._refreshed:
            pass  # It waits for a replica or a newer snapshot: the client's window stays closed for what comes meanwhile.
        else:
            self._opened += len(data)
            self._client.open_window(len(data))
            self._read_key()

    def _swallow(self, data: bytes, end: bool) -> None:
        pass

    def _read_key(self) -> None:
        """Routes the call once its first message is complete."""
        if not self._expected:
            first = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            if len(first) >= PREFIX_SIZE:
                self._expected = PREFIX_SIZE + messages.message_size(first)
        if self._expected and self._body_size >= self._expected:
            if len(self._body) > 1:
                self._body = [b"".join(self._body)]
            self._route(self._body[0][: self._expected])
        elif self._ended:
            self.fail(InvalidArgumentError("the request ended before its first message was complete"))

    def _route(self, first: bytes | None) -> None:
        """Finds the replicas that may answer, by the first message if the method has a routing field."""
        try:
            self._target = self._find(first)
        except NotFoundError as error:
            if self._refreshed:
                self.fail(error)
                return
            self._refreshed = True
            task = asyncio.get_running_loop().create_task(self._route_again(first, error))
            self._relay.background.add(task)
            task.add_done_callback(self._relay.background.discard)
        except CaravanError as error:
            self.fail(error)
        else:
            self.attempt()

    async def _route_again(self, first: bytes | None, error: CaravanError) -> None:
        """Routes once more if there is a newer snapshot: what another worker registered a moment ago is no unknown resource."""
        newer = await self._relay.refresh()
        if self not in self._relay.calls or self._target is not None:
            return
        if newer:
            self._route(first)
        else:
            self.fail(error)

    def _find(self, first: bytes | None) -> Target:
        request, table = self._request, self._relay.table
        if request is None or request.method is None:
            raise InternalError("a call without a method is routed")
        method = request.method
        if table is None:
            raise UnavailableError("the gateway has no routes yet: the registry has not answered", reason="NO_ROUTES")
        if first is None:
            return table.service(method.service, request.provider_id)
        limit = self._relay.settings.max_message_bytes
        message = first[PREFIX_SIZE:]
        if first[0] & 1:
            message = messages.decompressed(message, request.encoding, limit)
        try:
            key, prefix = wire.scan(
                message,
                method.field_number,
                method.prefix_number,
                first=method.field_repeated,
                prefix_size=self._relay.settings.prefix_bytes,
            )
        except wire.MalformedMessageError as error:
            text = f"the request is no message of the expected type: {error}"
            raise InvalidArgumentError(text, reason="MALFORMED_MESSAGE") from error
        if not key:
            raise self._missing_key(method)
        try:
            identifier = key.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgumentError.of(method.field, "must be UTF-8") from error
        target = table.resource(method.kind, identifier, method.service)
        if prefix:
            self._prefix = fingerprint(key + prefix)
        return target

    @staticmethod
    def _missing_key(method: Method) -> InvalidArgumentError:
        return InvalidArgumentError.of(method.field, "must not be empty: it names the resource that answers the call")

    # Attempts.

    def attempt(self) -> None:
        """Sends the call to a replica, or waits for one that is being connected to."""
        relay, target, request = self._relay, self._target, self._request
        if target is None or request is None:
            return
        self._stop_waiting()
        group = relay.fleet.group(target.addresses)
        replica = relay.balancer.choose(group, self._prefix, self._tried)
        connection = replica.connection() if replica is not None else None
        if replica is None or connection is None:
            if any(not replica.settled or replica.growing for replica in group) and self._wait():
                return
            self.fail(self._nobody(target))
            return
        headers = request.forward
        if self._attempts:
            try:
                headers = self._with_remaining_time(request)
            except DeadlineExceededError as error:
                self.fail(error)
                return
        if self._span is not None:
            headers = self._span.carried_by(headers)
        self._attempts += 1
        self._replica = replica
        relay.balancer.started(replica)
        upstream = connection.open(headers, end=self._ended and not self._body)
        self._upstream = upstream
        upstream.on_headers = self._response_headers
        upstream.on_data = self._response_data
        upstream.on_reset = self._upstream_reset
        upstream.source = self._client
        upstream.prepaid = self._opened
        self._client.source = upstream
        body = self._body
        if not body:
            return
        for data in body[:-1]:
            upstream.send_data(data, False)
        upstream.send_data(body[-1], self._ended)

    def _wait(self) -> bool:
        """Waits for a replica if there is time left; tells whether it does."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._relay.settings.patience, self._out_of_patience)
        elif self._timer.when() <= asyncio.get_running_loop().time():
            return False
        self._relay.waiting[self] = None
        return True

    def _out_of_patience(self) -> None:
        if self in self._relay.waiting and self._target is not None:
            self._stop_waiting()
            self.fail(self._nobody(self._target))

    def _stop_waiting(self) -> None:
        self._relay.waiting.pop(self, None)

    def _nobody(self, target: Target) -> UnavailableError:
        if target is self._relay.own:
            return UnavailableError("the gateway's own services are not up yet", reason="STARTING")
        text = f"no replica of provider {target.provider_id} can serve this now; try again"
        return UnavailableError(text, reason="NO_REPLICA", metadata={"provider_id": target.provider_id})

    def _with_remaining_time(self, request: Request) -> Headers:
        if request.timeout is None:
            return request.forward
        remaining = request.timeout - (time.monotonic() - self._started)
        if remaining <= 0:
            raise DeadlineExceededError("the deadline passed while replicas were tried")
        value = format_timeout(remaining)
        return tuple((name, value if name == b"grpc-timeout" else old) for name, old in request.forward)

    def _may_retry(self) -> bool:
        return self._kept and not self._responding and self._attempts < self._relay.settings.max_attempts

    def _retry(self) -> bool:
        """Tries the call on another replica; False when there is none, and then nothing has happened."""
        replica, target = self._replica, self._target
        if replica is None or target is None or not self._may_retry():
            return False
        others = [*self._tried, replica]
        group = self._relay.fleet.group(target.addresses)
        if self._relay.balancer.choose(group, self._prefix, others) is None:
            return False
        self._tried = others
        if self._upstream is not None:
            # What has left once has opened the client's window already.
            self._opened = max(self._opened, self._upstream.forwarded)
        self._drop_upstream(failed=True)
        self.attempt()
        return True

    # The response.

    def _response_headers(self, headers: Headers, end: bool) -> None:
        if not end:
            if self._responding or headers[0][1].startswith(b"1"):
                return  # an interim response
            self._responding = True
            self._forget_body()
            self._client.send_headers(headers, end=False)
            return
        code = next((value for name, value in headers if name == b"grpc-status"), b"")
        if not self._responding and code == _UNAVAILABLE and self._retry():
            return
        if code == _EXHAUSTED:
            headers = messages.with_details(headers)
        self._code = code
        self._client.on_data = self._swallow
        self._client.send_headers(headers, end=True)
        self._drop_upstream(failed=code == _UNAVAILABLE)
        self._finish()

    def _response_data(self, data: bytes, end: bool) -> None:
        size = self._response_meter.feed(data)
        if size:
            self.fail(too_large(size, self._relay.settings.max_message_bytes, answer=True))
            return
        self._client.send_data(data, False)
        if end:
            self.fail(InternalError("the replica ended its response without a status", reason="NO_STATUS"))

    def _upstream_reset(self, code: int) -> None:
        lost = code in (ErrorCode.CONNECTION_LOST, ErrorCode.REFUSED_STREAM)
        # gRPC's servers say ENHANCE_YOUR_CALM too when a connection has more streams than they allow.
        if (lost or code in (ErrorCode.CANCEL, ErrorCode.ENHANCE_YOUR_CALM)) and self._retry():
            return
        self._drop_upstream(failed=lost)
        self.fail(_error_of_reset(code, self._target))

    # The end.

    def _client_reset(self, code: int) -> None:
        del code
        self._code = b"1"
        self._drop_upstream(failed=None)
        self._finish()

    def _drop_upstream(self, *, failed: bool | None) -> None:
        """Leaves the replica: an unfinished call is cancelled there."""
        upstream, replica = self._upstream, self._replica
        self._upstream = self._replica = None
        if replica is not None:
            self._relay.balancer.ended(replica, failed=failed)
        if upstream is None:
            return
        if upstream.remote_done and upstream.local_done:
            upstream.detach()
        else:
            upstream.reset(ErrorCode.NO_ERROR if upstream.remote_done else ErrorCode.CANCEL)

    def _forget_body(self) -> None:
        self._kept = False
        self._body = []

    def _finish(self) -> None:
        self._stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
        if self not in self._relay.calls:
            return
        self._relay.calls.discard(self)
        self._relay.relayed -= self._relayed
        self._forget_body()
        request, target = self._request, self._target
        provider_id, code = target.provider_id if target else "", self._code.decode("latin-1")
        seconds = time.monotonic() - self._started
        self._relay.observe(request.path if request else "", provider_id, code, seconds, self._attempts)
        if self._span is not None:
            self._span.end(provider_id, code, self._attempts, self._reason)


def _error_of_reset(code: int, target: Target | None) -> CaravanError:
    """Returns what a stream's reset means (gRPC over HTTP/2, "Errors")."""
    provider = target.provider_id if target else ""
    match code:
        case ErrorCode.CONNECTION_LOST:
            text = f"the connection to a replica of provider {provider} was lost while it answered"
            return UnavailableError(text, reason="REPLICA_LOST", metadata={"provider_id": provider})
        case ErrorCode.REFUSED_STREAM:
            return UnavailableError(f"a replica of provider {provider} refused the call", reason="REPLICA_REFUSED")
        case ErrorCode.CANCEL:
            return CallCancelledError(
                f"a replica of provider {provider} cancelled the call", reason="REPLICA_CANCELLED"
            )
        case ErrorCode.ENHANCE_YOUR_CALM:
            return ResourceExhaustedError(
                f"a replica of provider {provider} is out of room", reason="REPLICA_EXHAUSTED"
            )
        case _:
            return InternalError(
                f"a replica of provider {provider} broke the call off ({code})", reason="REPLICA_RESET"
            )
