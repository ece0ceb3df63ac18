"""The same promises on every store.

A store joins with one more parameter: what makes one over fresh data, and makes it again over the same data.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.memory.ports import Store
from services.memory.providers.embedded.config import EmbeddedConfig
from services.memory.providers.embedded.store import EmbeddedStore
from services.memory.providers.postgres.config import PostgresConfig
from services.memory.providers.postgres.store import PostgresStore
from services.memory.records import BankSpec
from tests.conformance.memory.building import Clock, graph_spec, keyword_spec, pairs_spec, vector_spec
from tests.support.postgres import PostgresServer, postgres_server

MakeStore = Callable[[Clock], Store]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session", params=["embedded", "postgres"])
def place_of_stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], MakeStore]:
    """Gives a place for data by name, and with it what makes stores there."""
    if request.param == "embedded":
        folder = tmp_path_factory.mktemp("stores")
        return lambda name: embedded(folder / name)
    server = request.getfixturevalue("postgres")
    return lambda name: on_postgres(server, name)


def embedded(folder: Path) -> MakeStore:
    return lambda clock: EmbeddedStore(EmbeddedConfig(folder=folder), clock)


def on_postgres(server: PostgresServer, schema: str) -> MakeStore:
    config = PostgresConfig.model_validate({"dsn": server.url, "schema_name": schema})
    return lambda clock: PostgresStore(config, clock)


@pytest.fixture(scope="session")
def make_store(place_of_stores: Callable[[str], MakeStore]) -> MakeStore:
    """Makes the store that all tests share."""
    return place_of_stores("shared")


@pytest.fixture
def make_separate_store(place_of_stores: Callable[[str], MakeStore]) -> MakeStore:
    """Makes stores over the same fresh data, for the test to start and to stop, one at a time."""
    return place_of_stores(f"separate_{next(_numbers)}")


@pytest.fixture(scope="session")
def shared_clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
async def shared_store(make_store: MakeStore, shared_clock: Clock) -> AsyncIterator[Store]:
    store = make_store(shared_clock)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
def clock(shared_clock: Clock) -> Clock:
    """The store's clock. Time only goes on: other tests' data are there too."""
    return shared_clock


@pytest.fixture
def store(shared_store: Store) -> Store:
    return shared_store


async def opened(store: Store, spec: BankSpec) -> str:
    await store.open_bank(spec)
    return spec.bank_id


@pytest.fixture
async def vectors(store: Store) -> str:
    """A bank with vectors."""
    return await opened(store, vector_spec())


@pytest.fixture
async def words(store: Store) -> str:
    """A bank of words."""
    return await opened(store, keyword_spec())


@pytest.fixture
async def pairs(store: Store) -> str:
    """A bank of values."""
    return await opened(store, pairs_spec())


@pytest.fixture
async def graph(store: Store) -> str:
    """A bank with a graph."""
    return await opened(store, graph_spec())
