"""What happens around every call, in one pass: request id, decoding and validation, errors, telemetry, access log.

A method's handler is wrapped once, when the server is built. gRPC's own interceptors would be asked again for every call, and each layer
of them costs every message of a stream; here a streamed message costs a comparison and an addition.
"""

import asyncio
import inspect
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import structlog

from services.core import status
from services.core.context import (
    REQUEST,
    REQUEST_ID_KEY,
    TRACEPARENT,
    TRACESTATE,
    RequestContext,
    new_request_id,
    request_id_or_new,
)
from services.core.errors import (
    CallCancelledError,
    CaravanError,
    InternalError,
    ResourceExhaustedError,
    UnavailableError,
    UnimplementedError,
)
from services.core.provider_data import PROVIDER_DATA_KEY, enter_provider_data
from services.core.telemetry import ServerSpan, Telemetry
from services.core.validation import checked, decoded

Context = grpc.aio.ServicerContext[Any, Any]
if TYPE_CHECKING:
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:
    # Generic in its types only.
    Handler = grpc.RpcMethodHandler

# Version 00 of https://www.w3.org/TR/trace-context/; what follows in later versions is not handed on.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE_CHARS = 512
_DRAINING = "this server is shutting down: call another replica, or try again"

_log = structlog.get_logger("caravan.access")


class Kind(Enum):
    """How the methods of a service are treated."""

    API = "api"
    """Refused until the provider has started; limited; logged."""

    PROVIDER = "provider"
    """The gateway's view of the provider: answers while it starts, and is not limited."""

    PLUMBING = "plumbing"
    """Health, reflection, unknown methods, the gateway's polling: neither validated nor traced, logged at debug level."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method that is served."""

    service: str
    name: str
    kind: Kind
    streams: bool = False

    @property
    def path(self) -> str:
        """Path of the RPC, for instance `/caravan.inference.v1.InferenceService/ChatCompletion`."""
        return f"/{self.service}/{self.name}"


@dataclass(slots=True)
class Limits:
    """What holds for all calls of a server; the server changes it while it runs."""

    max_send_bytes: int
    """Largest response message."""

    max_concurrent: int | None = None
    """Most API calls that run at once. None: no limit."""

    not_started: str | None = None
    """Why the provider cannot be called yet; API calls are refused meanwhile."""

    draining: bool = False
    """The server is about to stop: API calls are refused."""


@dataclass(slots=True)
class _Call:
    """One call while it runs."""

    method: Method
    context: Context
    request: RequestContext
    began: float
    span: ServerSpan | None = None
    received: int = 0
    sent: int = 0
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Refused:
    """Stands in for a request that cannot be decoded or is invalid, until the handler can answer."""

    error: Exception


