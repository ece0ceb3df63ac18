"""What goes wrong between us and PostgreSQL, as errors for the caller."""

from collections.abc import Callable, Sequence

import asyncpg

from services.core.errors import (
    AbortedError,
    CaravanError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

LOST_RACES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError)
"""A transaction lost to another one; trying it again makes sense."""
RAISED = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)
"""What asyncpg raises."""
_LOST_CONNECTIONS = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_GONE = (asyncpg.UndefinedTableError, asyncpg.UndefinedObjectError, asyncpg.InvalidSchemaNameError)


class StaleConnectionError(Exception):
    """The connection was lost before the transaction could be committed, so that trying again is safe."""


def is_loss(error: Exception) -> bool:
    """Tells whether the server went away, or took the connection away."""
    # asyncpg's errors about arguments are InterfaceErrors too, and running out of time is an OSError.
    return isinstance(error, _LOST_CONNECTIONS) and not isinstance(error, ValueError | TimeoutError)


def defect(error: Exception) -> InternalError:
    """The error for what only a defect of ours can cause."""
    return InternalError(f"PostgreSQL refused a statement ({type(error).__name__})", reason="STORE_DEFECT")


def of_error(error: Exception, bank_id: str = "") -> CaravanError | None:
    """The error for what asyncpg or the system raised; None when it is a defect of ours.

    Args:
        error: What was raised.
        bank_id: The bank that the call is about. Empty: none.
    """
    if bank_id and _is_gone(error):
        return bank_dropped(bank_id)
    for kinds, make in _MEANINGS:
        if isinstance(error, kinds):
            return make()
    return unavailable("PostgreSQL does not answer") if is_loss(error) else None


def _is_gone(error: Exception) -> bool:
    """Tells whether a table went away, also between a statement's planning and its run."""
    raced = isinstance(error, asyncpg.InternalServerError) and "relation" in str(error)
    return raced or isinstance(error, _GONE)


def timed_out() -> DeadlineExceededError:
    """The error for a call that took longer than its deadline, or the provider, allows."""
    return DeadlineExceededError(
        "the store took longer than the call's deadline or the provider's statement_timeout allows; ask for less, or wait longer",
        reason="STORE_TIMEOUT",
    )


def unavailable(what: str) -> UnavailableError:
    """The error for a server that does not answer.

    Args:
        what: What is wrong, for instance `PostgreSQL does not answer`.
    """
    return UnavailableError(f"{what}; try again", reason="STORE_UNREACHABLE")


def no_connection() -> ResourceExhaustedError:
    """The error for a pool that stays exhausted."""
    return ResourceExhaustedError(
        "all of the provider's connections to PostgreSQL are busy; try again, or raise max_connections",
        retry_after=1.0,
        subject="connections",
        reason="STORE_BUSY",
    )


def bank_dropped(bank_id: str) -> AbortedError:
    """The error for a bank that was dropped under the call."""
    return AbortedError(
        f"memory bank {bank_id!r} was dropped meanwhile; register it again if it is still wanted",
        reason="BANK_DROPPED",
        metadata={"memory_bank_id": bank_id},
    )


def bank_not_open(bank_id: str) -> NotFoundError:
    """The error for a bank that is not open in this process."""
    return NotFoundError(
        f"memory bank {bank_id!r} is not served here; register it, or list the banks with ListMemoryBanks",
        resource_type="memory_bank",
        resource_name=bank_id,
        reason="BANK_NOT_OPEN",
    )


def stale_revision(what: str, current: int, metadata: dict[str, str] | None = None) -> AbortedError:
    """The error for an expected revision that is not the current one.

    Args:
        what: What has it, for instance `document 'a'`.
        current: Revision that it has. 0: it does not exist.
        metadata: More facts.
    """
    has = f"has revision {current}" if current else "does not exist"
    return AbortedError(
        f"{what} {has}, not the one expected; read it again and decide again",
        reason="STALE_REVISION",
        metadata={**(metadata or {}), "revision": str(current)},
    )


def _too_many_connections() -> ResourceExhaustedError:
    return ResourceExhaustedError(
        "PostgreSQL takes no more connections; try again, raise its max_connections, or lower the provider's",
        retry_after=1.0,
        subject="connections",
        reason="STORE_BUSY",
    )


def _no_room() -> ResourceExhaustedError:
    return ResourceExhaustedError(
        "PostgreSQL has no room left (disk or memory full); delete documents, or give it more",
        subject="store",
        reason="NO_ROOM",
    )


def _contention() -> AbortedError:
    return AbortedError("other calls kept changing the same things; try again", reason="CONTENTION")


def _refusal() -> FailedPreconditionError:
    return FailedPreconditionError(
        "PostgreSQL refuses the provider's user or database; the operator must correct dsn, or grant the rights that docs/memory.md names",
        reason="STORE_REFUSES",
    )


def _read_only() -> UnavailableError:
    return unavailable("PostgreSQL takes no writes now (a standby, or read-only)")


def _out_of_range() -> InvalidArgumentError:
    return InvalidArgumentError(
        "a number of a vector is beyond what the bank's index holds (65504); scale the vectors, or make a bank with a FLAT index",
        reason="VECTOR_OUT_OF_RANGE",
    )


_MEANINGS: Sequence[tuple[tuple[type[Exception], ...], Callable[[], CaravanError]]] = (
    ((TimeoutError, asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError), timed_out),
    ((asyncpg.TooManyConnectionsError,), _too_many_connections),
    ((asyncpg.DiskFullError, asyncpg.OutOfMemoryError, asyncpg.ConfigurationLimitExceededError), _no_room),
    (LOST_RACES, _contention),
    (
        (
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InvalidCatalogNameError,
            asyncpg.InsufficientPrivilegeError,
        ),
        _refusal,
    ),
    ((asyncpg.ReadOnlySQLTransactionError,), _read_only),
    ((asyncpg.NumericValueOutOfRangeError,), _out_of_range),
)
"""What errors of PostgreSQL and asyncpg mean; those of a lost connection apart."""
