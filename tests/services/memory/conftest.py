import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.services.memory.stack import Stack, stack_with, vector
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.valkey import ValkeyServer, valkey_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session", params=["embedded", "postgres"])
async def stack(
    request: pytest.FixtureRequest, valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A gateway, embeddings, and two memory providers on one kind of store: `one` and `two`."""
    valkey.flush()
    stores: dict[str, dict[str, Any]] = {}
    for name in ("one", "two"):
        if request.param == "embedded":
            stores[name] = {"type": "inline::embedded", "folder": str(tmp_path_factory.mktemp(name))}
        else:
            url = request.getfixturevalue("postgres").url
            stores[name] = {"type": "remote::pgvector", "dsn": url, "schema_name": f"memory_{name}"}
    async with stack_with(valkey.url, stores, documents={"allow_private_addresses": True}) as running:
        yield running


@pytest.fixture
def make_bank(stack: Stack) -> Callable[..., Any]:
    """Registers a bank of its own for a test; a vector bank unless the parameters say otherwise."""

    async def make(params: dict[str, Any] | None = None, provider_id: str = "one", **fields: Any) -> str:
        bank_id = f"bank-{next(_numbers)}"
        await stack.client.memory_banks.register(bank_id, params or vector(), provider_id=provider_id, **fields)
        return bank_id

    return make


@pytest.fixture
async def bank(make_bank: Callable[..., Any]) -> str:
    """A vector bank."""
    bank_id: str = await make_bank()
    return bank_id
