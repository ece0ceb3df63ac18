"""What callers see of a connection whose server restarts, is away, full, locked, or loses what it is told."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis

from services.core.errors import FailedPreconditionError, InternalError, UnavailableError
from services.core.redis.connection import Connection, ConnectionSettings
from services.core.redis.failures import StoreFailures
from services.core.redis.scripts import Script
from tests.support.redis_tap import redis_tap
from tests.support.valkey import ValkeyServer, valkey_server

FAILURES = StoreFailures("the test's store", refused_reason="TEST_STORE")
COUNT = Script.of("return redis.call('INCR', KEYS[1])")
ONCE = Script.of(
    "if redis.call('SET', KEYS[1], ARGV[1], 'NX') then return 1 end return redis.call('GET', KEYS[1]) == ARGV[1]"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@asynccontextmanager
async def connected(url: str, **settings: object) -> AsyncIterator[Connection]:
    chosen = {"redis_url": url, "retry_seconds": 0.2, **settings}
    connection = Connection(ConnectionSettings.model_validate(chosen), FAILURES)
    yield connection
    await connection.close()


async def test_a_script_is_given_to_a_server_that_does_not_know_it(server):
    async with connected(server.url) as connection:
        assert await connection.run(COUNT, ["given"]) == 1
        with redis.Redis(port=server.port) as client:
            client.script_flush()
        assert await connection.run(COUNT, ["given"]) == 2


async def test_reads_are_of_one_moment(server):
    async with connected(server.url) as connection:
        with redis.Redis(port=server.port) as client:
            client.hset("hash", "a", "1")
        found, missing, (seconds, _) = await connection.read([("HGETALL", "hash"), ("GET", "missing"), ("TIME",)])
        assert (found, missing, abs(seconds - time.time()) < 60) == ({b"a": b"1"}, None, True)
        assert await connection.read([("HGET", "hash", "a")]) == [b"1"]


async def test_a_server_that_restarts_costs_a_moment_and_no_call():
    with valkey_server() as server:
        async with connected(server.url, retry_seconds=10) as connection:
            await asyncio.gather(*(connection.run(COUNT, ["n"]) for _ in range(8)))
            server.kill()
            calls = asyncio.gather(*(connection.run(COUNT, ["n"]) for _ in range(8)))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)
            assert sorted(await calls) == list(range(1, 9))
            assert connection.quiet_seconds < 10


async def test_what_was_done_and_not_answered_is_sent_again(server):
    async with redis_tap(server.port, {ONCE.digest.encode(): "once"}) as tap:
        async with connected(f"redis://127.0.0.1:{tap.port}/0") as connection:
            assert await connection.run(ONCE, ["warm"], ["x"]) == 1
            tap.cut_at(2, after=True, cut=lambda: None)
            assert await connection.run(ONCE, ["cold"], ["x"]) == 1
        assert tap.writes == ["once"] * 3


async def test_a_server_that_is_away_is_unavailable_and_the_store_is_named():
    async with connected("redis://127.0.0.1:1/0") as connection:
        for call in (connection.run(COUNT, ["n"]), connection.read([("GET", "n")]), connection.ping()):
            with pytest.raises(UnavailableError) as caught:
                await call
            assert caught.value.message == "the test's store (Redis) does not answer; try again"
            assert (caught.value.reason, caught.value.retry_after) == ("STORE_UNAVAILABLE", 1.0)
        assert connection.quiet_seconds < 1


async def test_a_server_that_hangs_is_unavailable_within_the_time_for_commands():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, connected(f"redis://127.0.0.1:{port}/0", timeout_seconds=0.2) as connection:
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            await connection.run(COUNT, ["n"])
        assert time.monotonic() - began < 5


async def test_a_wrong_password_is_told_at_once_and_not_shown():
    with valkey_server() as locked:
        with redis.Redis(port=locked.port) as client:
            client.config_set("requirepass", "right")
        async with connected(f"redis://:wr0ng@127.0.0.1:{locked.port}/0", retry_seconds=20) as connection:
            for call in (connection.run(COUNT, ["n"]), connection.ping(), anext(connection.listen("news"))):
                async with asyncio.timeout(5):
                    with pytest.raises(InternalError) as caught:
                        await call
                assert caught.value.reason == "TEST_STORE"
                assert "wr0ng" not in caught.value.message


async def test_a_command_that_makes_no_sense_is_refused_at_once(server):
    async with connected(server.url, retry_seconds=20) as connection:
        with pytest.raises(InternalError, match=r"the test's store refused a command"):
            await connection.run(Script.of("return redis.call('NONSENSE')"), [])


async def test_a_server_that_forgets_what_it_has_no_room_for_is_refused():
    with valkey_server() as forgetful:
        async with connected(forgetful.url) as connection:
            await connection.check_eviction()
            with redis.Redis(port=forgetful.port) as client:
                client.config_set("maxmemory", "100mb")
                client.config_set("maxmemory-policy", "allkeys-lru")
            with pytest.raises(FailedPreconditionError, match=r"the test's store .* set it to noeviction") as caught:
                await connection.check_eviction()
            assert caught.value.reason == "STORE_EVICTS"


async def test_a_full_server_is_waited_for(server):
    with valkey_server() as full:
        async with connected(full.url, retry_seconds=10) as connection:
            with redis.Redis(port=full.port) as client:
                client.config_set("maxmemory", "1mb")
                call = asyncio.create_task(connection.run(Script.of("return redis.call('SET', KEYS[1], 'x')"), ["n"]))
                await asyncio.sleep(0.2)
                assert not call.done()
                client.config_set("maxmemory", "0")
            assert await call == b"OK"


async def test_a_listener_hears_when_it_begins_and_what_comes_on_each_channel(server):
    async with connected(server.url) as connection:
        news = connection.listen("one", "two")
        assert {await anext(news), await anext(news)} == {("one", None), ("two", None)}
        with redis.Redis(port=server.port) as client:
            client.publish("two", "b")
            client.publish("one", "a")
        assert [await anext(news), await anext(news)] == [("two", b"b"), ("one", b"a")]
        await news.aclose()


async def test_a_listener_hears_when_the_server_is_gone():
    with valkey_server() as server:
        async with connected(server.url) as connection:
            news = connection.listen("one")
            assert await anext(news) == ("one", None)
            server.kill()
            with pytest.raises(UnavailableError):
                async with asyncio.timeout(5):
                    await anext(news)


async def test_more_calls_than_connections_wait_for_one(server):
    async with connected(server.url, connections=1) as connection:
        replies = await asyncio.gather(*(connection.run(COUNT, ["many"]) for _ in range(50)), connection.ping())
        assert sorted(replies[:-1]) == list(range(1, 51))
