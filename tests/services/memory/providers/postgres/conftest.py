"""One PostgreSQL for all of these tests, and a schema of its own for each."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from services.memory.providers.postgres.config import PostgresConfig
from services.memory.providers.postgres.store import PostgresStore
from tests.support.postgres import PostgresServer, postgres_server

MakeStore = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server."""
    with postgres_server(max_connections=60) as server:
        yield server


@pytest.fixture
async def schema(postgres: PostgresServer) -> AsyncIterator[str]:
    """Name of a schema that nobody else uses."""
    name = f"test_{os.urandom(6).hex()}"
    yield name
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    await connection.close()


@pytest.fixture
async def make_store(postgres: PostgresServer, schema: str) -> AsyncIterator[MakeStore]:
    """Makes stores that share their banks, as the replicas of a service do."""
    made: list[PostgresStore] = []

    async def make(*, readiness: Any = None, clock: Any = None, **config: Any) -> PostgresStore:
        settings = PostgresConfig(**{"dsn": postgres.url, "schema_name": schema, "max_connections": 4, **config})
        store = PostgresStore(settings, readiness=readiness, **({"clock": clock} if clock else {}))
        made.append(store)
        await store.start()
        return store

    yield make
    for store in made:
        await store.stop()


@pytest.fixture
async def store(make_store: MakeStore) -> PostgresStore:
    return await make_store()


@pytest.fixture
async def sql(postgres: PostgresServer, schema: str) -> AsyncIterator[Any]:
    """A connection of an operator's, in the store's schema."""
    connection = await asyncpg.connect(postgres.url, server_settings={"search_path": f"{schema},public"})
    yield connection
    await connection.close()
