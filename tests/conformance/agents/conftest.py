"""The same promises on one server and on a cluster of three."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from services.agents.state import SessionKey
from services.agents.store.redis_store import RedisStore
from services.agents.store.settings import StoreSettings
from tests.conformance.agents.building import a_session, new_id
from tests.support.valkey import valkey_server
from tests.support.valkey_cluster import valkey_cluster

MakeStore = Callable[..., Awaitable[RedisStore]]


@pytest.fixture(scope="session", params=["server", "cluster"])
def backend(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Where a store can live: settings of it."""
    if request.param == "server":
        with valkey_server() as server:
            yield {"redis_url": server.url}
    else:
        with valkey_cluster() as cluster:
            yield {"redis_url": cluster.url, "cluster": True}


@pytest.fixture
async def make_store(backend: dict[str, Any]) -> AsyncIterator[MakeStore]:
    """Makes stores that share their state, as the replicas of a service do; nobody else has it."""
    prefix = f"test-{new_id()}"
    made: list[RedisStore] = []

    async def make(**settings: Any) -> RedisStore:
        store = RedisStore(StoreSettings(**{"key_prefix": prefix, "retry_seconds": 2.0, **backend, **settings}))
        made.append(store)
        await store.start()
        return store

    yield make
    for store in made:
        await store.close()


@pytest.fixture
async def store(make_store: MakeStore) -> RedisStore:
    return await make_store()


@pytest.fixture
async def other(make_store: MakeStore) -> RedisStore:
    """Another replica."""
    return await make_store()


@pytest.fixture
async def session(store: RedisStore) -> SessionKey:
    return await a_session(store)
