"""Agents: created once, listed newest first, deleted with their sessions."""

import pytest

from caravan.agents.v1 import agents_pb2
from services.agents.state import Request, SessionKey
from services.core.errors import InvalidArgumentError, NotFoundError
from tests.conformance.agents.building import a_session, begin, config, new_id, running


def request(request_id, model="llama"):
    return Request.of(agents_pb2.CreateAgentRequest(agent_config=config(model), request_id=request_id))


async def test_an_agent_is_read_as_it_was_created(store, other):
    made = await store.create_agent("a1", config())
    assert made.agent_id == "a1"
    assert made.agent_config == config()
    assert made.created_at.seconds > 0
    assert await other.get_agent("a1") == made


@pytest.mark.parametrize("agent_id", ["nobody", "", "{}", "a b", "x" * 256, "ä", "a/b"])
async def test_what_names_no_agent_is_not_found(store, agent_id):
    with pytest.raises(NotFoundError) as caught:
        await store.get_agent(agent_id)
    assert caught.value.resource_name == agent_id
    with pytest.raises(NotFoundError):
        await store.delete_agent(agent_id)
    with pytest.raises(NotFoundError):
        await store.list_sessions(agent_id, 10)
    with pytest.raises(NotFoundError):
        await store.create_session(SessionKey(agent_id, "s"), "")


async def test_a_repeated_request_returns_the_first_agent_even_when_it_was_deleted(store):
    first = await store.create_agent(new_id(), config(), request("r1"))
    assert await store.create_agent(new_id(), config(), request("r1")) == first
    await store.delete_agent(first.agent_id)
    assert await store.create_agent(new_id(), config(), request("r1")) == first
    with pytest.raises(NotFoundError):
        await store.get_agent(first.agent_id)


async def test_a_request_id_that_was_used_for_another_agent_is_refused(store):
    await store.create_agent(new_id(), config(), request("r1"))
    with pytest.raises(InvalidArgumentError) as caught:
        await store.create_agent(new_id(), config("other"), request("r1", "other"))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_agents_are_listed_newest_first_page_by_page(store):
    made = [(await store.create_agent(new_id(), config())).agent_id for _ in range(5)]
    first = await store.list_agents(2)
    await store.create_agent(new_id(), config())
    second = await store.list_agents(2, first.next_token)
    third = await store.list_agents(2, second.next_token)
    listed = [agent.agent_id for page in (first, second, third) for agent in page.items]
    assert listed == made[::-1], "one that came meanwhile moves nothing"
    assert third.next_token == ""


async def test_a_page_token_that_is_none_is_refused(store):
    for token in ("nonsense", "(a", "1234:x"):
        with pytest.raises(InvalidArgumentError) as caught:
            await store.list_agents(2, token)
        assert caught.value.violations[0].field == "page_token"


async def test_a_deleted_agent_is_gone_with_its_sessions_and_their_turns(store, other):
    session = await a_session(store)
    lease = await running(store, session)
    waiting = await a_session(store, agent_id=session.agent_id)
    await other.delete_agent(session.agent_id)
    with pytest.raises(NotFoundError):
        await store.get_agent(session.agent_id)
    for key in (session, waiting):
        with pytest.raises(NotFoundError):
            await store.get_session(key)
        with pytest.raises(NotFoundError):
            await begin(store, key)
    with pytest.raises(NotFoundError):
        await store.get_turn(lease.turn)
    with pytest.raises(NotFoundError):
        await store.delete_agent(session.agent_id)
    assert (await store.list_agents(10)).items == []
    doomed = await store.doomed_sessions(10)
    assert {found.key for found in doomed} == {session, waiting}


async def test_deleting_again_under_the_same_request_id_is_no_error(store):
    agent = await store.create_agent(new_id(), config())
    delete = Request.of(agents_pb2.DeleteAgentRequest(agent_id=agent.agent_id, request_id="d1"))
    await store.delete_agent(agent.agent_id, delete)
    await store.delete_agent(agent.agent_id, delete)
    other = await store.create_agent(new_id(), config())
    with pytest.raises(InvalidArgumentError):
        await store.delete_agent(
            other.agent_id, Request.of(agents_pb2.DeleteAgentRequest(agent_id=other.agent_id, request_id="d1"))
        )


async def test_the_deletion_of_an_agent_is_finished_by_another_replica_when_the_first_died(store, other, monkeypatch):
    session = await a_session(store)

    async def dies(agent_id):
        raise ConnectionResetError

    monkeypatch.setattr(store._dooming, "doom_all", dies)
    with pytest.raises(ConnectionResetError):
        await store.delete_agent(session.agent_id)
    assert [found.key for found in await other.doomed_sessions(10)] == [session]
