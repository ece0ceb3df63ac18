"""Asking again while somebody does not answer."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.core.errors import AbortedError, ResourceExhaustedError, UnavailableError

T = TypeVar("T")

_PASSING = (UnavailableError, ResourceExhaustedError, AbortedError)
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0


async def patiently(call: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Asks again, later each time, while somebody is away or overloaded; at least as late as he asks for.

    Args:
        call: Asks.
        seconds: Seconds after which it is not asked again.

    Raises:
        CaravanError: What it raised the last time, or at once when asking again would not help.
    """
    ends = time.monotonic() + seconds
    delay = _FIRST_DELAY
    while True:
        try:
            return await call()
        except _PASSING as error:
            wanted = getattr(error, "retry_after", None) or 0.0
            pause = min(max(delay, wanted), _LONGEST_DELAY) * random.uniform(0.75, 1.25)  # noqa: S311 - spreads calls
            if time.monotonic() + pause > ends:
                raise
        await asyncio.sleep(pause)
        delay *= 2
