"""How a training is stopped from outside: SIGTERM, or the death of the process that started it."""

import ctypes
import os
import signal
from types import FrameType

from services.post_training.spec import PARENT_VARIABLE

LAUNCHER_VARIABLE = "CARAVAN_TRAINER_LAUNCHER"
"""Environment variable with the process id of torchrun, when several processes train."""

_PR_SET_PDEATHSIG = 1


class Stop:
    """Whether the training is to stop.

    Attributes:
        reason: Why it is. Empty: it goes on.
    """

    def __init__(self) -> None:
        """Is not stopped."""
        self.reason = ""

    def __bool__(self) -> bool:
        """Whether it is to stop."""
        return bool(self.reason)

    def listen(self) -> None:
        """Stops from now on when SIGTERM or SIGINT comes, or the service dies."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        if LAUNCHER_VARIABLE in os.environ:
            # torchrun passes the service's signals on. Only SIGKILL ends it before its workers, and is meant for them too.
            signal_at_death_of_parent(signal.SIGKILL)
        elif service_is_watched():
            signal_at_death_of_parent(signal.SIGTERM)
            if not service_lives():
                self.reason = "the service that started the training is gone"

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        gone = LAUNCHER_VARIABLE not in os.environ and service_is_watched() and not service_lives()
        self.reason = self.reason or (
            "the service that started the training is gone" if gone else f"stopped by {signal.Signals(number).name}"
        )


def service_is_watched() -> bool:
    """Returns whether the death of the service stops the training."""
    return PARENT_VARIABLE in os.environ


def service_lives() -> bool:
    """Returns whether the service, which started this process, lives."""
    return os.getppid() == int(os.environ[PARENT_VARIABLE])


def signal_at_death_of_parent(number: signal.Signals) -> None:
    """Has the kernel send this process a signal when its parent dies.

    Args:
        number: The signal.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
