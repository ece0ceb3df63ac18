"""Errors as plain values, between the service and its worker processes."""

from typing import Any

from services.core.errors import (
    CaravanError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

_KINDS = {kind.__name__: kind for kind in (FailedPreconditionError, UnavailableError)}


def faults_of(error: CaravanError) -> dict[str, Any]:
    """Returns an error as plain values."""
    facts: dict[str, Any] = {"kind": type(error).__name__, "message": error.message, "reason": error.reason}
    if isinstance(error, InvalidArgumentError):
        facts["violations"] = [(violation.field, violation.description) for violation in error.violations]
    if isinstance(error, ResourceExhaustedError):
        facts |= {"subject": error.subject, "retry_after": error.retry_after}
    return facts


def error_of(facts: dict[str, Any]) -> CaravanError:
    """Returns the error that plain values tell of."""
    message, reason = facts["message"], facts["reason"]
    match facts["kind"]:
        case "InvalidArgumentError":
            violations = [FieldViolation(field, description) for field, description in facts["violations"]]
            return InvalidArgumentError(message, violations=violations, reason=reason)
        case "ResourceExhaustedError":
            return ResourceExhaustedError(
                message, subject=facts["subject"], retry_after=facts["retry_after"], reason=reason
            )
        case kind:
            return _KINDS.get(kind, InternalError)(message, reason=reason)
