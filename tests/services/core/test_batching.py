"""How concurrent calls share the one thread of a batcher."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.core.batching import Batcher
from services.core.errors import ResourceExhaustedError, UnavailableError
from tests.support.eventually import until


class HeldUp:
    """Measures words; a batch waits until it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.failure: Exception | None = None

    def lengths(self, words: list[str]) -> list[int]:
        self.batches.append(list(words))
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        return [len(word) for word in words]


@pytest.fixture
def held_up() -> HeldUp:
    return HeldUp()


@asynccontextmanager
async def batcher(max_batch_size: int = 4, max_queued: int = 100) -> AsyncIterator[Batcher[str, int]]:
    running: Batcher[str, int] = Batcher("words", max_batch_size, max_queued)
    running.start()
    try:
        yield running
    finally:
        await running.stop()


def words(name: str, count: int = 1) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


async def test_calls_that_wait_share_the_next_batch_and_a_large_one_delays_no_other(held_up: HeldUp):
    async with batcher() as running:
        first = asyncio.create_task(running.run(held_up.lengths, words("first ")))
        await until(lambda: bool(held_up.batches))
        large = asyncio.create_task(running.run(held_up.lengths, words("large ", 8)))
        small = asyncio.create_task(running.run(held_up.lengths, words("small ")))
        other = asyncio.create_task(running.run(held_up.lengths, words("other number ")))
        await until(lambda: running.queued == 10)
        held_up.gate.set()
        results = await asyncio.gather(first, large, small, other)
    assert held_up.batches[1] == ["large 0", "large 1", "small 0", "other number 0"]
    assert held_up.batches[2:] == [["large 2", "large 3", "large 4", "large 5"], ["large 6", "large 7"]]
    assert results == [[7], [7] * 8, [7], [14]]


async def test_calls_that_compute_something_else_take_turns(held_up: HeldUp):
    another = HeldUp()
    held_up.gate.set()
    another.gate.set()
    async with batcher() as running:
        await asyncio.gather(running.run(held_up.lengths, words("a", 9)), running.run(another.lengths, words("b", 9)))
    assert [len(batch) for batch in held_up.batches] == [len(batch) for batch in another.batches] == [4, 4, 1]


async def test_a_full_queue_refuses_and_recovers(held_up: HeldUp):
    async with batcher(max_queued=5) as running:
        first = asyncio.create_task(running.run(held_up.lengths, words("first")))
        await until(lambda: bool(held_up.batches))
        waiting = asyncio.create_task(running.run(held_up.lengths, words("waiting", 4)))
        await until(lambda: running.queued == 4)
        with pytest.raises(ResourceExhaustedError, match="4 of at most 5 words wait already") as caught:
            await running.run(held_up.lengths, words("more", 2))
        assert caught.value.retry_after is not None
        held_up.gate.set()
        await asyncio.gather(first, waiting)
        assert len(await running.run(held_up.lengths, words("more", 2))) == 2


async def test_cancelling_drops_what_waits(held_up: HeldUp):
    async with batcher() as running:
        first = asyncio.create_task(running.run(held_up.lengths, words("first", 6)))
        await until(lambda: bool(held_up.batches))
        waiting = asyncio.create_task(running.run(held_up.lengths, words("waiting", 4)))
        await until(lambda: running.queued == 6)
        for task in (first, waiting):
            task.cancel()
        await asyncio.wait([first, waiting])
        assert running.queued == 0
        held_up.gate.set()
        await running.run(held_up.lengths, words("later"))
    assert held_up.batches == [["first0", "first1", "first2", "first3"], ["later0"]]


async def test_a_computation_that_fails_fails_its_calls_and_no_later_one(held_up: HeldUp):
    held_up.failure = RuntimeError("out of memory")
    held_up.gate.set()
    async with batcher() as running:
        calls = running.run(held_up.lengths, words("a", 6)), running.run(held_up.lengths, words("b"))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, RuntimeError) for result in results)
        assert running.queued == 0
        held_up.failure = None
        assert len(await running.run(held_up.lengths, words("c"))) == 1


async def test_stopping_fails_what_is_being_computed(held_up: HeldUp):
    async with batcher() as running:
        taken = asyncio.create_task(running.run(held_up.lengths, words("taken", 1)))
        await until(lambda: bool(held_up.batches))
        stopping = asyncio.create_task(running.stop())
        async with asyncio.timeout(5):
            with pytest.raises(UnavailableError):
                await taken
        held_up.gate.set()
        await stopping


async def test_stopping_fails_what_waits(held_up: HeldUp):
    async with batcher() as running:
        first = asyncio.create_task(running.run(held_up.lengths, words("first", 6)))
        await until(lambda: bool(held_up.batches))
        held_up.gate.set()
        await running.stop()
        with pytest.raises(UnavailableError):
            await first