class Calls:
    """Wraps the handlers of one server, and knows which calls run."""

    def __init__(self, limits: Limits, telemetry: Telemetry, *, access_log: bool = True) -> None:
        """Makes the wrapper.

        Args:
            limits: What holds for all calls; read for every call.
            telemetry: Where spans and measurements go.
            access_log: Log a line for every API call.
        """
        self._limits = limits
        self._telemetry = telemetry if telemetry.enabled else None
        self._access_log = access_log
        self.active = 0
        """API calls that run now."""
        self._plumbing: set[asyncio.Task[Any]] = set()

    async def end_plumbing(self, grace: float) -> None:
        """Ends the calls of health and reflection that run.

        Args:
            grace: Seconds that they get to end by themselves.
        """
        if self._plumbing:
            await asyncio.wait(set(self._plumbing), timeout=grace)
        for task in list(self._plumbing):
            task.cancel(_DRAINING)

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """Returns a handler that does around `handler` what this module's docstring says.

        Args:
            method: The method that it serves.
            handler: The generated handler of the method: four kinds, async functions or async generators.
        """
        parse, serialize = handler.request_deserializer, handler.response_serializer
        if parse is not None:
            parse = decoded(parse) if method.kind is Kind.PLUMBING else checked(parse)
        behavior = _behavior(handler)
        if not handler.response_streaming:
            # Serialized here, where a failure can still be told apart; gRPC gets bytes.
            answer = self._unary(method, behavior, serialize or _as_is)
            if handler.request_streaming:
                return grpc.stream_unary_rpc_method_handler(answer, parse, None)
            return grpc.unary_unary_rpc_method_handler(answer, _kept(parse), None)
        # A handler that is no generator writes to the context itself, and leaves serializing to gRPC.
        generates = inspect.isasyncgenfunction(behavior)
        answer = self._stream(method, behavior, (serialize or _as_is) if generates else _as_is)
        left = None if generates else serialize
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(answer, parse, left)
        return grpc.unary_stream_rpc_method_handler(answer, _kept(parse), left)

    def _unary(
        self, method: Method, behavior: Callable[..., Any], serialize: Callable[[Any], bytes]
    ) -> Callable[..., Any]:
        async def answer(request: Any, context: Context) -> bytes:
            call = self._begin(method, context)
            try:
                self._admit(call)
                response = behavior(_request(call, request), context)
                payload = serialize(await response if inspect.isawaitable(response) else response)
                self._check_size(payload)
                call.sent = 1
            except BaseException as error:  # the outermost edge: every error becomes a status
                await _fail(call, error)
                raise
            finally:
                self._end(call)
            return payload

        return answer

    def _stream(
        self, method: Method, behavior: Callable[..., Any], serialize: Callable[[Any], Any]
    ) -> Callable[..., Any]:
        async def answer(request: Any, context: Context) -> None:
            call = self._begin(method, context)
            try:
                self._admit(call)
                responses = behavior(_request(call, request), context)
                if hasattr(responses, "__aiter__"):
                    await self._send(call, responses, serialize)
                elif inspect.isawaitable(responses):
                    await responses
            except BaseException as error:  # the outermost edge: every error becomes a status
                await _fail(call, error)
                raise
            finally:
                self._end(call)

        return answer

    async def _send(self, call: _Call, responses: AsyncIterator[Any], serialize: Callable[[Any], Any]) -> None:
        write, most = call.context.write, self._limits.max_send_bytes
        try:
            async for response in responses:
                payload = serialize(response)
                if payload.__class__ is bytes and len(payload) > most:
                    self._check_size(payload)
                await write(payload)
                call.sent += 1
        finally:
            # Not left to the garbage collector: a call that ends early frees what its handler holds at once.
            close = getattr(responses, "aclose", None)
            if close is not None:
                await close()

    def _begin(self, method: Method, context: Context) -> _Call:
        proposed: str | bytes | None = None
        headers: dict[str, str] = {}
        metadata: Iterable[tuple[str, str | bytes]] = context.invocation_metadata() or ()
        for key, value in metadata:
            if key == REQUEST_ID_KEY:
                proposed = value
            elif key == TRACEPARENT and isinstance(value, str) and _TRACEPARENT.fullmatch(value):
                headers[TRACEPARENT] = value
            elif key == TRACESTATE and isinstance(value, str) and len(value) <= _TRACESTATE_CHARS:
                headers[TRACESTATE] = value
            elif key == PROVIDER_DATA_KEY:
                enter_provider_data(((key, value),))
        began = time.monotonic()
        remaining: float | None = context.time_remaining()
        span = None
        if method.kind is Kind.PLUMBING:
            task = asyncio.current_task()
            if task is not None:
                self._plumbing.add(task)
        else:
            self.active += 1
            if self._telemetry is not None:
                span = self._telemetry.begin(method.service, method.name, headers)
                headers = span.trace_headers
        request_id = new_request_id() if proposed is None else request_id_or_new(proposed)
        # Not in the initial metadata: sending those apart costs a unary call a quarter more, and commits the call, so that a
        # client's retry policy would not try again what was refused.
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        request = RequestContext(request_id, headers, None if remaining is None else began + remaining)
        REQUEST.set(request)
        return _Call(method, context, request, began, span)

    def _admit(self, call: _Call) -> None:
        if call.method.kind is not Kind.API:
            return
        limits = self._limits
        if limits.draining:
            raise UnavailableError(_DRAINING, reason="DRAINING")
        if limits.not_started is not None:
            raise UnavailableError(f"not ready: {limits.not_started}", reason="NOT_READY")
        if limits.max_concurrent is not None and self.active > limits.max_concurrent:
            message = f"this server runs {limits.max_concurrent} calls already: try again later, or on another replica"
            raise ResourceExhaustedError(
                message, retry_after=1.0, subject="max_concurrent_rpcs", reason="TOO_MANY_CALLS"
            )

    def _check_size(self, payload: bytes) -> None:
        if len(payload) > self._limits.max_send_bytes:
            message = f"the response has {len(payload)} bytes, more than this server's max_send_bytes ({self._limits.max_send_bytes})"
            raise ResourceExhaustedError(message, subject="max_send_bytes", reason="RESPONSE_TOO_LARGE")

    def _end(self, call: _Call) -> None:
        method = call.method
        seconds = time.monotonic() - call.began
        if call.code is grpc.StatusCode.OK:
            # What the handler set by itself, if anything.
            call.code = _code(call.context)
        if method.kind is Kind.PLUMBING:
            task = asyncio.current_task()
            if task is not None:
                self._plumbing.discard(task)
            _log_call(_log.debug, call, seconds)
            return
        self.active -= 1
        if self._access_log:
            _log_call(_log.info, call, seconds)
        if call.span is not None and self._telemetry is not None:
            messages = (call.received, call.sent) if method.streams else None
            self._telemetry.end(call.span, call.code, seconds, messages, call.reason)


