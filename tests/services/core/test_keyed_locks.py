"""Locks by key."""

import asyncio

import pytest

from services.core.keyed_locks import KeyedLocks


async def test_who_names_the_same_thing_waits_and_who_names_another_does_not() -> None:
    locks, said = KeyedLocks(), list[str]()

    async def work(name: str, thing: str) -> None:
        async with locks.held(thing):
            said.append(f"{name} begins")
            await asyncio.sleep(0.02)
            said.append(f"{name} ends")

    await asyncio.gather(work("first", "a"), work("second", "a"), work("other", "b"))
    assert said.index("other begins") < said.index("first ends") < said.index("second begins")


async def test_who_fails_or_goes_away_lets_the_next_one_in() -> None:
    locks = KeyedLocks()
    with pytest.raises(ValueError, match="failed"):
        async with locks.held(("a", 1)):
            raise ValueError("failed")

    async def hold() -> None:
        async with locks.held(("a", 1)):
            await asyncio.sleep(60)

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(hold())
    await asyncio.sleep(0)
    for task in (waiting, holding):
        task.cancel()
    await asyncio.gather(holding, waiting, return_exceptions=True)
    async with asyncio.timeout(1), locks.held(("a", 1)):
        pass
