"""Doing a mutation once: a repeated `request_id` gets the first call's answer, and waits for it while that runs here."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.protobuf.message import Message

from services.core.errors import InvalidArgumentError
from services.core.keyed_locks import KeyedLocks
from services.post_training.datasets.ports import DatasetStore, Receipt

# A request of which a digest is made at once, without a thread.
_SMALL = 65_536


class Once:
    """Runs mutations with receipts."""

    def __init__(self, store: DatasetStore) -> None:
        """Begins with nothing running.

        Args:
            store: Keeps the answers.
        """
        self._store = store
        self._locks = KeyedLocks()

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
        if not request_id:
            yield receipt, None
            return
        async with self._locks.held((rpc, request_id)):
            yield receipt, await self._store.answer(receipt)


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
