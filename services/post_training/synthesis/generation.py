"""One generation from its plan to its end, in a folder in which a later attempt goes on."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from caravan.synthetic_data.v1 import synthetic_data_pb2
from services.post_training.synthesis.dialogs import Messages
from services.post_training.synthesis.journal import Journal
from services.post_training.synthesis.making import Making
from services.post_training.synthesis.outcome import examples_of, read_examples, statistics_of, store
from services.post_training.synthesis.patience import patiently
from services.post_training.synthesis.plan import Plan, dialogs_of
from services.post_training.synthesis.ports import Datasets

Event = synthetic_data_pb2.StreamGenerateResponse

_PROGRESS_SECONDS = 1.0
_EVENTS_WAITING = 64
_SMALL = 10_000
_ROWS_FILE = "rows.jsonl"


class Generation:
    """A generation that runs, or has run."""

    def __init__(self, plan: Plan, journal: Journal, making: Making, datasets: Datasets, folder: Path) -> None:
        """Uses these.

        Args:
            plan: What is to be made.
            journal: What has been made; `opened` opens it.
            making: Makes the rest.
            datasets: Where rows are read and stored.
            folder: Its folder.
        """
        self.plan = plan
        self.journal = journal
        self._making = making
        self._datasets = datasets
        self._folder = folder
        self._filter = plan.filter()
        self._since = 0.0
        self._made = 0

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        """Has the journal open, and the time counted that is spent on making."""
        await self.journal.open()
        self._since, self._made = time.monotonic(), self.journal.made
        try:
            yield
        finally:
            self._note_time()
            await self.journal.close()

    async def events(
        self, *, with_examples: bool, request_id: str, patience_seconds: float
    ) -> AsyncGenerator[Event, None]:
        """Makes what is not made yet, and tells of it: progress about every second, answers that are kept, the end.

        Args:
            with_examples: Tells answers; those that the filter can decide on early as they are made.
            request_id: By which a repetition of storing is known. Empty: there will be none.
            patience_seconds: Seconds that storing is tried again.

        Raises:
            CaravanError: See Making.run and `outcome.store`.
        """
        told: asyncio.Queue[Event | None] = asyncio.Queue(_EVENTS_WAITING)
        early = with_examples and not self._filter.needs_all_scores
        task = asyncio.create_task(self._make(told, early=early), name="make-answers")
        try:
            async for event in self._until_made(told):
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._note_time()
        kept = await self._kept()
        if with_examples and not early:
            async for example in examples_of(self.plan, self.journal, self._datasets, kept):
                yield Event(example=example)
        output = self.plan.request.output_dataset_id
        if output:
            path = self._folder / _ROWS_FILE
            await patiently(
                lambda: store(self.plan, self.journal, self._datasets, kept, path, request_id), patience_seconds
            )
        statistics = statistics_of(self.plan, self.journal, kept)
        complete = synthetic_data_pb2.GenerationComplete(statistics=statistics, output_dataset_id=output)
        yield Event(complete=complete)

    async def _make(self, told: "asyncio.Queue[Event | None]", *, early: bool) -> None:
        async def completed(index: int, messages: Messages) -> None:
            if early:
                answers = self._filter.of_dialog(index, self.journal.scores_of(index))
                for example in await read_examples(self.journal, index, messages, answers) if answers else ():
                    await told.put(Event(example=example))

        try:
            await self._making.run(dialogs_of(self.plan, self._datasets), completed)
        except Exception:
            await told.put(None)
            raise
        await told.put(None)

    async def _until_made(self, told: "asyncio.Queue[Event | None]") -> AsyncGenerator[Event, None]:
        following = time.monotonic() + _PROGRESS_SECONDS
        while True:
            try:
                async with asyncio.timeout(max(0.0, following - time.monotonic())):
                    event = await told.get()
            except TimeoutError:
                following = time.monotonic() + _PROGRESS_SECONDS
                total = self.plan.dialogs * self.plan.answers
                progress = synthetic_data_pb2.GenerationProgress(generated=self.journal.made, total=total)
                yield Event(progress=progress)
                continue
            if event is None:
                return
            yield event

    def _note_time(self) -> None:
        """Notes the time that making took; a generation that only looks at what was made takes none."""
        if self.journal.made > self._made:
            self.journal.add_seconds(time.monotonic() - self._since)
            self._since, self._made = time.monotonic(), self.journal.made

    async def _kept(self) -> Sequence[int]:
        scores = self.journal.scores
        if self.plan.dialogs * self.plan.answers <= _SMALL:
            return self._filter.of_all(scores)
        return await asyncio.to_thread(self._filter.of_all, scores)
