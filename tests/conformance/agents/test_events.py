"""Events: dense numbers, the same for every reader, before and after the end."""

import asyncio
from contextlib import aclosing

import pytest

from caravan.agents.v1 import turns_pb2
from services.agents.ports import EventsGoneError, LeaseLostError
from services.agents.state import Change, SessionKey, TurnKey
from services.core.errors import NotFoundError, UnavailableError
from tests.conformance.agents.building import a_session, complete, ending, names, progress, running, step
from tests.support.eventually import eventually

AWAITING = turns_pb2.TURN_STATUS_AWAITING_INPUT


async def collect(store, key, first=0, seconds=5.0):
    """All events of a turn to its end."""
    async with asyncio.timeout(seconds):
        return [event async for event in store.watch(key, first)]


async def following(store, key, first=0):
    """Begins to watch; returns the task that has all events when the turn has ended."""
    task = asyncio.create_task(collect(store, key, first))
    await asyncio.sleep(0.05)
    return task


async def a_whole_turn(store, session):
    lease = await running(store, session)
    await store.append(lease, [progress("a"), progress("b")])
    await store.commit(lease, Change([step("s1")], [complete("s1")]))
    await store.append(lease, [progress("c")])
    await store.commit(lease, ending())
    return lease.turn


WHOLE = [
    (1, "turn_start"),
    (2, "step_progress"),
    (3, "step_progress"),
    (4, "step_complete"),
    (5, "step_progress"),
    (6, "turn_complete"),
]


async def test_events_are_replayed_from_any_number_after_the_end(store, other, session):
    key = await a_whole_turn(store, session)
    for replica in (store, other):
        for first in range(8):
            assert names(await collect(replica, key, first)) == WHOLE[max(first - 1, 0) :]


async def test_events_come_as_they_happen_here_and_at_other_replicas(store, other, session):
    lease = await running(store, session)
    readers = [await following(replica, lease.turn, first) for replica in (store, other) for first in (0, 1, 3, 5)]
    await store.append(lease, [progress("a"), progress("b")])
    await asyncio.sleep(0.02)
    await store.commit(lease, Change([step("s1")], [complete("s1")]))
    await store.append(lease, [progress("c")])
    await store.commit(lease, ending())
    for first, reader in zip((0, 1, 3, 5) * 2, readers, strict=True):
        assert names(await reader) == WHOLE[max(first - 1, 0) :]
    here, there = await collect(store, lease.turn), await collect(other, lease.turn)
    assert here == there == await readers[0] == await readers[4], "the same for every reader, times included"


async def test_an_event_reaches_another_replica_soon(store, other, session):
    lease = await running(store, session)
    async with aclosing(other.watch(lease.turn)) as events, asyncio.timeout(2):
        assert (await anext(events)).sequence == 1
        for number in range(2, 12):
            await store.append(lease, [progress("x")])
            assert (await anext(events)).sequence == number


async def test_a_watch_goes_on_while_a_turn_waits_for_its_client(store, other, session):
    lease = await running(store, session)
    reader = await following(other, lease.turn)
    await store.commit(lease, ending(AWAITING))
    await asyncio.sleep(0.05)
    assert not reader.done()
    resumed = await store.resume_turn(lease.turn, lambda record: Change(events=[complete("tools")]))
    assert resumed.lease is not None
    await store.commit(resumed.lease, ending())
    assert names(await reader) == [
        (1, "turn_start"),
        (2, "turn_awaiting_input"),
        (3, "step_complete"),
        (4, "turn_complete"),
    ]


async def test_a_reader_that_reconnects_misses_and_repeats_nothing(store, other, session):
    lease = await running(store, session)
    seen = []

    async def read():
        first = 1
        while True:
            async with aclosing(other.watch(lease.turn, first)) as events:
                async for event in events:
                    seen.append(event.sequence)
                    first = event.sequence + 1
                    if event.payload.HasField("turn_complete"):
                        return
                    if first % 7 == 0:
                        break

    reader = asyncio.create_task(read())
    for number in range(100):
        await store.append(lease, [progress(str(number))] * (1 + number % 3))
        if number % 10 == 0:
            await asyncio.sleep(0.005)
    await store.commit(lease, ending())
    async with asyncio.timeout(5):
        await reader
    assert seen == list(range(1, lease.last_sequence + 1))


async def test_many_readers_of_one_turn_all_see_everything(store, session):
    lease = await running(store, session)
    readers = [asyncio.create_task(collect(store, lease.turn)) for _ in range(50)]
    for number in range(40):
        await store.append(lease, [progress(str(number))] * 20)
    await store.commit(lease, ending())
    for reader in readers:
        assert [event.sequence for event in await reader] == list(range(1, 803))


