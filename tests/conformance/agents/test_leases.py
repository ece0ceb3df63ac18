"""Leases: one holder at a time, fencing tokens that grow, take-over, cancelling."""

import asyncio

import pytest

from caravan.agents.v1 import agents_pb2, turns_pb2
from services.agents.ports import LeaseLostError
from services.agents.state import Change, Request
from services.core.errors import AbortedError, NotFoundError
from tests.conformance.agents.building import a_session, ending, kept, progress, running, step
from tests.support.eventually import until

AWAITING = turns_pb2.TURN_STATUS_AWAITING_INPUT
CANCELLED = turns_pb2.TURN_STATUS_CANCELLED
RUNNING = turns_pb2.TURN_STATUS_IN_PROGRESS


async def orphans(store, seconds=3.0):
    """Waits for a turn that can be taken over."""
    async with asyncio.timeout(seconds):
        while not (found := await store.orphaned_turns(10)):  # noqa: ASYNC110 - time makes it true, there is no event
            await asyncio.sleep(0.02)
        return found


async def test_a_turn_whose_holder_falls_silent_is_taken_over_and_goes_on(make_store):
    dead, alive = await make_store(lease_seconds=0.3), await make_store(lease_seconds=0.3)
    session = await a_session(dead)
    lease = await running(dead, session)
    await dead.commit(lease, Change([step("s1")]))
    assert await alive.orphaned_turns(10) == []
    assert await alive.take_over(lease.turn) is None
    assert await orphans(alive) == [lease.turn]
    taken = await alive.take_over(lease.turn)
    assert taken is not None
    theirs, record = taken
    assert theirs.token > lease.token
    assert [found.step_id for found in record.turn.steps] == ["s1"]
    assert await dead.take_over(lease.turn) is None, "it has a holder again"
    for stale in (
        dead.append(lease, [progress("stale")]),
        dead.commit(lease, ending()),
        dead.heartbeat(lease),
    ):
        with pytest.raises(LeaseLostError):
            await stale
    await dead.release(lease)
    await alive.append(theirs, [progress("mine")])
    await alive.commit(theirs, ending(steps=[step("s2")]))
    turn = await dead.get_turn(lease.turn)
    assert [found.step_id for found in turn.steps] == ["s1", "s2"]
    events = [event async for event in dead.watch(lease.turn)]
    assert [event.sequence for event in events] == [1, 2, 3]
    assert await alive.orphaned_turns(10) == []


async def test_of_many_replicas_one_takes_over(make_store):
    stores = [await make_store(lease_seconds=0.3) for _ in range(4)]
    lease = await running(stores[0], await a_session(stores[0]))
    await orphans(stores[1])
    taken = await asyncio.gather(*(store.take_over(lease.turn) for store in stores for _ in range(3)))
    assert len([one for one in taken if one is not None]) == 1


async def test_a_lease_that_is_kept_is_not_lost(make_store):
    store = await make_store(lease_seconds=0.3)
    lease = await running(store, await a_session(store))
    async with kept(store, lease):
        for _ in range(8):
            await asyncio.sleep(0.1)
            assert await store.orphaned_turns(10) == []
    assert await orphans(store) == [lease.turn]


async def test_writes_keep_a_lease_too(make_store):
    store = await make_store(lease_seconds=0.3)
    lease = await running(store, await a_session(store))
    for _ in range(4):
        await asyncio.sleep(0.1)
        await store.append(lease, [progress("x")])
        await asyncio.sleep(0.1)
        await store.commit(lease, Change([step("s1")]))
        assert await store.orphaned_turns(10) == []


async def test_a_lease_that_ran_out_and_that_nobody_took_is_still_good(make_store):
    store = await make_store(lease_seconds=0.3)
    lease = await running(store, await a_session(store))
    await orphans(store)
    await store.commit(lease, Change([step("s1")]))
    assert await store.orphaned_turns(10) == []


async def test_a_released_turn_can_be_taken_at_once(store, other, session):
    lease = await running(store, session)
    await store.release(lease)
    assert lease.lost.is_set()
    assert await other.orphaned_turns(10) == [lease.turn]
    assert await other.take_over(lease.turn) is not None


async def test_who_keeps_a_lease_hears_that_it_is_lost(make_store):
    store, other = await make_store(lease_seconds=0.3), await make_store(lease_seconds=5)
    lease = await running(store, await a_session(store))
    await orphans(store)
    assert await other.take_over(lease.turn) is not None
    async with kept(store, lease), asyncio.timeout(2):
        await lease.lost.wait()


