"""Sessions: listed with their agent, forgotten in time, deleted whole."""

import asyncio
from datetime import timedelta

import pytest

from caravan.agents.v1 import agents_pb2
from services.agents.ports import LeaseLostError
from services.agents.state import Change, Request, SessionKey
from services.core.errors import AbortedError, InvalidArgumentError, NotFoundError
from tests.conformance.agents.building import a_session, begin, config, ending, new_id, progress, running, step


def request(message, **fields):
    return Request.of(message(**fields))


async def test_a_session_is_read_as_it_was_created(store, other):
    await store.create_agent("a1", config())
    made = await store.create_session(SessionKey("a1", "s1"), "a talk")
    assert (made.agent_id, made.session_id, made.session_name) == ("a1", "s1", "a talk")
    assert (made.revision, made.turn_count, made.current_turn_id) == (1, 0, "")
    assert not made.HasField("expires_at")
    assert await other.get_session(SessionKey("a1", "s1")) == made


@pytest.mark.parametrize("session_id", ["nobody", "", "}", "a/b", "x" * 256])
async def test_what_names_no_session_is_not_found(store, session, session_id):
    with pytest.raises(NotFoundError) as caught:
        await store.get_session(SessionKey(session.agent_id, session_id))
    assert caught.value.resource_type == "session"


async def test_a_repeated_request_returns_the_first_session_even_when_it_was_deleted(store):
    agent = (await store.create_agent(new_id(), config())).agent_id
    create = request(agents_pb2.CreateSessionRequest, agent_id=agent, session_name="n", request_id="r1")
    first = await store.create_session(SessionKey(agent, new_id()), "n", None, create)
    again = await store.create_session(SessionKey(agent, new_id()), "n", None, create)
    assert again == first
    assert len((await store.list_sessions(agent, 10)).items) == 1
    await store.delete_session(SessionKey(agent, first.session_id))
    assert await store.create_session(SessionKey(agent, new_id()), "n", None, create) == first
    with pytest.raises(NotFoundError):
        await store.get_session(SessionKey(agent, first.session_id))
    another = request(agents_pb2.CreateSessionRequest, agent_id=agent, session_name="m", request_id="r1")
    with pytest.raises(InvalidArgumentError):
        await store.create_session(SessionKey(agent, new_id()), "m", None, another)


async def test_sessions_are_listed_newest_first_page_by_page_without_those_that_are_gone(store):
    agent = (await store.create_agent(new_id(), config())).agent_id
    made = [await a_session(store, agent_id=agent) for _ in range(6)]
    await a_session(store)
    await store.delete_session(made[3])
    await store.delete_session(made[5])
    first = await store.list_sessions(agent, 2)
    second = await store.list_sessions(agent, 2, first.next_token)
    third = await store.list_sessions(agent, 2, second.next_token) if second.next_token else None
    listed = [item.session_id for page in (first, second, third) if page for item in page.items]
    assert listed == [made[place].session_id for place in (4, 2, 1, 0)]
    assert len(first.items) == 2


async def test_the_first_memory_bank_stays(store, other, session):
    assert await store.set_memory_bank(session, "bank-1") == "bank-1"
    assert await other.set_memory_bank(session, "bank-2") == "bank-1"
    assert (await store.get_session(session)).memory_bank_id == "bank-1"
    with pytest.raises(NotFoundError):
        await store.set_memory_bank(SessionKey(session.agent_id, "nobody"), "b")


async def test_the_revision_grows_with_every_turn_that_begins_or_ends(store, session):
    before = (await store.get_session(session)).revision
    lease = await running(store, session)
    begun = await store.get_session(session)
    assert (begun.revision, begun.current_turn_id, begun.turn_count) == (before + 1, lease.turn.turn_id, 1)
    await store.commit(lease, Change(steps=[step("s1")]))
    assert (await store.get_session(session)).revision == begun.revision
    await store.commit(lease, ending())
    ended = await store.get_session(session)
    assert (ended.revision, ended.current_turn_id, ended.turn_count) == (before + 2, "", 1)


