"""The errors that a service raises on purpose; `services.core.status` maps each to one canonical gRPC code.

    CaravanError
    ├── InvalidArgumentError      the request is wrong, whatever the state of the service
    ├── NotFoundError             a resource that the request names does not exist
    ├── AlreadyExistsError        a resource that the request would make exists
    ├── FailedPreconditionError   the service's state forbids it, and trying again will not help
    ├── AbortedError              lost a race (a stale revision, a lost lease): read again, then retry
    ├── OutOfRangeError           what is asked for lies beyond what is there
    ├── ResourceExhaustedError    a queue, a quota or a limit is full
    ├── UnavailableError          cannot answer now, but may soon
    ├── DeadlineExceededError     took longer than the caller, or an upstream, allows
    ├── CallCancelledError        somebody called it off
    ├── UnimplementedError        this service does not do that
    ├── PermissionDeniedError     the caller is known and may not
    ├── UnauthenticatedError      the caller is not known
    └── InternalError             a defect: an invariant of our own is broken

Domain code raises these and never touches gRPC. A message is a sentence for the caller that says what to do; it never holds a secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class CaravanError(Exception):
    """Root of every error that a service raises on purpose.

    Attributes:
        message: What went wrong and what to do about it, for the caller.
        reason: Constant in UPPER_SNAKE_CASE by which programs tell errors of one code apart (`google.rpc.ErrorInfo.reason`).
        metadata: Facts that belong to the reason, for instance `{"model_id": "llama"}`.
    """

    def __init__(self, message: str, *, reason: str, metadata: Mapping[str, str] | None = None) -> None:
        """Makes the error; see the attributes."""
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata: dict[str, str] = dict(metadata or {})


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong."""

    field: str
    """Path of the field, for instance `messages[0].user.content`. Empty: the request as a whole."""

    description: str
    """What the field must be."""


class InvalidArgumentError(CaravanError):
    """The request is wrong, whatever the state of the service.

    Attributes:
        violations: The fields that are wrong. Empty when the fault is not in one field.
    """

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[FieldViolation] = (),
        reason: str = "INVALID_ARGUMENT",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Makes the error; see the attributes."""
        super().__init__(message, reason=reason, metadata=metadata)
        self.violations = tuple(violations)

    @classmethod
    def of(cls, field: str, description: str, *, reason: str = "INVALID_ARGUMENT") -> "InvalidArgumentError":
        """Returns the error for one wrong field.

        Args:
            field: Path of the field, for instance `sampling_params.strategy.top_p.top_p`.
            description: What the field must be, for instance "must be greater than 0 and at most 1".
            reason: Constant by which programs tell errors apart.
        """
        return cls(f"{field}: {description}", violations=[FieldViolation(field, description)], reason=reason)


class _ResourceError(CaravanError):
    """An error about one named resource."""

    def __init__(
        self,
        message: str,
        *,
        resource_type: str,
        resource_name: str,
        reason: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.resource_type = resource_type
        self.resource_name = resource_name


class NotFoundError(_ResourceError):
    """A resource that the request names does not exist.

    Attributes:
        resource_type: Kind of the resource, for instance "model".
        resource_name: Identifier that was asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        resource_type: str,
        resource_name: str,
        reason: str = "NOT_FOUND",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Makes the error; see the attributes."""
        super().__init__(
            message, resource_type=resource_type, resource_name=resource_name, reason=reason, metadata=metadata
        )


class AlreadyExistsError(_ResourceError):
    """A resource that the request would make exists already.

    Attributes:
        resource_type: Kind of the resource, for instance "model".
        resource_name: Identifier that is taken.
    """

    def __init__(
        self,
        message: str,
        *,
        resource_type: str,
        resource_name: str,
        reason: str = "ALREADY_EXISTS",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Makes the error; see the attributes."""
        super().__init__(
            message, resource_type=resource_type, resource_name=resource_name, reason=reason, metadata=metadata
        )


class FailedPreconditionError(CaravanError):
    """The state of the service forbids it, and trying again without changing that state will not help."""

    def __init__(
        self, message: str, *, reason: str = "FAILED_PRECONDITION", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Makes the error."""
        super().__init__(message, reason=reason, metadata=metadata)


class AbortedError(CaravanError):
    """The call lost a race: a stale revision, a lost lease. Read again, then retry."""

    def __init__(self, message: str, *, reason: str = "ABORTED", metadata: Mapping[str, str] | None = None) -> None:
        """Makes the error."""
        super().__init__(message, reason=reason, metadata=metadata)


class OutOfRangeError(CaravanError):
    """What is asked for lies beyond what is there, for instance before the first event that is kept."""

    def __init__(
        self, message: str, *, reason: str = "OUT_OF_RANGE", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Makes the error; see CaravanError."""
        super().__init__(message, reason=reason, metadata=metadata)


class ResourceExhaustedError(CaravanError):
    """A queue, a quota or a limit is full.

    Attributes:
        retry_after: Seconds after which trying again makes sense. None: not without a change.
        subject: What is exhausted, for instance "queue:llama". Empty: not told.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        subject: str = "",
        reason: str = "RESOURCE_EXHAUSTED",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Makes the error; see the attributes."""
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after
        self.subject = subject


class UnavailableError(CaravanError):
    """The service cannot answer now, but may soon.

    Attributes:
        retry_after: Seconds after which trying again makes sense. None: not told.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = 1.0,
        reason: str = "UNAVAILABLE",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Makes the error; see the attributes."""
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class DeadlineExceededError(CaravanError):
    """It took longer than the caller, or an upstream, allows."""

    def __init__(
        self, message: str, *, reason: str = "DEADLINE_EXCEEDED", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Makes the error."""
        super().__init__(message, reason=reason, metadata=metadata)


class CallCancelledError(CaravanError):
    """Somebody called it off: the caller of this call, or of a call that this one waited for."""

    def __init__(self, message: str, *, reason: str = "CANCELLED", metadata: Mapping[str, str] | None = None) -> None:
        """Makes the error."""
        super().__init__(message, reason=reason, metadata=metadata)


class UnimplementedError(CaravanError):
    """This service does not do that."""

    def __init__(
        self, message: str, *, reason: str = "UNIMPLEMENTED", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Makes the error."""
        super().__init__(message, reason=reason, metadata=metadata)


class PermissionDeniedError(CaravanError):
    """The caller is known and may not do that."""

    def __init__(
        self, message: str, *, reason: str = "PERMISSION_DENIED", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Makes the error."""
        super().__init__(message, reason=reason, metadata=metadata)


class UnauthenticatedError(CaravanError):
    """The caller is not known: it sent no credentials, or wrong ones."""

    def __init__(
        self, message: str, *, reason: str = "UNAUTHENTICATED", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Makes the error."""
        super().__init__(message, reason=reason, metadata=metadata)


class InternalError(CaravanError):
    """A defect: an invariant of our own is broken."""

    def __init__(self, message: str, *, reason: str = "INTERNAL", metadata: Mapping[str, str] | None = None) -> None:
        """Makes the error."""
        super().__init__(message, reason=reason, metadata=metadata)