async def test_the_holder_hears_of_a_cancellation_at_once(store, other, session):
    lease = await running(store, session)
    assert not lease.cancel.is_set()
    assert await other.cancel_turn(lease.turn, "enough of it") == RUNNING
    async with asyncio.timeout(1):
        await lease.cancel.wait()
    assert lease.cancel_reason == "enough of it"
    assert await other.cancel_turn(lease.turn, "again") == RUNNING
    await store.commit(lease, ending(CANCELLED))
    assert (await other.get_turn(lease.turn)).status == CANCELLED
    assert await other.cancel_turn(lease.turn) == CANCELLED


async def test_the_holder_hears_of_a_cancellation_with_its_next_write_when_news_were_lost(
    store, other, session, monkeypatch
):
    monkeypatch.setattr(store, "hear_of_lease", lambda payload: None)
    lease = await running(store, session)
    await other.cancel_turn(lease.turn, "enough")
    await asyncio.sleep(0.05)
    assert not lease.cancel.is_set()
    await store.heartbeat(lease)
    assert (lease.cancel.is_set(), lease.cancel_reason) == (True, "enough")
    for write in (lambda lease: store.append(lease, [progress("x")]), lambda lease: store.commit(lease, Change())):
        lease.cancel.clear()
        await write(lease)
        assert lease.cancel.is_set()


async def test_who_takes_over_a_cancelled_turn_knows_it(make_store):
    dead, alive = await make_store(lease_seconds=0.3), await make_store()
    lease = await running(dead, await a_session(dead))
    await alive.cancel_turn(lease.turn, "enough")
    await orphans(alive)
    taken = await alive.take_over(lease.turn)
    assert taken is not None
    assert (taken[0].cancel.is_set(), taken[0].cancel_reason) == (True, "enough")


async def test_a_turn_that_waits_for_its_client_can_be_cancelled(store, other, session):
    lease = await running(store, session)
    await store.commit(lease, ending(AWAITING))
    assert await other.cancel_turn(lease.turn, "enough") == AWAITING
    assert await other.orphaned_turns(10) == [lease.turn]
    taken = await other.take_over(lease.turn)
    assert taken is not None
    theirs, record = taken
    assert theirs.cancel.is_set()
    assert theirs.revision == record.turn.revision
    await other.commit(theirs, ending(CANCELLED))
    await running(store, session)


async def test_a_turn_that_was_cancelled_just_before_it_waits_can_be_taken_over(store, other, session):
    lease = await running(store, session)
    await other.cancel_turn(lease.turn, "enough")
    await store.commit(lease, ending(AWAITING))
    assert await other.orphaned_turns(10) == [lease.turn]
    assert await other.take_over(lease.turn) is not None


async def test_cancelling_under_a_stale_revision_does_nothing_and_again_under_one_id_is_no_error(store, session):
    lease = await running(store, session)
    await store.commit(lease, Change([step("s1")]))
    with pytest.raises(AbortedError) as caught:
        await store.cancel_turn(lease.turn, revision=1)
    assert caught.value.reason == "STALE_REVISION"
    assert not lease.cancel.is_set()
    cancel = Request.of(agents_pb2.CancelTurnRequest(turn_id=lease.turn.turn_id, revision=2, request_id="c1"))
    assert await store.cancel_turn(lease.turn, revision=2, request=cancel) == RUNNING
    await store.commit(lease, ending(CANCELLED))
    await store.cancel_turn(lease.turn, revision=2, request=cancel)


async def test_the_turn_of_a_deleted_session_cannot_be_taken_over(make_store):
    store = await make_store(lease_seconds=0.3)
    session = await a_session(store)
    lease = await running(store, session)
    await store.delete_session(session)
    await asyncio.sleep(0.4)
    assert await store.orphaned_turns(10) == []
    assert await store.take_over(lease.turn) is None
    with pytest.raises(NotFoundError):
        await store.cancel_turn(lease.turn)


async def test_the_clock_of_a_lease_is_the_stores(store, session):
    lease = await running(store, session)
    await store.commit(lease, ending())
    turn = await store.get_turn(lease.turn)
    assert turn.started_at.ToMilliseconds() <= lease.now().ToMilliseconds() <= turn.completed_at.ToMilliseconds() + 1000


async def test_leases_that_nobody_needs_are_forgotten(store, session):
    lease = await running(store, session)
    await store.commit(lease, ending())
    del lease
    await until(lambda: not store._held)
