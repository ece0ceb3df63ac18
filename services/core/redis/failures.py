"""What Redis's failures mean: which of them pass, and what the callers of a store hear."""

from dataclasses import dataclass

import redis.exceptions

from services.core.errors import FailedPreconditionError, InternalError, UnavailableError

PASSING = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.OutOfMemoryError,
    OSError,
)
"""Conditions that pass: a server that starts, fails over, is full, or cannot be reached (or not in time)."""

REFUSED = (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError)
"""Among them by redis-py's class tree, but they do not pass: catch these first."""


@dataclass(frozen=True, slots=True)
class StoreFailures:
    """What callers hear when a store fails."""

    store: str
    """Whose store it is, for instance "the agents' store"."""

    refused_reason: str
    """Reason of the error for a command that Redis refuses."""

    unavailable_reason: str = "STORE_UNAVAILABLE"
    """Reason of the error while Redis does not answer."""

    advice: str = "try again"
    """What to do, or what holds, meanwhile."""

    def unavailable(self) -> UnavailableError:
        """Returns the error for a store that does not answer."""
        message = f"{self.store} (Redis) does not answer; {self.advice}"
        return UnavailableError(message, reason=self.unavailable_reason, retry_after=1.0)

    def refused(self, error: Exception) -> InternalError:
        """Returns the error for a command that Redis refuses."""
        return InternalError(f"{self.store} refused a command: {error}", reason=self.refused_reason)

    def check_eviction(self, limit: int, policy: str, where: str = "") -> None:
        """Makes sure that Redis does not forget what it has no room for.

        Args:
            limit: Redis's `maxmemory`; 0 for none.
            policy: Its `maxmemory-policy`.
            where: Address of the server, when there are several.

        Raises:
            FailedPreconditionError: It forgets.
        """
        if limit and policy != "noeviction":
            place = f"{self.store} on {where}" if where else f"{self.store} (Redis)"
            message = f"{place} forgets what it has no room for (maxmemory-policy {policy}): set it to noeviction"
            raise FailedPreconditionError(message, reason="STORE_EVICTS")
