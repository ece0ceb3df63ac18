"""Ending background tasks for sure."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_SECONDS = 0.1


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancels tasks until they have ended.

    Once may not be enough: in Python 3.11 `asyncio.wait_for`, which libraries use, loses a cancellation that arrives together with its
    result (https://github.com/python/cpython/issues/86296).
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
