"""Connections, time limits and errors: what a caller and an operator see of the server's moods."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError

from services.core.context import REQUEST, RequestContext
from services.core.errors import (
    AbortedError,
    DeadlineExceededError,
    FailedPreconditionError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.core.masking import masked
from services.core.readiness import Readiness
from services.memory.providers.postgres.config import PostgresConfig
from services.memory.providers.postgres.store import PostgresStore
from services.memory.records import Word, WordQuery
from tests.services.memory.providers.postgres.building import keyword_bank, vector_bank, vectors, write
from tests.services.memory.providers.postgres.conftest import MakeStore
from tests.support.eventually import until
from tests.support.postgres import PASSWORD, PostgresServer, postgres_server

ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'caravan-memory'"


@pytest.fixture
async def slow_bank(store: PostgresStore, sql: Any) -> PostgresStore:
    """A bank whose documents take five seconds to read, and three to write."""
    await store.open_bank(vector_bank("b"))
    await store.write_documents("b", [write("d", ["x"], vectors(1))])
    number = await sql.fetchval("SELECT number FROM banks")
    await sql.execute(
        f"ALTER TABLE documents_{number} RENAME TO held; "
        f"CREATE VIEW documents_{number} AS SELECT * FROM held WHERE pg_sleep(5) IS NOT NULL; "
        "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END'; "
        f"CREATE TRIGGER nap BEFORE INSERT ON texts_{number} FOR EACH ROW EXECUTE FUNCTION nap()"
    )
    return store


async def statements(sql: Any) -> int:
    """How many of the store's statements the server runs."""
    running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'caravan-memory' AND state <> 'idle' AND query LIKE '%_1%'"
    return int(await sql.fetchval(running))


async def running(sql: Any, *, wanted: bool) -> None:
    """Waits until the server runs one of the store's statements, or none."""
    async with asyncio.timeout(3):
        while bool(await statements(sql)) is not wanted:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.02)


async def test_a_calls_deadline_ends_its_statement_on_the_server(slow_bank: PostgresStore, sql: Any) -> None:
    token = REQUEST.set(RequestContext("r", deadline=time.monotonic() + 0.3))
    began = time.monotonic()
    try:
        with pytest.raises(DeadlineExceededError):
            await slow_bank.get_documents("b", ["d"])
    finally:
        REQUEST.reset(token)
    assert time.monotonic() - began < 2
    await running(sql, wanted=False)


async def test_a_cancelled_call_ends_its_statement_on_the_server(slow_bank: PostgresStore, sql: Any) -> None:
    call = asyncio.create_task(slow_bank.get_documents("b", ["d"]))
    await running(sql, wanted=True)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await running(sql, wanted=False)


async def test_a_cancelled_write_leaves_nothing_and_no_lock(store: PostgresStore, sql: Any) -> None:
    await store.open_bank(vector_bank("b"))
    number = await sql.fetchval("SELECT number FROM banks")
    await sql.execute(
        "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END'; "
        f"CREATE TRIGGER nap BEFORE INSERT ON texts_{number} FOR EACH ROW EXECUTE FUNCTION nap()"
    )
    call = asyncio.create_task(store.write_documents("b", [write("d", ["x"], vectors(1))]))
    await asyncio.sleep(0.3)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await sql.execute(f"DROP TRIGGER nap ON texts_{number}")
    assert not await store.get_documents("b", ["d"])
    (result,) = await store.write_documents("b", [write("d", ["x"], vectors(1))])
    assert result.revision == 1


async def test_the_providers_own_limit_holds_without_a_deadline(
    store: PostgresStore, make_store: MakeStore, sql: Any
) -> None:
    await store.open_bank(keyword_bank("b"))
    store = await make_store(statement_timeout=2.0)
    await store.open_bank(keyword_bank("b"))
    number = await sql.fetchval("SELECT number FROM banks")
    await sql.execute("BEGIN")
    await sql.execute(f"LOCK TABLE documents_{number}")
    with pytest.raises(DeadlineExceededError):
        await store.get_documents("b", ["d"])
    await sql.execute("ROLLBACK")
    assert await store.get_documents("b", ["d"]) == {}


