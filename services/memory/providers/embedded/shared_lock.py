"""A lock that many readers or one writer hold."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PAUSE = 0.0002


class SharedLock:
    """Readers share it; a writer has it alone.

    A writer that waits lets no further reader in. One that comes back at once, slice by slice, lets the readers in between that waited:
    so neither starves the other.
    """

    def __init__(self) -> None:
        """Begins free."""
        self._gate = threading.Lock()
        self._count = threading.Lock()
        self._drained = threading.Event()
        self._readers = 0
        self._waiting = 0

    def acquire_shared(self, *, wait: bool = True) -> bool:
        """Takes it together with other readers; `release_shared` gives it back.

        Args:
            wait: Waits while a writer has it; otherwise the answer is False then.
        """
        if not self._gate.acquire(blocking=False):
            if not wait:
                return False
            with self._count:
                self._waiting += 1
            self._gate.acquire()
            with self._count:
                self._waiting -= 1
        with self._count:
            self._readers += 1
        self._gate.release()
        return True

    def release_shared(self) -> None:
        """Gives it back."""
        with self._count:
            self._readers -= 1
            if not self._readers and not self._drained.is_set():
                self._drained.set()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Holds it together with other readers."""
        self.acquire_shared()
        try:
            yield
        finally:
            self.release_shared()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds it without anybody else."""
        with self._gate:
            with self._count:
                if self._readers:
                    self._drained.clear()
                else:
                    self._drained.set()
            self._drained.wait()
            yield
        if self._waiting:
            # Locks are not fair: without a pause the writer would have it again before a reader wakes.
            time.sleep(_PAUSE)
