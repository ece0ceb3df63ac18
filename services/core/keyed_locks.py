"""Locks by key: who works on the same thing does it one after the other, in this process."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Lock:
    """The lock of one key, and how many have it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class KeyedLocks:
    """A lock for each key; keeps nothing of keys that nobody uses."""

    def __init__(self) -> None:
        """Begins with every key free."""
        self._locks: dict[Hashable, _Lock] = {}

    @asynccontextmanager
    async def held(self, key: Hashable) -> AsyncIterator[None]:
        """Waits for a key's lock and holds it.

        Args:
            key: The key.
        """
        lock = self._locks.setdefault(key, _Lock())
        lock.users += 1
        try:
            async with lock.lock:
                yield
        finally:
            lock.users -= 1
            if not lock.users:
                self._locks.pop(key, None)
