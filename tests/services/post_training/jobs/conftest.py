from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.services.post_training.jobs.world import Replica, replica
from tests.support.valkey import ValkeyServer, valkey_server


@pytest.fixture(scope="session")
def job_server() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture
async def here(job_server: ValkeyServer, tmp_path: Path) -> AsyncIterator[Replica]:
    """A replica that runs jobs; the store is empty."""
    job_server.flush()
    async with replica(job_server.url, tmp_path) as made:
        yield made


@pytest.fixture
async def idle(job_server: ValkeyServer, tmp_path: Path) -> AsyncIterator[Replica]:
    """A replica that runs no jobs; the store is empty."""
    job_server.flush()
    async with replica(job_server.url, tmp_path, schedule=False) as made:
        yield made
