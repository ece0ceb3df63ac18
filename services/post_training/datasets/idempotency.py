"""Doing a mutation once: a repeated `request_id` gets the first call's answer, and waits for it while that runs here."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from google.protobuf.message import Message

from services.core.errors import InvalidArgumentError
from services.post_training.datasets.ports import DatasetStore, Receipt

# A request of which a digest is made at once, without a thread.
_SMALL = 65_536


@dataclass(slots=True)
class _Turn:
    """The calls of one key: one after the other."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """Lets those who name the same thing work on it one after the other, in this process."""

    def __init__(self) -> None:
        """Begins with nobody at work."""
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def taken(self, key: str) -> AsyncIterator[None]:
        """Waits for a turn and keeps it.

        Args:
            key: The thing. Empty: nothing that anybody else could name.
        """
        if not key:
            yield
            return
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                self._turns.pop(key, None)


class Once:
    """Runs mutations with receipts."""

    def __init__(self, store: DatasetStore) -> None:
        """Begins with nothing running.

        Args:
            store: Keeps the answers.
        """
        self._store = store
        self._turns = Turns()

    @asynccontextmanager
    async def call(
        self, rpc: str, request_id: str, *parts: Message | str
    ) -> AsyncIterator[tuple[Receipt, bytes | None]]:
        """Begins a call; yields its receipt, and what it was answered before, if it was.

        Args:
            rpc: Name of the RPC.
            request_id: The caller's; may be empty.
            parts: What the call asks for.

        Raises:
            InvalidArgumentError: The request id was used for another call.
        """
        size = sum(part.ByteSize() if isinstance(part, Message) else len(part) for part in parts)
        digest = _digest(parts) if size <= _SMALL else await asyncio.to_thread(_digest, parts)
        receipt = Receipt(rpc, request_id, digest)
        async with self._turns.taken(f"{rpc}/{request_id}" if request_id else ""):
            yield receipt, await self._store.answer(receipt) if request_id else None


def reused() -> InvalidArgumentError:
    """Returns the error for a request id that was used for something else."""
    return InvalidArgumentError.of(
        "request_id", "was used for a different call in the last 24 hours; take a new one", reason="REQUEST_ID_REUSED"
    )


def _digest(parts: tuple[Message | str, ...]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.SerializeToString(deterministic=True) if isinstance(part, Message) else part.encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