def _request(call: _Call, request: Any) -> Any:
    """Returns the request, or the iterator over requests, that the handler gets.

    Raises:
        InvalidArgumentError: The request cannot be decoded or is invalid.
    """
    if request.__class__ is _Refused:
        raise request.error
    if hasattr(request, "__aiter__"):
        return _counted(call, request)
    call.received = 1
    return request


async def _counted(call: _Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        call.received += 1
        yield request


async def _fail(call: _Call, error: BaseException) -> None:
    """Ends the call with the status that `error` means; returns only when the error itself must go on."""
    if isinstance(error, grpc.aio.AbortError):
        call.code = _code(call.context)
        return
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        ours = error.args == (_DRAINING,)
        if task is not None and task.cancelling() and not ours:
            call.code = _cancelled_code(call)
            return
        # Not the caller has ended this call: gRPC would leave it without an answer.
        told: CaravanError = (
            UnavailableError(_DRAINING, reason="DRAINING")
            if ours
            else CallCancelledError("the service called off what this call waited for", reason="WORK_CANCELLED")
        )
    elif isinstance(error, Exception):
        told = status.error_of(error)
    else:
        return
    call.code, call.reason = status.code_of(told), told.reason
    await status.abort(call.context, told)


def _cancelled_code(call: _Call) -> grpc.StatusCode:
    deadline = call.request.deadline
    if deadline is not None and time.monotonic() >= deadline:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED


def _log_call(log: Callable[..., Any], call: _Call, seconds: float) -> None:
    fields: dict[str, Any] = {
        "method": call.method.path,
        "code": call.code.name,
        "duration_ms": round(seconds * 1e3, 3),
        "peer": call.context.peer(),
        "received": call.received,
        "sent": call.sent,
    }
    if call.reason:
        fields["reason"] = call.reason
    log("call", **fields)


def _code(context: Context) -> grpc.StatusCode:
    """Returns the code that a handler has set, or OK. It is a StatusCode or None at run time, whatever its type says."""
    code: Any = context.code()
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.OK


def _behavior(handler: Handler) -> Callable[..., Any]:
    behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if behavior is None:
        raise InternalError("a method handler without a function")
    return behavior


def _kept(parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Returns a deserializer that returns errors instead of raising them: gRPC would answer UNKNOWN before the handler is asked."""
    if parse is None:
        return None

    def deserialize(raw: bytes) -> Any:
        try:
            return parse(raw)
        except Exception as error:  # noqa: BLE001 - raised again, in the handler
            return _Refused(error)

    return deserialize


def _as_is(message: Any) -> Any:
    return message


class Draining(grpc.GenericRpcHandler):
    """Refuses, while the server drains, the calls that generic handlers would get. Must come before them."""

    def __init__(self, limits: Limits, calls: Calls) -> None:
        """Makes the handler.

        Args:
            limits: Tell whether the server drains.
            calls: The wrapper of the server's handlers.
        """
        self._limits = limits
        self._calls = calls

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Returns a handler that refuses the call, or None."""
        if not self._limits.draining:
            return None
        return _refusing(self._calls, handler_call_details.method, UnavailableError(_DRAINING, reason="DRAINING"))


class UnknownMethods(grpc.GenericRpcHandler):
    """Answers every method that nobody else does: UNIMPLEMENTED, with ErrorInfo. Must be the last handler of a server."""

    def __init__(self, calls: Calls) -> None:
        """Makes the handler.

        Args:
            calls: The wrapper of the server's handlers.
        """
        self._calls = calls

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Returns a handler that refuses the call."""
        path = handler_call_details.method
        message = f"this server has no method {path}; reflection lists those it has"
        return _refusing(self._calls, path, UnimplementedError(message, reason="METHOD_NOT_FOUND"))


def _refusing(calls: Calls, path: str, error: CaravanError) -> Handler:
    async def refuse(_requests: Any, _context: Context) -> None:
        raise error

    service, _, name = path.removeprefix("/").partition("/")
    return calls.wrap(Method(service, name, Kind.PLUMBING), grpc.stream_stream_rpc_method_handler(refuse))
