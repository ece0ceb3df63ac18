"""Windows of concurrent calls, classified together in one thread."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from services.core.errors import ResourceExhaustedError, UnavailableError
from services.safety.providers.prompt_guard.classifier import Classifier


@dataclass(slots=True, eq=False)
class _Job:
    """The windows of one call."""

    classifier: Classifier
    texts: Sequence[str]
    done: asyncio.Future[list[list[float]]]
    taken: int = 0
    results: list[list[float]] = field(default_factory=list)


class Batcher:
    """Classifies the windows of all calls, a batch at a time.

    Calls take turns within a batch, so that a long text delays no other. Belongs to one event loop.
    """

    def __init__(self, max_batch_size: int, max_queued: int) -> None:
        """Prepares the queue; `start` begins to work on it.

        Args:
            max_batch_size: Most windows in a batch.
            max_queued: Most windows that wait.
        """
        self._max_batch_size = max_batch_size
        self._max_queued = max_queued
        self._jobs: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="classify")
        self._worker: asyncio.Task[None] | None = None
        self.batches = 0
        """Batches that were computed."""

    @property
    def queued(self) -> int:
        """Number of windows that wait."""
        return sum(len(job.texts) - job.taken for job in self._jobs)

    def start(self) -> None:
        """Begins to work."""
        self._worker = asyncio.create_task(self._work(), name="classify")

    async def stop(self) -> None:
        """Ends the work; calls that wait fail."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        for job in self._jobs:
            _fail(job, UnavailableError("the service is shutting down; try again", reason="SHUTTING_DOWN"))
        self._jobs.clear()
        await asyncio.to_thread(self._thread.shutdown)

    async def run(self, classifier: Classifier, texts: Sequence[str]) -> list[list[float]]:
        """Classifies the windows of one call. Cancelling drops those that no batch has taken yet.

        Args:
            classifier: The model.
            texts: The windows.

        Returns:
            The probability of each label for each window.

        Raises:
            ResourceExhaustedError: Too many windows wait.
        """
        if self.queued + len(texts) > self._max_queued:
            raise ResourceExhaustedError(
                f"{self.queued} of at most {self._max_queued} windows wait already, there is no room for {len(texts)} more; try again",
                retry_after=1.0,
                subject="queue",
                reason="QUEUE_FULL",
            )
        job = _Job(classifier, texts, asyncio.get_running_loop().create_future())
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

    async def _compute(self, batch: list[tuple[_Job, str]]) -> None:
        texts = [text for _, text in batch]
        loop = asyncio.get_running_loop()
        computing = loop.run_in_executor(self._thread, batch[0][0].classifier.classify, texts)
        await asyncio.wait([computing])
        self.batches += 1
        error = computing.exception()
        if error is not None:
            for job, _ in batch:
                _fail(job, error)
            self._jobs = deque(job for job in self._jobs if not job.done.done())
            return
        for (job, _), result in zip(batch, computing.result(), strict=True):
            job.results.append(result)
            if len(job.results) == len(job.texts) and not job.done.done():
                job.done.set_result(job.results)

    def _take(self) -> list[tuple[_Job, str]]:
        """Takes the next batch: in turns a window of each call for the model whose turn it is."""
        classifier = self._jobs[0].classifier
        sharing = deque(job for job in self._jobs if job.classifier is classifier)
        batch: list[tuple[_Job, str]] = []
        while sharing and len(batch) < self._max_batch_size:
            job = sharing.popleft()
            batch.append((job, job.texts[job.taken]))
            job.taken += 1
            if job.taken < len(job.texts):
                sharing.append(job)
        for job in {job for job, _ in batch}:
            self._jobs.remove(job)
        # Those that got a window wait behind those that did not.
        self._jobs.extend(dict.fromkeys(job for job, _ in batch if job.taken < len(job.texts)))
        return batch


def _fail(job: _Job, error: BaseException) -> None:
    if not job.done.done():
        job.done.set_exception(error)
