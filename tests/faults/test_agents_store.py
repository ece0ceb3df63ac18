"""The agents' state while its store, or who writes to it, is killed, stopped or moved: what was acknowledged is there, once."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import redis
from redis.crc import key_slot

from services.agents.ports import LeaseLostError
from services.agents.state import Change, Lease, SessionKey, TurnKey, TurnRecord
from services.agents.store.redis_store import RedisStore
from services.agents.store.settings import StoreSettings
from services.core.errors import UnavailableError
from tests.conformance.agents.building import a_session, begin, complete, ending, kept, progress, running, step
from tests.support.processes import ROOT
from tests.support.valkey import ValkeyServer, valkey_server
from tests.support.valkey_cluster import ValkeyCluster, valkey_cluster

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]

TURNS = 8


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server(durable=True) as server:
        yield server


@pytest.fixture
def cluster() -> Iterator[ValkeyCluster]:
    with valkey_cluster() as cluster:
        yield cluster


@asynccontextmanager
async def opened(url: str, **settings: object) -> AsyncIterator[RedisStore]:
    chosen = {"redis_url": url, "retry_seconds": 20.0, "timeout_seconds": 1.0, "lease_seconds": 30, **settings}
    store = RedisStore(StoreSettings.model_validate(chosen))
    try:
        await store.start()
        yield store
    finally:
        await store.close()


class Writers:
    """Turns that are written to all the time, and what the store has acknowledged of it."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.acknowledged: dict[TurnKey, list[str]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()

    async def start(self) -> None:
        for _ in range(TURNS):
            lease = await running(self.store, await a_session(self.store))
            self.acknowledged[lease.turn] = []
            self._tasks.append(asyncio.create_task(self._write(lease)))

    async def more(self, count: int) -> None:
        """Waits until every turn has as many steps more."""
        wanted = {key: len(steps) + count for key, steps in self.acknowledged.items()}
        async with asyncio.timeout(60):
            while any(len(self.acknowledged[key]) < number for key, number in wanted.items()):
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def abandon(self) -> dict[TurnKey, list[str]]:
        """Stops them where they are; returns what was acknowledged."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.acknowledged

    async def _write(self, lease: Lease) -> None:
        steps = self.acknowledged[lease.turn]
        while not self._stop.is_set():
            name = f"s{len(steps)}"
            await self.store.append(lease, [progress(name)])
            await self.store.commit(lease, Change([step(name)], [complete(name)]))
            steps.append(name)
        await self.store.commit(lease, ending())


async def check(store: RedisStore, acknowledged: dict[TurnKey, list[str]]) -> None:
    """Every acknowledged step is there, in order and once, and so is every event."""
    for key, steps in acknowledged.items():
        turn = await store.get_turn(key)
        assert [found.step_id for found in turn.steps] == steps
        events = [event async for event in store.watch(key, 1)]
        assert [event.sequence for event in events] == list(range(1, 2 * len(steps) + 3))
        names = [event.payload.step_complete.step_id for event in events if event.payload.HasField("step_complete")]
        assert names == steps


async def test_a_server_that_is_killed_under_load_loses_and_doubles_nothing(server):
    async with opened(server.url, durability="aof") as store:
        writers = Writers(store)
        await writers.start()
        for _ in range(3):
            await writers.more(10)
            server.kill()
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.start)
        await writers.more(10)
        await writers.stop()
        await check(store, writers.acknowledged)


async def test_a_server_that_hangs_under_load_doubles_nothing(server):
    # Commands that nobody waits for any more are still in its sockets: it runs them when it goes on.
    async with opened(server.url, timeout_seconds=0.2) as store:
        writers = Writers(store)
        await writers.start()
        for _ in range(5):
            await writers.more(5)
            server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.5)
            server.process.send_signal(signal.SIGCONT)
        await writers.more(5)
        await writers.stop()
        await check(store, writers.acknowledged)


async def test_watches_go_on_when_the_server_was_killed(server):
    async with opened(server.url) as store, opened(server.url) as other:
        lease = await running(store, await a_session(store))

        async def read() -> list[int]:
            return [event.sequence async for event in other.watch(lease.turn)]

        reader = asyncio.create_task(read())
        await store.append(lease, [progress("x")])
        server.kill()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        await store.append(lease, [progress("y")] * 3)
        await asyncio.sleep(0.5)
        await store.commit(lease, ending())
        async with asyncio.timeout(10):
            assert await reader == [1, 2, 3, 4, 5, 6]


async def test_a_holder_hears_of_cancelling_when_the_server_was_killed_before(server):
    async with opened(server.url, lease_seconds=3) as store, opened(server.url) as other:
        lease = await running(store, await a_session(store))
        server.kill()
        await asyncio.to_thread(server.start)
        async with kept(store, lease), asyncio.timeout(10):
            await other.cancel_turn(lease.turn, "enough")
            await lease.cancel.wait()


async def test_a_store_that_stays_away_is_unavailable_and_says_when_to_try_again(server):
    async with opened(server.url, retry_seconds=0.5) as store:
        session = await a_session(store)
        lease = await running(store, session)
        server.kill()
        began = time.monotonic()
        for call in (
            store.commit(lease, Change([step("s1")])),
            store.append(lease, [progress("x")]),
            store.get_turn(lease.turn),
            store.list_turns(session, 10),
            store.orphaned_turns(10),
            store.ping(),
        ):
            with pytest.raises(UnavailableError) as caught:
                await call
            assert (caught.value.reason, caught.value.retry_after) == ("STORE_UNAVAILABLE", 1.0)
        assert time.monotonic() - began < 20
        assert not lease.lost.is_set()
        await asyncio.to_thread(server.start)
        await store.commit(lease, Change([step("s2")]))
        assert [found.step_id for found in (await store.get_turn(lease.turn)).steps] == ["s2"]
        await store.commit(lease, ending())


async def test_a_request_that_is_sent_again_after_a_kill_begins_nothing_twice(server):
    async with opened(server.url, durability="aof") as store:
        session = await a_session(store)
        for number in range(10):
            first = asyncio.create_task(begin(store, session, request_id=f"r{number}"))
            await asyncio.sleep(0.001 * number)
            server.kill()
            await asyncio.to_thread(server.start)
            started = await first
            again = await begin(store, session, request_id=f"r{number}")
            assert (again.key, again.lease) == (started.key, None)
            assert started.lease is not None
            await store.commit(started.lease, ending())
        assert (await store.get_session(session)).turn_count == 10


async def test_the_turn_of_a_killed_process_goes_on_elsewhere_from_its_last_acknowledged_step(server):
    async with opened(server.url, key_prefix="killed", lease_seconds=0.5) as store:
        session = await a_session(store)
        process = _writer(server.url, "killed", session)
        assert process.stdout is not None
        turn_id = (await asyncio.to_thread(process.stdout.readline)).strip()
        await asyncio.sleep(0.5)
        process.kill()
        printed = await asyncio.to_thread(process.stdout.read)
        process.stdout.close()
        process.wait()
        acknowledged = len(printed.splitlines())
        key = TurnKey(session, turn_id)
        lease, record = await _taken(store, key)
        steps = [found.step_id for found in record.turn.steps]
        assert steps == [f"s{number}" for number in range(len(steps))]
        # The last one may have been written and not yet reported.
        assert len(steps) in (acknowledged, acknowledged + 1)
        assert acknowledged > 0
        await store.commit(lease, ending())
        assert [event.sequence async for event in store.watch(key)] == list(range(1, len(steps) + 3))


async def test_a_former_holder_that_wakes_up_changes_nothing(server):
    async with opened(server.url, lease_seconds=0.3) as store, opened(server.url) as other:
        session = await a_session(store)
        lease = await running(store, session)
        await asyncio.sleep(0.4)
        taken = await other.take_over(lease.turn)
        assert taken is not None
        mine = taken[0]
        await other.commit(mine, Change([step("mine")]))
        before = await other.get_turn(lease.turn)
        # Even one that has learnt the turn's numbers.
        lease.revision, lease.last_sequence = mine.revision, mine.last_sequence
        for write in (
            store.append(lease, [progress("late")]),
            store.commit(lease, Change([step("late")])),
            store.commit(lease, ending()),
            store.heartbeat(lease),
        ):
            with pytest.raises(LeaseLostError):
                await write
        await store.release(lease)
        assert await other.get_turn(lease.turn) == before
        assert await store.orphaned_turns(10) == []


async def test_what_a_replica_must_have_is_there_when_the_primary_is_lost(server):
    with _replica_of(server) as replica:
        async with opened(server.url, durability="wait", durability_replicas=1) as store:
            writers = Writers(store)
            await writers.start()
            await writers.more(4)
            acknowledged = await writers.abandon()
            server.kill()
        with redis.Redis(port=replica.port) as client:
            client.replicaof("NO", "ONE")
        async with opened(replica.url) as store:
            for key, steps in acknowledged.items():
                found = [one.step_id for one in (await store.get_turn(key)).steps]
                assert found[: len(steps)] == steps


async def test_a_write_that_too_few_replicas_have_is_not_acknowledged(server):
    settings = {"durability": "wait", "durability_replicas": 1, "durability_timeout_seconds": 0.1, "retry_seconds": 0.5}
    async with opened(server.url) as store:
        session = await a_session(store)
        lease = await running(store, session)
    with pytest.raises(UnavailableError) as caught:
        async with opened(server.url, **settings):
            pass
    assert caught.value.reason == "STORE_NOT_DURABLE"
    async with opened(server.url) as store:
        await store.commit(lease, ending())


async def test_a_cluster_whose_nodes_are_killed_one_by_one_loses_and_doubles_nothing(cluster):
    async with opened(cluster.url, cluster=True, durability="aof") as store:
        writers = Writers(store)
        await writers.start()
        for port in cluster.ports:
            await writers.more(5)
            await asyncio.to_thread(cluster.kill_node, port)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(cluster.start_node, port)
            await asyncio.to_thread(cluster.wait_until_whole)
        await writers.more(5)
        await writers.stop()
        await check(store, writers.acknowledged)


async def test_a_clusters_primary_that_is_lost_is_replaced_and_every_acknowledged_write_is_there(cluster):
    for port in cluster.ports:
        await asyncio.to_thread(cluster.add_replica, port)
    settings = {"cluster": True, "durability": "wait", "durability_replicas": 1, "retry_seconds": 12.0}
    async with opened(cluster.url, **settings, durability_timeout_seconds=0.5) as store:
        writers = Writers(store)
        await writers.start()
        await writers.more(3)
        first = next(iter(writers.acknowledged))
        lost = cluster.port_of(store._context.keys.session(first.session).session)
        await asyncio.to_thread(cluster.kill_node, lost)
        # Those on the node that is gone have no replica for their writes any more: they end here, the others go on.
        await asyncio.sleep(4)
        acknowledged = await writers.abandon()
    alive = next(port for port in cluster.ports if port != lost)
    async with opened(f"redis://127.0.0.1:{alive}/0", cluster=True) as store:
        for key, steps in acknowledged.items():
            found = [one.step_id for one in (await store.get_turn(key)).steps]
            assert found[: len(steps)] == steps
            assert len(found) <= len(steps) + 1
        lease = await running(store, await a_session(store, agent_id=first.session.agent_id))
        await store.commit(lease, ending())


async def test_slots_that_move_under_load_lose_and_double_nothing(cluster):
    async with opened(cluster.url, cluster=True) as store, opened(cluster.url, cluster=True, poll_seconds=0.5) as other:
        writers = Writers(store)
        await writers.start()
        watched = next(iter(writers.acknowledged))

        async def read() -> list[int]:
            return [event.sequence async for event in other.watch(watched)]

        reader = asyncio.create_task(read())
        await writers.more(3)
        for key in list(writers.acknowledged):
            name = store._context.keys.session(key.session).session
            source = cluster.port_of(name)
            target = next(port for port in cluster.ports if port != source)
            await asyncio.to_thread(cluster.move_slot, _slot(name), source, target)
        await writers.more(10)
        await writers.stop()
        await check(store, writers.acknowledged)
        async with asyncio.timeout(10):
            assert await reader == list(range(1, 2 * len(writers.acknowledged[watched]) + 3))


async def test_sessions_are_spread_over_the_nodes_and_each_is_on_one(cluster):
    async with opened(cluster.url, cluster=True) as store:
        keys = [SessionKey("a", f"s{number}") for number in range(60)]
        names = [store._context.keys.session(key) for key in keys]
        assert {cluster.port_of(one.session) for one in names} == set(cluster.ports)
        for one in names:
            turn = one.turn("t")
            of_session = [one.session, one.turns, one.leases, one.expiries, one.news, turn.turn, turn.spec, turn.events]
            assert len({_slot(name) for name in [*of_session, turn.news, one.request("CreateTurn", "r")]}) == 1


async def _taken(store: RedisStore, key: TurnKey) -> tuple[Lease, TurnRecord]:
    """Takes a turn over as soon as its lease has run out."""
    async with asyncio.timeout(5):
        while (taken := await store.take_over(key)) is None:  # noqa: ASYNC110 - time makes it true, there is no event
            await asyncio.sleep(0.05)
    return taken


def _writer(url: str, prefix: str, session: SessionKey) -> subprocess.Popen[str]:
    arguments = [url, prefix, session.agent_id, session.session_id]
    command = [sys.executable, "-m", "tests.faults.agents_store_writer", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@contextmanager
def _replica_of(primary: ValkeyServer) -> Iterator[ValkeyServer]:
    """A server that follows another one, and is linked to it."""
    with valkey_server() as replica, redis.Redis(port=replica.port, socket_timeout=2) as client:
        with redis.Redis(port=primary.port) as source:
            # It waits five seconds for more replicas otherwise.
            source.config_set("repl-diskless-sync-delay", 0)
        client.replicaof("127.0.0.1", primary.port)
        ends = time.monotonic() + 30
        while client.info("replication")["master_link_status"] != "up":
            assert time.monotonic() < ends, "the replica is not linked"
            time.sleep(0.02)
        yield replica


def _slot(key: str) -> int:
    return key_slot(key.encode())
