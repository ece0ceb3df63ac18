"""What can go wrong in a call, as one tree of exceptions.

CaravanError
├── InvalidInputError            the client could not build a request from what it was given (also a ValueError)
└── RpcError                     the call failed; carries code, reason, violations, retry_after, request_id
    ├── InvalidArgumentError     INVALID_ARGUMENT, OUT_OF_RANGE: `violations` name the fields
    ├── NotFoundError            NOT_FOUND: `resource_type`, `resource_name`
    ├── AlreadyExistsError       ALREADY_EXISTS
    ├── FailedPreconditionError  FAILED_PRECONDITION: for instance a model of the wrong type
    ├── AbortedError             ABORTED: a stale revision
    ├── PermissionDeniedError    PERMISSION_DENIED
    ├── UnauthenticatedError     UNAUTHENTICATED
    ├── ResourceExhaustedError   RESOURCE_EXHAUSTED: a full queue, a message too large
    ├── UnavailableError         UNAVAILABLE: nobody answers; `retry_after` says when to try again
    ├── DeadlineExceededError    DEADLINE_EXCEEDED (also a TimeoutError)
    ├── CallCancelledError       CANCELLED by the server or on the way
    ├── UnimplementedError       UNIMPLEMENTED
    └── ServerError              INTERNAL, UNKNOWN, DATA_LOSS
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
# gRPC core says "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: ...".
_CONNECTION_FAILURE = re.compile(
    r"^failed to connect to all addresses; last error: \w+: \S+: (Failed to connect to remote host: )?(connect: )?"
)


class CaravanError(Exception):
    """Root of everything that this package raises."""

    def __init__(self, message: str) -> None:
        """Keeps the message.

        Args:
            message: What went wrong and what to do.
        """
        super().__init__(message)
        self.message = message


class InvalidInputError(CaravanError, ValueError):
    """A request cannot be built from what was given."""

    def __init__(self, problem: str, path: str = "") -> None:
        """Puts the place before the problem.

        Args:
            problem: What is wrong with the value.
            path: Where the value stands, for instance `messages[1].content`.
        """
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path


@dataclass(frozen=True)
class Violation:
    """One field of the request, or one quota, that was violated."""

    subject: str
    """Path of the field, or subject of the quota."""
    description: str
    """What is wrong with it."""


@dataclass(frozen=True)
class Failure:
    """What a failed call said of itself."""

    code: grpc.StatusCode
    """Canonical status code."""
    message: str
    """The server's message, for people."""
    reason: str = ""
    """The server's reason, for programs, for instance `MODEL_NOT_FOUND`. Empty: the failure is not a Caravan server's."""
    domain: str = ""
    """Who defines `reason`; `caravan` for Caravan's."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Facts that belong to `reason`."""
    violations: tuple[Violation, ...] = ()
    """Fields or quotas that were violated."""
    resource_type: str = ""
    """Kind of the resource that the failure is about."""
    resource_name: str = ""
    """Name of the resource that the failure is about."""
    retry_after: float | None = None
    """Seconds after which the server suggests to try again."""
    request_id: str = ""
    """Identifier of the request, to find it in the servers' logs."""


class RpcError(CaravanError):
    """A call failed."""

    def __init__(self, failure: Failure) -> None:
        """Spells the message out.

        Args:
            failure: What the call said of itself.
        """
        unsaid = [v for v in failure.violations if v.description not in failure.message]
        listed = "; ".join(f"{v.subject}: {v.description}" if v.subject else v.description for v in unsaid)
        super().__init__(f"{failure.message} ({listed})" if listed else failure.message or failure.code.name)
        self.failure = failure

    @property
    def code(self) -> grpc.StatusCode:
        """Canonical status code."""
        return self.failure.code

    @property
    def reason(self) -> str:
        """The server's reason, for programs; empty when a Caravan server did not give one."""
        return self.failure.reason

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Fields or quotas that were violated."""
        return self.failure.violations

    @property
    def resource_type(self) -> str:
        """Kind of the resource that the failure is about."""
        return self.failure.resource_type

    @property
    def resource_name(self) -> str:
        """Name of the resource that the failure is about."""
        return self.failure.resource_name

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server suggests to try again."""
        return self.failure.retry_after

    @property
    def request_id(self) -> str:
        """Identifier of the request, to find it in the servers' logs."""
        return self.failure.request_id


class InvalidArgumentError(RpcError):
    """The request is wrong whatever the state of the server."""


class NotFoundError(RpcError):
    """There is no such resource."""


class AlreadyExistsError(RpcError):
    """The identifier is taken."""


class FailedPreconditionError(RpcError):
    """The state of the server does not allow the call."""


class AbortedError(RpcError):
    """The resource was changed by somebody else."""


class PermissionDeniedError(RpcError):
    """The caller may not do this."""


class UnauthenticatedError(RpcError):
    """The caller is not known."""


class ResourceExhaustedError(RpcError):
    """A queue is full or a quota used up."""


class UnavailableError(RpcError):
    """Nobody answers right now."""


class DeadlineExceededError(RpcError, TimeoutError):
    """The call took longer than its timeout."""


class CallCancelledError(RpcError):
    """The call was cancelled, not by this program."""


class UnimplementedError(RpcError):
    """The server does not have this RPC."""


class ServerError(RpcError):
    """The server failed in a way that nobody foresaw."""


_BY_CODE: dict[grpc.StatusCode, type[RpcError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.ABORTED: AbortedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
}


class FailedCall(Protocol):
    """What the sync and the async gRPC errors have in common."""

    def code(self) -> grpc.StatusCode:
        """Returns the status code."""

    def details(self) -> str | None:
        """Returns the status message."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Returns the trailers."""


def from_call(call: FailedCall, *, target: str = "", request_id: str = "") -> RpcError:
    """Makes an exception of a failed gRPC call.

    Args:
        call: The gRPC error.
        target: Address that was dialled; named when nobody answers there.
        request_id: Identifier that was sent with the request.
    """
    failure = _failure(call, request_id)
    if failure.code is grpc.StatusCode.UNAVAILABLE and not failure.reason and target:
        why = _CONNECTION_FAILURE.sub("", failure.message)
        failure = Failure(failure.code, f"cannot reach {target}: {why}", request_id=request_id)
    return _BY_CODE.get(failure.code, ServerError)(failure)


def _failure(call: FailedCall, request_id: str) -> Failure:
    info = error_details_pb2.ErrorInfo()
    resource = error_details_pb2.ResourceInfo()
    retry = error_details_pb2.RetryInfo()
    violations: list[Violation] = []
    retry_after = None
    for detail in _status(call).details:
        bad, quota = error_details_pb2.BadRequest(), error_details_pb2.QuotaFailure()
        if detail.Unpack(bad):
            violations += [Violation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(quota):
            violations += [Violation(v.subject, v.description) for v in quota.violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        else:
            _ = detail.Unpack(info) or detail.Unpack(resource)
    return Failure(
        code=call.code(),
        message=call.details() or "",
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        violations=tuple(violations),
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        retry_after=retry_after,
        request_id=request_id,
    )


def _status(call: FailedCall) -> status_pb2.Status:
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:  # somebody else's trailer of the same name: the code and the message still stand
                break
    return status_pb2.Status()
