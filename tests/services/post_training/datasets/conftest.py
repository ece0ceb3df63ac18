from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.services.post_training.datasets.server import Served, served
from tests.support.valkey import ValkeyServer, valkey_server


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="session")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the service may read from."""
    return tmp_path_factory.mktemp("allowed")


@pytest.fixture(scope="session")
async def service(
    valkey: ValkeyServer, allowed: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One server for the tests that need nothing of their own; each takes names of its own."""
    async with served(valkey, tmp_path_factory.mktemp("storage"), folders=[str(allowed)]) as running:
        yield running
