"""Ended jobs whose time is over, and files that nobody needs any more: both are swept."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.core.errors import CaravanError, FailedPreconditionError, NotFoundError
from services.post_training.jobs.job_store import JobStore, StaleError
from services.post_training.jobs.jobs import Jobs

_log = structlog.get_logger(__name__)

_BATCH = 64
# Sweeps between two rounds of the other chores.
_ROUNDS = 100


class Retention:
    """Sweeps."""

    def __init__(
        self, store: JobStore, jobs: Jobs, chores: Sequence[Callable[[], Awaitable[object]]], sweep_seconds: float
    ) -> None:
        """Sweeps nothing yet.

        Args:
            store: The jobs.
            jobs: Deletes them.
            chores: What else is swept, less often.
            sweep_seconds: Seconds between two sweeps.
        """
        self._store, self._jobs, self._chores = store, jobs, chores
        self._seconds = sweep_seconds
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins."""
        self._sweeping = asyncio.create_task(self._sweep_for_ever(), name="job-retention")

    async def stop(self) -> None:
        """Ends."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def sweep(self) -> None:
        """Deletes jobs whose time is over, then the files of those that were deleted.

        Raises:
            CaravanError: The store does not answer.
        """
        for uuid in await self._store.outdated_jobs(_BATCH):
            with contextlib.suppress(StaleError, NotFoundError, FailedPreconditionError):
                await self._jobs.delete_with_trials(await self._store.read(uuid))
                _log.info("job_expired", job_uuid=uuid)
        for uuid in await self._store.graves(_BATCH):
            # Whoever deleted it died before it was done with the files.
            await self._jobs.clear(uuid)

    async def _sweep_for_ever(self) -> None:
        rounds = 0
        while True:
            await _tried(self.sweep)
            if rounds % _ROUNDS == 0:
                for chore in self._chores:
                    await _tried(chore)
            rounds += 1
            await asyncio.sleep(self._seconds)


async def _tried(chore: Callable[[], Awaitable[object]]) -> None:
    """Does a chore; what fails is tried again another time."""
    try:
        await chore()
    except (CaravanError, OSError) as error:
        _log.warning("sweep_failed", why=str(error))
