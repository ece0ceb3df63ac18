"""The items of concurrent calls, computed together in one thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.core.errors import ResourceExhaustedError, UnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")
Compute = Callable[[list[Item]], list[Result]]


@dataclass(slots=True, eq=False)
class _Job(Generic[Item, Result]):
    """The items of one call."""

    compute: Compute[Item, Result]
    items: Sequence[Item]
    done: asyncio.Future[list[Result]]
    taken: int = 0
    results: list[Result] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Number of items that no batch has taken yet."""
        return len(self.items) - self.taken


class Batcher(Generic[Item, Result]):
    """Computes the items of all calls, a batch at a time.

    Each waiting call gets a share of every batch, so that a large one delays no other. Belongs to one event loop.
    """

    def __init__(self, what: str, max_batch_size: int, max_queued: int) -> None:
        """Prepares the queue; `start` begins to work on it.

        Args:
            what: What the items are, in the plural, for errors and the thread's name.
            max_batch_size: Most items in a batch.
            max_queued: Most items that wait.
        """
        self._what = what
        self._max_batch_size = max_batch_size
        self._max_queued = max_queued
        self._jobs: deque[_Job[Item, Result]] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=what)
        self._worker: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """Number of items that wait."""
        return sum(job.left for job in self._jobs)

    def start(self) -> None:
        """Begins to work."""
        self._worker = asyncio.create_task(self._work(), name=f"batches of {self._what}")

    async def stop(self) -> None:
        """Ends the work; calls that wait fail."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        for job in self._jobs:
            _fail(job, _stopped())
        self._jobs.clear()
        await asyncio.to_thread(self._thread.shutdown)

    async def run(self, compute: Compute[Item, Result], items: Sequence[Item]) -> list[Result]:
        """Computes the items of one call. Cancelling drops those that no batch has taken yet.

        Args:
            compute: Computes a batch, in the thread; calls that give an equal one share batches. It returns a result for each item, in
                their order.
            items: The items.

        Returns:
            The results, in the items' order.

        Raises:
            ResourceExhaustedError: Too many items wait.
        """
        if self.queued + len(items) > self._max_queued:
            raise ResourceExhaustedError(
                f"{self.queued} of at most {self._max_queued} {self._what} wait already, there is no room for {len(items)} more; try again",
                retry_after=1.0,
                subject="queue",
                reason="QUEUE_FULL",
            )
        job = _Job(compute, items, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._wake.set()
        try:
            return await job.done
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._jobs:
                await self._compute(self._take())

    async def _compute(self, batch: list[tuple[_Job[Item, Result], int]]) -> None:
        items = [item for job, count in batch for item in job.items[job.taken - count : job.taken]]
        computing = asyncio.get_running_loop().run_in_executor(self._thread, batch[0][0].compute, items)
        try:
            await asyncio.wait([computing])
        except asyncio.CancelledError:
            for job, _ in batch:
                _fail(job, _stopped())
            raise
        error = computing.exception()
        if error is not None:
            for job, _ in batch:
                _fail(job, error)
            self._jobs = deque(job for job in self._jobs if not job.done.done())
            return
        results = iter(computing.result())
        for job, count in batch:
            job.results += [next(results) for _ in range(count)]
            if len(job.results) == len(job.items) and not job.done.done():
                job.done.set_result(job.results)

    def _take(self) -> list[tuple[_Job[Item, Result], int]]:
        """Takes the next batch, a share of each call that computes the same; a call with more goes to the end of the queue."""
        compute = self._jobs[0].compute
        sharing = [job for job in self._jobs if job.compute == compute]
        room = self._max_batch_size
        batch: list[tuple[_Job[Item, Result], int]] = []
        for place, job in enumerate(sharing):
            count = min(job.left, -(-room // (len(sharing) - place)))
            if not count:
                break
            job.taken += count
            room -= count
            batch.append((job, count))
            self._jobs.remove(job)
            if job.left:
                self._jobs.append(job)
        return batch


def _stopped() -> UnavailableError:
    return UnavailableError("the service is shutting down; try again", reason="SHUTTING_DOWN")


def _fail(job: _Job[Item, Result], error: BaseException) -> None:
    if not job.done.done():
        job.done.set_exception(error)
