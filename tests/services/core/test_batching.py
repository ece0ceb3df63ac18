"""How concurrent calls share the one thread; the model is real, only held up."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from services.core.errors import ResourceExhaustedError, UnavailableError
from services.inference.providers.sentence_transformers.batching import Batcher
from services.inference.providers.sentence_transformers.encoder import Encoder, Item, Result, Vector
from services.inference.providers.sentence_transformers.provider import SentenceTransformersProvider
from tests.support.eventually import until


class HeldUp(Encoder):
    """The provider's model; a batch waits until it is let through."""

    def __init__(self, encoder: Encoder) -> None:
        self.__dict__.update(encoder.__dict__)
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.failure: Exception | None = None

    def encode(self, items: Sequence[Item]) -> list[Result]:
        self.batches.append([item.text for item in items])
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        return super().encode(items)


@pytest.fixture
def held_up(provider: SentenceTransformersProvider) -> HeldUp:
    return HeldUp(next(iter(provider._encoders.values())))


@asynccontextmanager
async def batcher(max_batch_size: int = 4, max_queued: int = 100) -> AsyncIterator[Batcher]:
    running = Batcher(max_batch_size, max_queued)
    running.start()
    try:
        yield running
    finally:
        await running.stop()


def items(name: str, count: int = 1) -> list[Item]:
    return [Item(f"{name}{number}") for number in range(count)]


async def test_calls_that_wait_share_the_next_batch_and_a_large_one_delays_no_other(held_up: HeldUp):
    async with batcher() as running:
        first = asyncio.create_task(running.run(held_up, items("first ")))
        await until(lambda: bool(held_up.batches))
        large = asyncio.create_task(running.run(held_up, items("large ", 8)))
        small = asyncio.create_task(running.run(held_up, items("small ")))
        other = asyncio.create_task(running.run(held_up, items("other ")))
        await until(lambda: running.queued == 10)
        held_up.gate.set()
        results = await asyncio.gather(first, large, small, other)
    assert held_up.batches[1] == ["large 0", "large 1", "small 0", "other 0"]
    assert held_up.batches[2:] == [["large 2", "large 3", "large 4", "large 5"], ["large 6", "large 7"]]
    assert [len(result) for result in results] == [1, 8, 1, 1]
    alone = held_up.encode([Item("large 5")])[0]
    assert isinstance(alone, Vector)
    assert results[1][5].values == pytest.approx(alone.values, abs=1e-5)


async def test_calls_for_different_models_take_turns(held_up: HeldUp):
    another = HeldUp(held_up)
    held_up.gate.set()
    another.gate.set()
    async with batcher() as running:
        await asyncio.gather(running.run(held_up, items("a", 9)), running.run(another, items("b", 9)))
    assert [len(batch) for batch in held_up.batches] == [len(batch) for batch in another.batches] == [4, 4, 1]


async def test_a_full_queue_refuses_and_recovers(held_up: HeldUp):
    async with batcher(max_queued=5) as running:
        first = asyncio.create_task(running.run(held_up, items("first")))
        await until(lambda: bool(held_up.batches))
        waiting = asyncio.create_task(running.run(held_up, items("waiting", 4)))
        await until(lambda: running.queued == 4)
        with pytest.raises(ResourceExhaustedError) as caught:
            await running.run(held_up, items("more", 2))
        assert caught.value.retry_after is not None
        held_up.gate.set()
        await asyncio.gather(first, waiting)
        assert len(await running.run(held_up, items("more", 2))) == 2


async def test_cancelling_drops_what_waits(held_up: HeldUp):
    async with batcher() as running:
        first = asyncio.create_task(running.run(held_up, items("first", 6)))
        await until(lambda: bool(held_up.batches))
        waiting = asyncio.create_task(running.run(held_up, items("waiting", 4)))
        await until(lambda: running.queued == 6)
        for task in (first, waiting):
            task.cancel()
        await asyncio.wait([first, waiting])
        assert running.queued == 0
        held_up.gate.set()
        await running.run(held_up, items("later"))
    assert held_up.batches == [["first0", "first1", "first2", "first3"], ["later0"]]


async def test_a_computation_that_fails_fails_its_calls_and_no_later_one(held_up: HeldUp):
    held_up.failure = RuntimeError("out of memory")
    held_up.gate.set()
    async with batcher() as running:
        results = await asyncio.gather(
            running.run(held_up, items("a", 6)), running.run(held_up, items("b")), return_exceptions=True
        )
        assert all(isinstance(result, RuntimeError) for result in results)
        assert running.queued == 0
        held_up.failure = None
        assert len(await running.run(held_up, items("c"))) == 1


async def test_stopping_fails_what_waits(held_up: HeldUp):
    async with batcher() as running:
        first = asyncio.create_task(running.run(held_up, items("first", 6)))
        await until(lambda: bool(held_up.batches))
        held_up.gate.set()
        await running.stop()
        with pytest.raises(UnavailableError):
            await first
