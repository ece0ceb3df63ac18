"""Keeping a turn's lease while the turn runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from services.agents.ports import LeaseLostError, TurnStore
from services.agents.state import Lease
from services.core.errors import UnavailableError

_log = structlog.get_logger(__name__)

# A lease outlives two heartbeats that went wrong.
_BEATS_A_LEASE = 3


@asynccontextmanager
async def kept(store: TurnStore, lease: Lease) -> AsyncIterator[Lease]:
    """Renews a lease in the background until the block ends, or until it is lost: then `lease.lost` is set.

    Args:
        store: Holds the turn.
        lease: The lease.
    """
    task = asyncio.create_task(_renew(store, lease), name=f"lease-{lease.turn.turn_id}")
    try:
        yield lease
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _renew(store: TurnStore, lease: Lease) -> None:
    while not lease.lost.is_set():
        await asyncio.sleep(store.lease_seconds / _BEATS_A_LEASE)
        try:
            await store.heartbeat(lease)
        except LeaseLostError:
            return
        except UnavailableError as error:
            # The lease may still be ours when the store is back: the next write tells.
            _log.warning("lease_not_renewed", turn=lease.turn.turn_id, reason=error.reason)
