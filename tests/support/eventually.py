"""Waiting for what no event announces."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

R = TypeVar("R")


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until something is so.

    Args:
        condition: Tells whether it is; called often.
        seconds: Longest time to wait before TimeoutError.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)


async def eventually(ask: Callable[[], Awaitable[R]], wanted: Callable[[R], bool], seconds: float = 20.0) -> R:
    """Asks again and again until the answer is as wanted, and returns it.

    Args:
        ask: Asks.
        wanted: Tells whether an answer is.
        seconds: Longest time to wait before TimeoutError.
    """
    async with asyncio.timeout(seconds):
        while not wanted(answer := await ask()):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)
        return answer
