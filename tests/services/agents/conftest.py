from collections.abc import AsyncIterator, Iterator

import pytest

from tests.services.agents.world import Replica, World, behind_the_gateway
from tests.support.stack import free_address
from tests.support.valkey import ValkeyServer, valkey_server


@pytest.fixture(scope="session")
def store_server() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture
async def world(store_server: ValkeyServer) -> AsyncIterator[World]:
    """What is behind the agents service; the store is empty."""
    store_server.flush()
    world = World(store_server.url, free_address())
    async with behind_the_gateway(world):
        yield world


@pytest.fixture
async def replica(world: World) -> AsyncIterator[Replica]:
    """The agents service."""
    async with world.replica() as replica:
        yield replica