async def test_what_nobody_can_have_seen_any_more_is_out_of_range(make_store):
    store = await make_store(max_events=100)
    lease = await running(store, await a_session(store))
    for _ in range(30):
        await store.append(lease, [progress("x")] * 20)
    with pytest.raises(EventsGoneError) as caught:
        await collect(store, lease.turn, 1)
    assert caught.value.metadata["turn_id"] == lease.turn.turn_id
    await store.commit(lease, ending())
    last = await collect(store, lease.turn, lease.last_sequence - 50)
    assert len(last) == 51
    length = await store._context.commands.run(
        store._context.keys.session(lease.turn.session).session,
        ("XLEN", store._context.keys.session(lease.turn.session).turn(lease.turn.turn_id).events),
    )
    assert length <= 300, "bounded, in blocks of a hundred"


async def test_events_are_kept_for_a_while_after_the_end_and_the_turn_stays(make_store):
    store = await make_store(events_seconds=1)
    key = await a_whole_turn(store, await a_session(store))
    assert names(await collect(store, key)) == WHOLE
    await asyncio.sleep(1.1)
    with pytest.raises(EventsGoneError):
        await collect(store, key)
    assert await collect(store, key, 7) == [], "beyond the last one there is nothing to miss"
    assert (await store.get_turn(key)).last_sequence == 6


async def test_a_turn_that_is_not_there_cannot_be_watched(store, session):
    for turn_id in ("nobody", "", "a/b"):
        with pytest.raises(NotFoundError):
            await collect(store, TurnKey(session, turn_id))
    with pytest.raises(NotFoundError):
        await collect(store, TurnKey(SessionKey("nobody", "nobody"), "t"))


async def test_a_watch_of_a_turn_that_is_deleted_ends(store, other, session):
    lease = await running(store, session)
    reader = await following(other, lease.turn)
    await store.delete_session(session)
    async with asyncio.timeout(2):
        with pytest.raises(NotFoundError):
            await reader


async def test_a_watch_of_a_store_that_closes_ends(make_store):
    store = await make_store()
    lease = await running(store, await a_session(store))
    reader = await following(store, lease.turn)
    await store.close()
    with pytest.raises(UnavailableError):
        await reader


async def test_lost_news_are_made_up_for(make_store):
    writer, reader = await make_store(), await make_store(poll_seconds=0.2)
    lease = await running(writer, await a_session(writer))
    seen = await following(reader, lease.turn)
    for listener in reader._subscriptions._listeners.values():
        listener._hear = lambda channel, payload: None
    await writer.append(lease, [progress("x")])
    await writer.commit(lease, ending())
    assert names(await seen) == [(1, "turn_start"), (2, "step_progress"), (3, "turn_complete")]


async def test_a_watch_goes_on_when_the_turn_that_ran_here_is_taken_over_elsewhere(make_store):
    store, other = await make_store(lease_seconds=0.3), await make_store()
    lease = await running(store, await a_session(store))
    await store.append(lease, [progress("a")])
    readers = [await following(store, lease.turn, first) for first in (0, 2, 3)]
    taken = await eventually(lambda: other.take_over(lease.turn), lambda found: found is not None)
    await other.append(taken[0], [progress("b")])
    with pytest.raises(LeaseLostError):
        await store.heartbeat(lease)
    await other.append(taken[0], [progress("c")])
    await other.commit(taken[0], ending())
    whole = [(1, "turn_start"), (2, "step_progress"), (3, "step_progress"), (4, "step_progress"), (5, "turn_complete")]
    for first, reader in zip((1, 2, 3), readers, strict=True):
        assert names(await reader) == whole[first - 1 :]


@pytest.mark.parametrize("how", ["left", "released"])
async def test_a_watch_goes_on_when_nobody_runs_the_turn_here_any_more(make_store, how):
    store, other = await make_store(lease_seconds=0.3, poll_seconds=60), await make_store()
    lease = await running(store, await a_session(store))
    reader = await following(store, lease.turn)
    if how == "left":
        store.leave(lease)
    else:
        await store.release(lease)
    taken = await eventually(lambda: other.take_over(lease.turn), lambda found: found is not None)
    await other.append(taken[0], [progress("b")])
    await other.commit(taken[0], ending())
    assert names(await reader) == [(1, "turn_start"), (2, "step_progress"), (3, "turn_complete")]


async def test_a_watch_goes_on_wherever_a_turn_that_waits_is_resumed(store, other, session):
    lease, holder = await running(store, session), store
    reader = await following(store, lease.turn)
    for resumer in (other, store, store, other):
        await holder.commit(lease, ending(AWAITING))
        resumed = await resumer.resume_turn(lease.turn, lambda record: Change(events=[complete("tools")]))
        assert resumed.lease is not None
        lease, holder = resumed.lease, resumer
    await holder.commit(lease, ending())
    assert [event.sequence for event in await reader] == list(range(1, 11))


async def test_what_is_no_longer_watched_leaves_nothing_behind(store, other, session):
    lease = await running(store, session)
    readers = [await following(other, lease.turn) for _ in range(3)]
    assert len(other._watching._tails) == 1
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert other._watching._tails == {}
    assert lease.turn.turn_id not in str(other._subscriptions._places)
    await store.commit(lease, ending())
    assert store._watching._tails == {}
