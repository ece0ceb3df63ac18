"""Follows the published view: told of news by the store, and looking by itself now and then in case the telling was missed."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from gateway import background
from gateway.view import View
from services.core.errors import CaravanError

_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 0.5


class Store(Protocol):
    """What the follower needs of the registry's store."""

    async def published_version(self) -> int:
        """Returns the version of the published view."""

    async def published(self) -> dict[str, bytes]:
        """Returns the parts of the published view."""


class Follower:
    """The newest view that this worker knows. It outlives the store: while that is away, the last view stays."""

    def __init__(self, store: Store) -> None:
        """Makes a follower that knows the empty view.

        Args:
            store: Where views are published.
        """
        self.view = View()
        self.store_answers = False
        """The store answered when it was last asked."""
        self._store = store
        self._listeners: list[Callable[[View], None]] = []
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[bool] | None = None

    def on_view(self, listener: Callable[[View], None]) -> None:
        """Calls `listener` with every new view, before anybody who waits for it goes on."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Looks for news periodically, for ever. `look` is called besides whenever the store tells of news."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS if self.store_answers else _PAUSE_SECONDS)

    async def look(self) -> bool:
        """Reads the published view if it is another than the one known; returns whether it was. Never raises."""
        running = self._looking
        found = False
        if running is not None and not running.done():
            # It may have looked before what the caller has heard of.
            found = await asyncio.shield(running)
        if self._looking is running or self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking) or found

    async def close(self) -> None:
        """Looks no more."""
        self._listeners.clear()
        if self._looking is not None:
            await background.end([self._looking])

    async def wait_for(self, condition: Callable[[View], bool], seconds: float) -> bool:
        """Waits until a view fulfils a condition; returns False when none did in time."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: condition(self.view))
        except TimeoutError:
            return False
        return True

    async def _look(self) -> bool:
        try:
            version = await self._store.published_version()
            if version == self.view.version or not version:
                self._answered(True)
                return False
            parts = await self._store.published()
        except CaravanError as error:
            self._answered(False, str(error))
            return False
        self._answered(True)
        view = View.of_parts(parts)
        self.view = view
        for listener in self._listeners:
            listener(view)
        async with self._changed:
            self._changed.notify_all()
        return True

    def _answered(self, answers: bool, why: str = "") -> None:
        if answers != self.store_answers:
            _log.info("registry_store", answers=answers, why=why)
        self.store_answers = answers
