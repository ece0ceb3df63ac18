"""Errors on the wire: the one table from error to code, google.rpc details, and the way back for callers of other services."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from services.core.context import current_request
from services.core.errors import (
    AbortedError,
    AlreadyExistsError,
    CallCancelledError,
    CaravanError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)

DOMAIN = "caravan"
DETAILS_KEY = "grpc-status-details-bin"

CODES: dict[type[CaravanError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    AbortedError: grpc.StatusCode.ABORTED,
    OutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    CallCancelledError: grpc.StatusCode.CANCELLED,
    UnimplementedError: grpc.StatusCode.UNIMPLEMENTED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    InternalError: grpc.StatusCode.INTERNAL,
}

# Codes that other servers send and that have no error of their own here.
_KIN: dict[grpc.StatusCode, grpc.StatusCode] = {
    grpc.StatusCode.UNKNOWN: grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DATA_LOSS: grpc.StatusCode.INTERNAL,
}

# What gRPC's core says, without details, of a message above a limit; it is told by its size and never read.
_TOO_LARGE = re.compile(
    r"(SERVER: Received|SERVER: Sent|CLIENT: Received|CLIENT: Sent) message larger than max \((\d+) vs\. (\d+)\)"
)
_ANSWERS = ("SERVER: Sent", "CLIENT: Received")

_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

# gRPC refuses a reply whose metadata exceed 8 KiB. The message travels twice (percent-encoded and in the details, these in base64).
_MESSAGE_BYTES = 1000
_DETAILS_BYTES = 2000
_TEXT_CHARS = 240

_log = structlog.get_logger(__name__)


def code_of(error: CaravanError) -> grpc.StatusCode:
    """Returns the canonical code of an error."""
    for ancestor in type(error).__mro__:
        code = CODES.get(ancestor)
        if code is not None:
            return code
    return grpc.StatusCode.INTERNAL


def status_of(error: CaravanError) -> status_pb2.Status:
    """Returns an error as a `google.rpc.Status`: always with ErrorInfo, and with the details that fit the error.

    Texts are cut so that the status fits into gRPC's trailing metadata; field violations beyond that are left out.
    """
    code: int = code_of(error).value[0]
    status = status_pb2.Status(code=code, message=_cut(error.message, _MESSAGE_BYTES))
    room = _DETAILS_BYTES
    for detail in _details(error):
        packed = any_pb2.Any()
        packed.Pack(detail)
        room -= packed.ByteSize()
        if room < 0:
            break
        status.details.append(packed)
    return status


async def abort(context: "grpc.aio.ServicerContext[object, object]", error: CaravanError) -> None:
    """Ends the call with an error.

    Args:
        context: The call.
        error: Why it ends.

    Raises:
        grpc.aio.AbortError: Always.
    """
    status = status_of(error)
    trailing = tuple(context.trailing_metadata() or ())
    await context.abort(code_of(error), status.message, (*trailing, (DETAILS_KEY, status.SerializeToString())))


def error_of(exception: Exception) -> CaravanError:
    """Returns what the caller is told about an exception that left a servicer; what nobody expected is logged with its traceback.

    Args:
        exception: The exception. `asyncio.CancelledError` is none of these: let it pass.
    """
    if isinstance(exception, CaravanError):
        if isinstance(exception, InternalError):
            _log.error("internal_error", reason=exception.reason, exc_info=exception)
        return exception
    if isinstance(exception, grpc.aio.AioRpcError):
        return error_from_rpc(exception)
    if isinstance(exception, TimeoutError):
        return DeadlineExceededError("the service did not finish in time", reason="TIMEOUT")
    if isinstance(exception, NotImplementedError):
        return UnimplementedError("this service does not implement the method", reason="METHOD_NOT_IMPLEMENTED")
    _log.error("unexpected_error", exc_info=exception)
    request_id = current_request().request_id
    message = f"internal error; the service's log has the details under request id {request_id}"
    return InternalError(message, metadata={"request_id": request_id})


def error_from_rpc(error: grpc.aio.AioRpcError) -> CaravanError:
    """Returns the error that another service answered with, its reason, metadata and details kept.

    Args:
        error: What the call raised.
    """
    return _error(error.code(), error.details() or error.code().name, _received_details(error))


def too_large(size: int, limit: int, *, answer: bool = False) -> ResourceExhaustedError:
    """Returns the error for a message above a limit.

    Args:
        size: Size of the message in bytes.
        limit: Largest size in bytes.
        answer: It is a response, otherwise a request.
    """
    advice = (
        "ask for less at once"
        if answer
        else "send less at once, or in parts by a client-streamed RPC where there is one"
    )
    text = f"the {'response' if answer else 'request'} message has {size} bytes, the limit is {limit}: {advice}"
    return ResourceExhaustedError(text, subject="message size", reason="MESSAGE_TOO_LARGE")


def too_large_told(message: str) -> ResourceExhaustedError | None:
    """Returns the error for what gRPC's core says of a message above a limit; None: it says something else.

    Args:
        message: Message of a status without details.
    """
    found = _TOO_LARGE.search(message)
    return too_large(int(found[2]), int(found[3]), answer=found[1] in _ANSWERS) if found else None


def error_from_status(status: status_pb2.Status, metadata: Mapping[str, str] | None = None) -> CaravanError:
    """Returns the error that a status tells of, its reason, metadata and details kept.

    Args:
        status: The status, of any code but OK.
        metadata: Facts for ErrorInfo beside those in the status.
    """
    code = _BY_NUMBER.get(status.code, grpc.StatusCode.INTERNAL)
    return _error(code, status.message or code.name, _Received(status.details), metadata)


def _error(
    received: grpc.StatusCode, message: str, details: "_Received", more: Mapping[str, str] | None = None
) -> CaravanError:
    code = _KIN.get(received, received)
    kind = next((kind for kind, own in CODES.items() if own is code), InternalError)
    info = details.get(error_details_pb2.ErrorInfo) or error_details_pb2.ErrorInfo()
    if not info.reason and (told := too_large_told(message)) is not None:
        return told
    reason = info.reason or received.name
    metadata = {**info.metadata, **(more or {})}
    if kind is InvalidArgumentError:
        found = (details.get(error_details_pb2.BadRequest) or error_details_pb2.BadRequest()).field_violations
        violations = [FieldViolation(violation.field, violation.description) for violation in found]
        return InvalidArgumentError(message, violations=violations, reason=reason, metadata=metadata)
    if kind in (NotFoundError, AlreadyExistsError):
        resource = details.get(error_details_pb2.ResourceInfo) or error_details_pb2.ResourceInfo()
        named: type[NotFoundError | AlreadyExistsError] = NotFoundError if kind is NotFoundError else AlreadyExistsError
        return named(
            message,
            resource_type=resource.resource_type,
            resource_name=resource.resource_name,
            reason=reason,
            metadata=metadata,
        )
    if kind in (ResourceExhaustedError, UnavailableError):
        return _retriable(kind, message, reason, metadata, details)
    return kind(message, reason=reason, metadata=metadata)


def _retriable(
    kind: type[CaravanError], message: str, reason: str, metadata: dict[str, str], details: "_Received"
) -> CaravanError:
    retry = details.get(error_details_pb2.RetryInfo)
    retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if retry else None
    if kind is UnavailableError:
        retry_after = 1.0 if retry_after is None else retry_after
        return UnavailableError(message, retry_after=retry_after, reason=reason, metadata=metadata)
    quota = details.get(error_details_pb2.QuotaFailure)
    subject = quota.violations[0].subject if quota and quota.violations else ""
    return ResourceExhaustedError(message, retry_after=retry_after, subject=subject, reason=reason, metadata=metadata)


M = TypeVar("M", bound=Message)


class _Received:
    """The details of a received status, by type."""

    def __init__(self, packed: Iterable[any_pb2.Any]) -> None:
        self._packed = list(packed)

    def get(self, kind: type[M]) -> M | None:
        for packed in self._packed:
            detail = kind()
            try:
                if packed.Unpack(detail):
                    return detail
            except DecodeError:
                continue
        return None


def _received_details(error: grpc.aio.AioRpcError) -> _Received:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return _Received(status_pb2.Status.FromString(value).details)
            except DecodeError:
                break
    return _Received(())


def _details(error: CaravanError) -> Iterator[Message]:
    metadata = {_cut(key, 64): _cut(value, _TEXT_CHARS) for key, value in list(error.metadata.items())[:4]}
    yield error_details_pb2.ErrorInfo(reason=_cut(error.reason, 63), domain=DOMAIN, metadata=metadata)
    if isinstance(error, NotFoundError | AlreadyExistsError):
        yield error_details_pb2.ResourceInfo(
            resource_type=_cut(error.resource_type, _TEXT_CHARS), resource_name=_cut(error.resource_name, _TEXT_CHARS)
        )
    if isinstance(error, ResourceExhaustedError | UnavailableError) and error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        yield error_details_pb2.RetryInfo(retry_delay=delay)
    if isinstance(error, ResourceExhaustedError) and error.subject:
        subject, description = _cut(error.subject, _TEXT_CHARS), _cut(error.message, _TEXT_CHARS)
        violation = error_details_pb2.QuotaFailure.Violation(subject=subject, description=description)
        yield error_details_pb2.QuotaFailure(violations=[violation])
    if isinstance(error, InvalidArgumentError) and error.violations:
        yield _bad_request(error.violations)


def _bad_request(violations: Iterable[FieldViolation]) -> error_details_pb2.BadRequest:
    request = error_details_pb2.BadRequest()
    room = _DETAILS_BYTES // 2
    for violation in violations:
        field, description = _cut(violation.field, _TEXT_CHARS), _cut(violation.description, _TEXT_CHARS)
        found = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
        room -= found.ByteSize() + 2
        if room < 0:
            break
        request.field_violations.append(found)
    return request


def _cut(text: str, limit: int) -> str:
    """Returns valid text of at most `limit` bytes of UTF-8."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "..."
