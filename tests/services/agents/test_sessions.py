"""Sessions and turns that are not to be kept, as their users see them."""

import asyncio

import grpc
import pytest

from caravan.agents.v1 import agents_pb2
from tests.services.agents.world import Replica, Talk, World, text
from tests.support.eventually import until

DOCUMENT = {"content": {"items": [{"text": "Otters swim."}]}, "mimeType": "text/plain"}


async def session_of(talk: Talk) -> agents_pb2.Session:
    request = agents_pb2.GetSessionRequest(agent_id=talk.agent_id, session_id=talk.session_id)
    return (await talk.replica.stub.GetSession(request)).session


async def test_a_session_that_is_not_persistent_agrees_with_what_was_written_until_it_expires(world: World) -> None:
    world.model.says("Fine.")
    async with world.replica(session_seconds=1.5) as replica:
        talk = await replica.talk(enableSessionPersistence=False, tools=[{"memory": {}}])
        turn = await talk.turn("Hi", documents=[DOCUMENT])
        session = await session_of(talk)
        assert [one.turn_id for one in session.turns] == [turn.turn_id]
        assert 0 < session.expires_at.seconds - turn.completed_at.seconds <= 3
        assert [one.turn_id for one in await turns_of(talk)] == [turn.turn_id]
        await asyncio.sleep(2.0)
        for gone in (session_of(talk), talk.turn("Again"), turns_of(talk)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await gone
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        await until(lambda: world.banks.dropped == world.banks.registered)


async def turns_of(talk: Talk) -> list[object]:
    request = agents_pb2.ListTurnsRequest(agent_id=talk.agent_id, session_id=talk.session_id)
    return list((await talk.replica.stub.ListTurns(request)).data)


async def test_the_shorter_of_two_lives_counts_and_a_turn_can_change_it(world: World, replica: Replica) -> None:
    world.model.says("Fine.")
    talk = await replica.talk(sessionTtl="600s")
    turn = await talk.turn("Hi", overrides={"sessionTtl": "60s"})
    life = (await session_of(talk)).expires_at.seconds - turn.completed_at.seconds
    assert 58 <= life <= 61
    await talk.turn("Hi")
    assert (await session_of(talk)).expires_at.seconds - turn.completed_at.seconds > 590


async def test_a_turn_that_is_not_kept_is_seen_by_no_later_one(world: World, replica: Replica) -> None:
    world.model.says("Fine.")
    talk = await replica.talk()
    secret = await talk.turn("The secret is 4711.", overrides={"enableSessionPersistence": False})
    assert text(secret.output_message) == "Fine."
    await talk.turn("What is the secret?")
    assert "4711" not in str(world.model.asked[-1].messages)
    assert secret.turn_id not in {turn.turn_id for turn in (await session_of(talk)).turns}
