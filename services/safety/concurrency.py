"""Several pieces of work side by side, failed and cancelled as one."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

R = TypeVar("R")


async def all_of(work: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """Returns the results in order. The first failure cancels the others and is raised.

    Args:
        work: What to do.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
