"""A store and its server: what it refuses to start on, how it listens."""

import asyncio
from collections.abc import Iterator

import pytest
import redis
from pydantic import ValidationError

from services.agents.store import subscriptions
from services.agents.store.redis_store import RedisStore
from services.agents.store.settings import StoreSettings
from services.core.errors import FailedPreconditionError, InternalError, UnavailableError
from tests.conformance.agents.building import a_session, progress, running
from tests.support.valkey import ValkeyServer, valkey_server


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


def a_store(server: ValkeyServer, **settings: object) -> RedisStore:
    return RedisStore(StoreSettings.model_validate({"redis_url": server.url, "retry_seconds": 0.5, **settings}))


async def test_a_store_of_another_layout_is_refused(server):
    with redis.Redis(port=server.port) as client:
        client.set("other:{agents}:layout", "2")
    store = a_store(server, key_prefix="other")
    with pytest.raises(FailedPreconditionError) as caught:
        await store.start()
    assert caught.value.reason == "STORE_LAYOUT"
    await store.close()


async def test_a_server_that_forgets_what_it_has_no_room_for_is_refused():
    with valkey_server() as forgetful:
        with redis.Redis(port=forgetful.port) as client:
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", "allkeys-lru")
        store = a_store(forgetful)
        with pytest.raises(FailedPreconditionError) as caught:
            await store.start()
        assert caught.value.reason == "STORE_EVICTS"
        await store.close()


async def test_a_server_that_is_full_is_unavailable_until_it_has_room_and_changes_nothing_by_halves():
    with valkey_server() as small:
        store = a_store(small)
        await store.start()
        session = await a_session(store)
        lease = await running(store, session)
        with redis.Redis(port=small.port) as client:
            client.config_set("maxmemory", "1mb")
            with pytest.raises(UnavailableError):
                await store.append(lease, [progress("x")])
            with pytest.raises(UnavailableError):
                await a_session(store, agent_id=session.agent_id)
            assert (await store.get_turn(lease.turn)).last_sequence == 1
            client.config_set("maxmemory", "0")
        await store.append(lease, [progress("x")])
        assert (await store.get_turn(lease.turn)).last_sequence == 2
        await store.close()


async def test_a_server_that_is_no_primary_for_a_while_is_waited_for(server):
    store = a_store(server, retry_seconds=10)
    await store.start()
    lease = await running(store, await a_session(store))
    with redis.Redis(port=server.port) as client:
        client.replicaof("127.0.0.1", 1)
        write = asyncio.create_task(store.append(lease, [progress("x")]))
        await asyncio.sleep(0.2)
        assert not write.done()
        client.replicaof("NO", "ONE")
    await write
    await store.close()


async def test_scripts_that_a_server_has_forgotten_are_given_to_it_again(server):
    store = a_store(server)
    await store.start()
    lease = await running(store, await a_session(store))
    with redis.Redis(port=server.port) as client:
        client.script_flush()
    await store.append(lease, [progress("x")])
    await store.close()


async def test_a_server_that_does_not_answer_is_unavailable():
    store = RedisStore(StoreSettings(redis_url="redis://127.0.0.1:1/0", retry_seconds=0.2))
    with pytest.raises(UnavailableError) as caught:
        await store.start()
    assert (caught.value.reason, caught.value.retry_after) == ("STORE_UNAVAILABLE", 1.0)
    await store.close()


async def test_a_wrong_password_is_told_at_once_and_not_shown(server):
    with valkey_server() as locked:
        with redis.Redis(port=locked.port) as client:
            client.config_set("requirepass", "right")
        store = RedisStore(StoreSettings(redis_url=f"redis://:wrong@127.0.0.1:{locked.port}/0", retry_seconds=20))
        async with asyncio.timeout(5):
            with pytest.raises(InternalError) as caught:
                await store.start()
        assert "wrong" not in caught.value.message.replace("WRONGPASS", "")
        await store.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"redis_url": "http://x"},
        {"redis_url": "redis://x", "durability": "maybe"},
        {"redis_url": "redis://x", "key_prefix": "a{b}"},
        {"redis_url": "redis://x", "no_such": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        StoreSettings.model_validate(wrong)


def test_the_password_in_the_url_is_not_shown():
    settings = StoreSettings(redis_url="redis://:secret@x/0")
    assert "secret" not in repr(settings)


async def test_a_connection_that_says_nothing_is_asked_and_stays(server, monkeypatch):
    monkeypatch.setattr(subscriptions, "_SILENCE_SECONDS", 0.05)
    store, other = a_store(server), a_store(server)
    await store.start()
    await other.start()
    lease = await running(store, await a_session(store))
    events = other.watch(lease.turn)
    await anext(events)
    await asyncio.sleep(0.4)
    with redis.Redis(port=server.port) as client:
        listening = [one for one in client.client_list() if int(one["ssub"]) + int(one["sub"])]
    assert len(listening) == 2, "one connection for each store, however many channels"
    await store.append(lease, [progress("x")])
    async with asyncio.timeout(2):
        assert (await anext(events)).sequence == 2
    await events.aclose()
    await store.close()
    await other.close()


async def test_a_listener_whose_connection_is_cut_listens_again(server):
    store, other = a_store(server), a_store(server, poll_seconds=60)
    await store.start()
    await other.start()
    lease = await running(store, await a_session(store))
    events = other.watch(lease.turn)
    await anext(events)
    waiting = asyncio.create_task(anext(events))
    await asyncio.sleep(0.05)
    with redis.Redis(port=server.port) as client:
        client.execute_command("CLIENT KILL TYPE pubsub")
    await store.append(lease, [progress("x")])
    async with asyncio.timeout(5):
        assert (await waiting).sequence == 2
    await events.aclose()
    await store.close()
    await other.close()
