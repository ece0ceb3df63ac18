"""Stores in folders of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.memory.providers.embedded.config import EmbeddedConfig
from services.memory.providers.embedded.store import EmbeddedStore
from tests.conformance.memory.building import Clock

StartStore = Callable[..., Awaitable[EmbeddedStore]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def start(tmp_path: Path, clock: Clock) -> AsyncIterator[StartStore]:
    """Starts a store over the test's folder; those that the test does not stop are stopped after it."""
    started: list[EmbeddedStore] = []

    async def start_store(folder: Path | None = None, **config: Any) -> EmbeddedStore:
        store = EmbeddedStore(EmbeddedConfig(folder=folder or tmp_path / "store", **config), clock)
        started.append(store)
        await store.start()
        return store

    yield start_store
    for store in started:
        await store.stop()
