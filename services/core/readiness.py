"""Whether something can really answer now, and who wants to know."""

from collections.abc import Callable

STARTING = "starting"


class Readiness:
    """Whether a provider can answer; it starts as not ready. Belongs to one event loop: call it from that loop's thread only."""

    def __init__(self) -> None:
        """Makes it not ready, with the reason "starting"."""
        self._reason: str | None = STARTING
        self._callbacks: list[Callable[[Readiness], None]] = []

    @property
    def ready(self) -> bool:
        """It can answer now."""
        return self._reason is None

    @property
    def reason(self) -> str:
        """Why it cannot answer. Empty when it can."""
        return self._reason or ""

    def set_ready(self) -> None:
        """Says that it can answer now."""
        self._set(None)

    def set_not_ready(self, reason: str) -> None:
        """Says that it cannot answer now.

        Args:
            reason: Why, for an operator, for instance "the engine died; starting it again".
        """
        self._set(reason or "not ready")

    def subscribe(self, callback: Callable[["Readiness"], None]) -> Callable[[], None]:
        """Calls back on every change of `ready` or `reason`, from within the call that makes the change.

        Args:
            callback: Called with this object. It must not block and must not raise.

        Returns:
            A function that ends the subscription.
        """
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def _set(self, reason: str | None) -> None:
        if reason == self._reason:
            return
        self._reason = reason
        for callback in list(self._callbacks):
            callback(self)