async def test_a_stale_revision_deletes_nothing(store, session):
    with pytest.raises(AbortedError) as caught:
        await store.delete_session(session, revision=7)
    assert caught.value.reason == "STALE_REVISION"
    assert caught.value.metadata == {"revision": "1"}
    await store.delete_session(session, revision=1)


async def test_deleting_again_under_the_same_request_id_is_no_error(store, session):
    delete = request(agents_pb2.DeleteSessionRequest, session_id=session.session_id, request_id="d1")
    await store.delete_session(session, request=delete)
    await store.delete_session(session, request=delete)
    with pytest.raises(NotFoundError):
        await store.delete_session(session)


async def test_deleting_a_session_takes_its_running_turn_from_its_holder_at_once(store, other, session):
    lease = await running(store, session)
    await other.delete_session(session)
    async with asyncio.timeout(2):
        await lease.lost.wait()
    for write in (
        store.append(lease, [progress("x")]),
        store.commit(lease, ending()),
        store.heartbeat(lease),
    ):
        with pytest.raises(LeaseLostError):
            await write
    assert await other.orphaned_turns(10) == []


async def test_a_purged_session_leaves_nothing_but_its_mark(store, session):
    for _ in range(3):
        await store.commit(await running(store, session), ending())
    await running(store, session)
    await store.set_memory_bank(session, "bank-1")
    await store.purge_session(session)
    assert (await store.get_session(session)).turn_count == 4, "only what is doomed is purged"
    await store.delete_session(session)
    (doomed,) = await store.doomed_sessions(10)
    assert (doomed.key, doomed.memory_bank_id) == (session, "bank-1")
    await store.purge_session(session)
    await store.purge_session(session)
    assert await store.doomed_sessions(10) == []
    keys = store._context.keys.session(session)
    left = await store._context.commands.run(keys.session, ("EXISTS", keys.turns))
    mark = await store._context.commands.run(keys.session, ("HKEYS", keys.session))
    assert (left, mark) == (0, [b"doomed"])
    listed = store._context.keys.sessions(session.agent_id)
    assert await store._context.commands.run(listed, ("ZCARD", listed)) == 0


async def test_a_session_expires_after_its_time_without_a_turn(store, other):
    session = await a_session(store, ttl=timedelta(milliseconds=150))
    assert (await store.get_session(session)).HasField("expires_at")
    await asyncio.sleep(0.2)
    for read in (other.get_session(session), other.list_turns(session, 10), begin(other, session)):
        with pytest.raises(NotFoundError):
            await read
    assert (await store.list_sessions(session.agent_id, 10)).items == []
    assert [found.key for found in await store.doomed_sessions(10)] == [session]


async def test_a_turn_keeps_its_session_and_begins_the_time_anew(store):
    session = await a_session(store, ttl=timedelta(milliseconds=150))
    lease = await running_with_ttl(store, session, 300)
    await asyncio.sleep(0.4)
    assert (await store.get_session(session)).current_turn_id == lease.turn.turn_id, "it does not expire while it runs"
    assert await store.doomed_sessions(10) == []
    await store.commit(lease, ending())
    await asyncio.sleep(0.15)
    assert (await store.get_session(session)).turn_count == 1
    await asyncio.sleep(0.2)
    with pytest.raises(NotFoundError):
        await store.get_session(session)


async def running_with_ttl(store, session, milliseconds):
    started = await begin(store, session, ttl=timedelta(milliseconds=milliseconds))
    return started.lease


async def test_a_turn_without_a_time_to_live_keeps_its_session_for_ever(store):
    session = await a_session(store, ttl=timedelta(milliseconds=100))
    await store.commit(await running(store, session), ending())
    await asyncio.sleep(0.2)
    assert not (await store.get_session(session)).HasField("expires_at")
    assert await store.doomed_sessions(10) == []


async def test_doomed_sessions_are_all_found_at_last(store):
    agent = (await store.create_agent(new_id(), config())).agent_id
    made = {await a_session(store, agent_id=agent) for _ in range(30)}
    await store.delete_agent(agent)
    found = set()
    while doomed := await store.doomed_sessions(7):
        for one in doomed:
            found.add(one.key)
            await store.purge_session(one.key)
    assert found == made