async def test_a_pool_that_stays_busy_refuses_with_resource_exhausted(make_store: MakeStore, sql: Any) -> None:
    store = await make_store(max_connections=2, acquire_timeout=0.2)
    await store.open_bank(keyword_bank("b"))
    number = await sql.fetchval("SELECT number FROM banks")
    await sql.execute("BEGIN")
    await sql.execute(f"LOCK TABLE documents_{number}")
    waiting = [asyncio.create_task(store.get_documents("b", ["d"])) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(ResourceExhaustedError) as refused:
        await store.get_documents("b", ["d"])
    assert (refused.value.reason, refused.value.retry_after) == ("STORE_BUSY", 1.0)
    await sql.execute("ROLLBACK")
    assert await asyncio.gather(*waiting) == [{}, {}]


async def every_connection(server: PostgresServer) -> list[Any]:
    held = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            held.append(await asyncpg.connect(server.url))
    return held


async def test_a_server_without_free_connections_refuses_with_resource_exhausted() -> None:
    with postgres_server(max_connections=8, superuser_reserved_connections=0) as server:
        store = PostgresStore(PostgresConfig(dsn=server.url, max_connections=4))
        await store.start()
        await store.open_bank(keyword_bank("b"))
        held = await every_connection(server)
        calls = (store.search_words("b", WordQuery([Word("fox")]), 1) for _ in range(4))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        refused = [outcome for outcome in outcomes if not isinstance(outcome, list)]
        assert refused
        assert {(type(error), error.reason) for error in refused} == {(ResourceExhaustedError, "STORE_BUSY")}
        for connection in held:
            await connection.close()
        assert await store.search_words("b", WordQuery([Word("fox")]), 1) == []
        await store.stop()


@pytest.mark.parametrize("code", ["disk_full", "out_of_memory"])
async def test_a_server_without_room_refuses_with_resource_exhausted(store: PostgresStore, sql: Any, code: str) -> None:
    await store.open_bank(vector_bank("b"))
    number = await sql.fetchval("SELECT number FROM banks")
    await sql.execute(
        "CREATE FUNCTION full_up() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '{code}'; END$$; "
        f"CREATE TRIGGER full_up BEFORE INSERT ON vectors_{number} FOR EACH ROW EXECUTE FUNCTION full_up()"
    )
    with pytest.raises(ResourceExhaustedError) as refused:
        await store.write_documents("b", [write("d", ["x"], vectors(1))])
    assert refused.value.reason == "NO_ROOM"
    assert (await store.statistics("b")).document_count == 0
    await sql.execute(f"DROP TRIGGER full_up ON vectors_{number}")
    assert (await store.write_documents("b", [write("d", ["x"], vectors(1))]))[0].revision == 1


async def test_a_race_that_is_lost_again_and_again_is_told(make_store: MakeStore, sql: Any) -> None:
    store = await make_store(max_attempts=3)
    await store.open_bank(keyword_bank("b"))
    number = await sql.fetchval("SELECT number FROM banks")
    await sql.execute(
        "CREATE SEQUENCE tries; CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN IF nextval('tries') % 4 <> 0 THEN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END IF; "
        "RETURN NEW; END$$; "
        f"CREATE TRIGGER lose BEFORE INSERT ON documents_{number} FOR EACH ROW EXECUTE FUNCTION lose()"
    )
    with pytest.raises(AbortedError) as lost:
        await store.write_documents("b", [write("d", ["x"])])
    assert lost.value.reason == "CONTENTION"
    # The next try is the fourth.
    assert (await store.write_documents("b", [write("d", ["x"])]))[0].revision == 1


async def test_a_read_only_server_is_unavailable_for_writes_and_answers_reads(make_store: MakeStore, sql: Any) -> None:
    await (await make_store()).open_bank(keyword_bank("b"))
    store = await make_store()
    await store.open_bank(keyword_bank("b"))
    await sql.execute("ALTER ROLE caravan SET default_transaction_read_only = on")
    try:
        await sql.execute(ENDED)
        with pytest.raises(UnavailableError) as refused:
            await store.write_documents("b", [write("d", ["x"])])
        assert refused.value.reason == "STORE_UNREACHABLE"
        assert await store.get_documents("b", ["d"]) == {}
    finally:
        await sql.execute(
            "SET default_transaction_read_only = off; ALTER ROLE caravan RESET default_transaction_read_only"
        )
        await sql.execute(ENDED)


async def test_a_wrong_password_is_the_operators_to_correct_and_is_never_shown(postgres: PostgresServer) -> None:
    store = PostgresStore(PostgresConfig(dsn=postgres.url_of("caravan", "wrong-secret")))
    with pytest.raises(FailedPreconditionError) as refused:
        await store.start()
    await store.stop()
    assert refused.value.reason == "STORE_REFUSES"
    assert "wrong-secret" not in refused.value.message


async def test_a_database_that_does_not_exist_is_the_operators_to_correct(postgres: PostgresServer) -> None:
    store = PostgresStore(PostgresConfig(dsn=postgres.url.replace("/postgres", "/nowhere")))
    with pytest.raises(FailedPreconditionError):
        await store.start()
    await store.stop()


async def test_nobody_at_the_address_is_unavailable() -> None:
    store = PostgresStore(PostgresConfig(dsn="postgresql://caravan:secret@127.0.0.1:1/postgres"))
    with pytest.raises(UnavailableError) as refused:
        await store.start()
    await store.stop()
    assert (refused.value.reason, refused.value.retry_after) == ("STORE_UNREACHABLE", 1.0)


@pytest.mark.parametrize(
    "dsn", ["postgresql://[", "postgresql://a:secret@h:port/x", "postgresql://a:secret@h/x?sslmode=never"]
)
async def test_an_address_that_is_none_is_refused_without_showing_it(dsn: str) -> None:
    store = PostgresStore(PostgresConfig(dsn=dsn))
    with pytest.raises((FailedPreconditionError, UnavailableError)) as refused:
        await store.start()
    await store.stop()
    assert "secret" not in str(refused.value)


def test_the_address_is_never_shown(postgres: PostgresServer) -> None:
    config = PostgresConfig(dsn=postgres.url)
    for shown in (repr(config), str(config), json.dumps(masked(config)), config.model_dump_json()):
        assert PASSWORD not in shown
        assert "127.0.0.1" not in shown
    with pytest.raises(ValidationError) as refused:
        PostgresConfig(dsn="mysql://user:secret@host/db")
    assert "secret" not in str(refused.value)


async def test_replicas_that_start_together_make_the_tables_once(make_store: MakeStore, sql: Any) -> None:
    await asyncio.gather(*(make_store() for _ in range(5)))
    assert [row["version"] for row in await sql.fetch("SELECT version FROM version")] == [1]


async def test_a_database_of_a_later_version_is_refused(make_store: MakeStore, sql: Any) -> None:
    await make_store()
    await sql.execute("INSERT INTO version VALUES (99)")
    with pytest.raises(FailedPreconditionError) as refused:
        await make_store()
    assert refused.value.reason == "STORE_TOO_NEW"


async def test_a_drop_that_was_broken_off_is_finished_at_the_next_start(make_store: MakeStore, sql: Any) -> None:
    await (await make_store()).open_bank(keyword_bank("b"))
    store = await make_store(statement_timeout=2.0)
    number = await sql.fetchval("SELECT number FROM banks")
    await sql.execute("BEGIN")
    await sql.execute(f"LOCK TABLE texts_{number}")
    with pytest.raises(DeadlineExceededError):
        await store.drop_bank("b")
    await sql.execute("ROLLBACK")
    await store.open_bank(keyword_bank("b"))
    assert (await store.statistics("b")).document_count == 0
    await make_store()
    assert await sql.fetchval("SELECT count(*) FROM banks") == 1
    assert await sql.fetchval("SELECT to_regclass($1) IS NULL", f"texts_{number}")


async def test_connections_that_the_server_ends_are_replaced_unseen(store: PostgresStore, sql: Any) -> None:
    await store.open_bank(vector_bank("b"))
    for number in range(5):
        await sql.execute(ENDED)
        await store.write_documents("b", [write(f"d{number}", ["x"], vectors(1))])
        assert len(await store.get_documents("b", [f"d{number}"])) == 1


async def test_readiness_follows_the_server() -> None:
    readiness = Readiness()
    with postgres_server() as server:
        store = PostgresStore(PostgresConfig(dsn=server.url), readiness=readiness)
        await store.start()
        await until(lambda: readiness.ready)
        await store.open_bank(keyword_bank("b"))
        server.stop()
        with pytest.raises(UnavailableError) as refused:
            await store.get_documents("b", ["d"])
        assert (refused.value.reason, refused.value.retry_after) == ("STORE_UNREACHABLE", 1.0)
        await until(lambda: not readiness.ready)
        server.start()
        await until(lambda: readiness.ready)
        assert await store.get_documents("b", ["d"]) == {}
        await store.stop()
