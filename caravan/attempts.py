"""One call's attempts: identity, deadline, and whether there is another one."""

import time
import uuid
from collections.abc import Callable

from opentelemetry import propagate

from caravan.config import CallOptions
from caravan.errors import NotFoundError, RpcError, UnavailableError

REQUEST_ID_KEY = "x-request-id"


class Attempts:
    """The attempts of one call.

    The request identifier and the trace context stay the same over all of them, and they share one deadline.
    """

    def __init__(self, options: CallOptions, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts the clock.

        Args:
            options: What applies to the call.
            clock: Seconds on a monotonic clock.
        """
        self._options = options
        self._clock = clock
        self._made = 0
        timeout = options.timeout
        self._deadline = None if timeout is None or timeout == float("inf") else clock() + timeout
        self.request_id = options.request_id or uuid.uuid4().hex
        self.direct = options.direct
        """Whether the next attempt may dial a replica."""

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Request metadata: the caller's own, the request identifier, and the current trace's context."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        own = {name.lower(): value for name, value in self._options.metadata.items()}
        return tuple({**carrier, **own, REQUEST_ID_KEY: self.request_id}.items())

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None: there is no deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def pause_after(self, error: RpcError, *, was_direct: bool) -> float | None:
        """Seconds to wait before the next attempt; None: there is none, raise the error.

        A replica that cannot be reached, or no longer knows the resource, is no verdict: the gateway is asked at once.

        Args:
            error: How the attempt failed, before it had produced anything.
            was_direct: The attempt dialled a replica.
        """
        if was_direct:
            self.direct = False
            return 0.0 if isinstance(error, UnavailableError | NotFoundError) else None
        self._made += 1
        if not isinstance(error, UnavailableError):
            return None
        pause = self._options.retry.delay(self._made, error.retry_after)
        remaining = self.remaining()
        if pause is None or (remaining is not None and pause >= remaining):
            return None
        return pause
