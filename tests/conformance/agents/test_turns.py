"""Turns: begun once, one at a time, changed whole or not at all."""

import asyncio

import pytest

from caravan.agents.v1 import agents_pb2, events_pb2, turns_pb2
from caravan.types.v1 import types_pb2
from services.agents.ports import LeaseLostError
from services.agents.state import Change, Request, SessionKey, TurnKey
from services.core.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from tests.conformance.agents.building import (
    Payload,
    a_session,
    begin,
    complete,
    config,
    create_turn,
    ending,
    new_id,
    progress,
    running,
    step,
    text,
)

AWAITING = turns_pb2.TURN_STATUS_AWAITING_INPUT
CANCELLED = turns_pb2.TURN_STATUS_CANCELLED
COMPLETED = turns_pb2.TURN_STATUS_COMPLETED
RUNNING = turns_pb2.TURN_STATUS_IN_PROGRESS


def resume(turn_id, words="42", request_id=""):
    response = types_pb2.ToolResponseMessage(call_id="c1", tool_name="mine", content=text(words))
    return Request.of(agents_pb2.ResumeTurnRequest(turn_id=turn_id, tool_responses=[response], request_id=request_id))


def answered(record):
    """What the client's answer brings."""
    assert [call.call_id for call in record.turn.pending_tool_calls] == ["c1"]
    return Change(steps=[step("tools", "answered")], events=[complete("tools")], turn=turns_pb2.Turn())


async def test_a_turn_is_read_as_it_was_begun(store, other, session):
    lease = await running(store, session, "what is it?")
    turn = await other.get_turn(lease.turn)
    assert (turn.turn_id, turn.session_id, turn.agent_id) == (lease.turn.turn_id, session.session_id, session.agent_id)
    assert turn.input_messages == create_turn(session, "what is it?").messages
    assert (
        (turn.status, turn.revision, turn.last_sequence)
        == (RUNNING, 1, 1)
        == (RUNNING, lease.revision, lease.last_sequence)
    )
    assert turn.started_at == lease.started_at
    assert not turn.HasField("completed_at")


async def test_a_change_is_seen_whole(store, other, session):
    lease = await running(store, session)
    state = turns_pb2.Turn(turn_id="ignored", warnings=[types_pb2.SafetyViolation(user_message="hm")])
    await store.commit(lease, Change([step("s1"), step("s2")], [complete("s1"), complete("s2")], state))
    turn = await other.get_turn(lease.turn)
    assert [found.step_id for found in turn.steps] == ["s1", "s2"]
    assert (turn.turn_id, turn.warnings[0].user_message) == (lease.turn.turn_id, "hm")
    assert (turn.revision, turn.last_sequence) == (2, 3) == (lease.revision, lease.last_sequence)


async def test_a_step_goes_on_in_its_place(store, session):
    lease = await running(store, session)
    await store.commit(lease, Change([step("s1", "begun"), step("s2", "begun")]))
    await store.commit(lease, Change([step("s3", "begun")]))
    await store.commit(lease, Change([step("s1", "done")]))
    turn = await store.get_turn(lease.turn)
    assert [(found.step_id, found.inference.model_id) for found in turn.steps] == [
        ("s1", "done"),
        ("s2", "begun"),
        ("s3", "begun"),
    ]
    assert (await store.get_step(lease.turn, "s1")).inference.model_id == "done"


async def test_more_than_nine_steps_stay_in_order(store, session):
    lease = await running(store, session)
    for number in range(12):
        await store.commit(lease, Change([step(f"s{number}")]))
    assert [found.step_id for found in (await store.get_turn(lease.turn)).steps] == [f"s{n}" for n in range(12)]


async def test_what_a_change_does_not_name_stays(store, session):
    lease = await running(store, session)
    await store.commit(lease, Change(turn=turns_pb2.Turn(warnings=[types_pb2.SafetyViolation(user_message="hm")])))
    await store.commit(lease, Change([step("s1")]))
    turn = await store.get_turn(lease.turn)
    assert turn.warnings[0].user_message == "hm"


async def test_a_turn_that_ended_has_its_answer_and_its_time_and_frees_the_session(store, session):
    lease = await running(store, session)
    await store.commit(lease, ending(words="so it is", steps=[step("s1")]))
    turn = await store.get_turn(lease.turn)
    assert (turn.status, turn.output_message.content.items[0].text) == (COMPLETED, "so it is")
    assert turn.completed_at.ToMilliseconds() >= turn.started_at.ToMilliseconds()
    await running(store, session)


async def test_the_event_that_ends_a_turn_holds_the_turn_as_it_is_read_later(store, session):
    lease = await running(store, session)
    await store.append(lease, [progress("a"), progress("b")])
    change = ending(steps=[step("s1")])
    change.events[0].turn_complete.turn.turn_id = lease.turn.turn_id
    change.events[0].turn_complete.turn.session_id = session.session_id
    change.events[0].turn_complete.turn.agent_id = session.agent_id
    change.events[0].turn_complete.turn.input_messages.extend(create_turn(session).messages)
    await store.commit(lease, change)
    events = [event async for event in store.watch(lease.turn, 4)]
    assert [event.payload.turn_complete.turn for event in events] == [await store.get_turn(lease.turn)]


async def test_a_turn_that_ended_never_changes_again(store, session):
    lease = await running(store, session)
    await store.commit(lease, ending())
    ended = await store.get_turn(lease.turn)
    for write in (
        store.append(lease, [progress("x")]),
        store.commit(lease, Change([step("s9")])),
        store.heartbeat(lease),
    ):
        with pytest.raises(LeaseLostError):
            await write
    assert lease.lost.is_set()
    assert await store.cancel_turn(lease.turn) == COMPLETED
    assert await store.take_over(lease.turn) is None
    assert await store.get_turn(lease.turn) == ended


async def test_a_session_runs_one_turn_at_a_time(store, other, session):
    lease = await running(store, session)
    with pytest.raises(AbortedError) as caught:
        await begin(other, session)
    assert caught.value.reason == "SESSION_BUSY"
    assert caught.value.metadata == {"turn_id": lease.turn.turn_id}
    await store.commit(lease, ending(AWAITING))
    with pytest.raises(FailedPreconditionError) as waiting:
        await begin(other, session)
    assert waiting.value.reason == "TURN_AWAITING_INPUT"
    assert waiting.value.metadata == {"turn_id": lease.turn.turn_id}


async def test_of_fifty_turns_at_once_one_begins(store, other, session):
    outcomes = await asyncio.gather(
        *(begin(store if place % 2 else other, session) for place in range(50)), return_exceptions=True
    )
    begun = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    refused = [outcome.reason for outcome in outcomes if isinstance(outcome, AbortedError)]
    assert (len(begun), refused) == (1, ["SESSION_BUSY"] * 49)
    assert (await store.get_session(session)).turn_count == 1


async def test_a_turn_that_begins_is_told_of_the_last_ones_before_it(store, other, session):
    made = []
    for number in range(5):
        started = await begin(other if number % 2 else store, session, earlier=3)
        assert started.earlier == made[-3:]
        assert started.lease is not None
        await (other if number % 2 else store).commit(started.lease, ending())
        made.append(started.key.turn_id)
    assert (await begin(store, session)).earlier == []


async def test_a_repeated_request_never_runs_twice(store, other, session):
    first = await begin(store, session, request_id="r1")
    again = await begin(other, session, request_id="r1")
    assert first.lease is not None
    assert (again.key, again.lease, again.first_sequence) == (first.key, None, 1)
    await store.commit(first.lease, ending())
    assert (await begin(other, session, request_id="r1")).key == first.key
    with pytest.raises(InvalidArgumentError) as caught:
        await begin(other, session, "something else", request_id="r1")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert (await store.get_session(session)).turn_count == 1


async def test_a_request_id_may_be_used_in_another_session(store, session):
    first = await begin(store, session, request_id="r1")
    second = await begin(store, await a_session(store), request_id="r1")
    assert second.lease is not None
    assert second.key != first.key


async def test_a_stale_revision_begins_nothing(store, session):
    with pytest.raises(AbortedError) as caught:
        await begin(store, session, revision=5)
    assert (caught.value.reason, caught.value.metadata) == ("STALE_REVISION", {"revision": "1"})
    assert (await begin(store, session, revision=1)).lease is not None


@pytest.mark.parametrize("turn_id", ["nobody", "", "a/b", "}{", "x" * 300])
async def test_what_names_no_turn_is_not_found(store, session, turn_id):
    key = TurnKey(session, turn_id)
    for read in (
        store.get_turn(key),
        store.get_step(key, "s1"),
        store.get_turns(session, [turn_id]),
        store.cancel_turn(key),
        store.resume_turn(key, answered),
    ):
        with pytest.raises(NotFoundError) as caught:
            await read
        assert (caught.value.resource_type, caught.value.resource_name) == ("turn", turn_id)
    assert await store.take_over(key) is None


async def test_an_unknown_step_is_not_found(store, session):
    lease = await running(store, session)
    with pytest.raises(NotFoundError) as caught:
        await store.get_step(lease.turn, "s1")
    assert caught.value.resource_type == "step"


async def test_turns_are_listed_in_the_order_in_which_they_began(store, session):
    made = []
    for _ in range(5):
        lease = await running(store, session)
        await store.commit(lease, ending())
        made.append(lease.turn.turn_id)
    first = await store.list_turns(session, 2)
    second = await store.list_turns(session, 2, first.next_token)
    third = await store.list_turns(session, 2, second.next_token)
    assert [turn.turn_id for page in (first, second, third) for turn in page.items] == made
    assert third.next_token == ""
    chosen = await store.get_turns(session, [made[3], made[0], made[3]])
    assert [turn.turn_id for turn in chosen] == [made[0], made[3]]
    with pytest.raises(InvalidArgumentError):
        await store.list_turns(session, 2, "x")
    with pytest.raises(NotFoundError):
        await store.list_turns(SessionKey(session.agent_id, "nobody"), 2)


async def test_the_last_turns_are_read_in_the_order_in_which_they_began(store, other, session):
    begun = []
    for _ in range(7):
        lease = await running(store, session)
        begun.append(lease.turn.turn_id)
        await store.commit(lease, ending())
    for most, expected in ((1, begun[-1:]), (5, begun[2:]), (1000, begun)):
        assert [turn.turn_id for turn in await other.last_turns(session, most)] == expected
    assert [turn.turn_id for turn in await other.last_turns(session, 2, besides=begun[-1])] == begun[4:6]
    with pytest.raises(NotFoundError):
        await store.last_turns(SessionKey(session.agent_id, "nowhere"), 5)


async def test_a_turn_that_waits_is_nobodys_until_it_is_resumed(store, other, session):
    lease = await running(store, session)
    await store.commit(lease, ending(AWAITING, steps=[step("tools")]))
    waiting = await other.get_turn(lease.turn)
    assert (waiting.status, [call.call_id for call in waiting.pending_tool_calls]) == (AWAITING, ["c1"])
    assert await other.orphaned_turns(10) == []
    assert await other.take_over(lease.turn) is None
    with pytest.raises(LeaseLostError):
        await store.append(lease, [progress("x")])
    resumed = await other.resume_turn(lease.turn, answered)
    assert resumed.lease is not None
    assert resumed.first_sequence == waiting.last_sequence + 1
    assert resumed.lease.token > lease.token
    turn = await store.get_turn(lease.turn)
    assert (turn.status, turn.steps[0].inference.model_id, list(turn.pending_tool_calls)) == (RUNNING, "answered", [])
    await other.commit(resumed.lease, ending())


async def test_a_resumption_happens_once(store, other, session):
    lease = await running(store, session)
    await store.commit(lease, ending(AWAITING))
    turn_id = lease.turn.turn_id
    first = await store.resume_turn(lease.turn, answered, request=resume(turn_id, request_id="r1"))
    again = await other.resume_turn(lease.turn, answered, request=resume(turn_id, request_id="r1"))
    assert (again.lease, again.first_sequence) == (None, first.first_sequence)
    with pytest.raises(InvalidArgumentError) as caught:
        await other.resume_turn(lease.turn, answered, request=resume(turn_id, "43", request_id="r1"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(FailedPreconditionError) as refused:
        await other.resume_turn(lease.turn, answered)
    assert refused.value.reason == "TURN_NOT_AWAITING_INPUT"
    outcomes = await asyncio.gather(
        *(other.resume_turn(lease.turn, answered) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(outcome, FailedPreconditionError) for outcome in outcomes)


async def test_of_many_resumptions_at_once_one_happens(store, other, session):
    lease = await running(store, session)
    await store.commit(lease, ending(AWAITING))
    outcomes = await asyncio.gather(
        *((store, other)[place % 2].resume_turn(lease.turn, answered) for place in range(20)), return_exceptions=True
    )
    went_on = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    refused = {outcome.reason for outcome in outcomes if isinstance(outcome, (AbortedError, FailedPreconditionError))}
    assert len(went_on) == 1
    assert refused <= {"TURN_NOT_AWAITING_INPUT", "STALE_REVISION"}


async def test_what_decide_refuses_changes_nothing(store, session):
    lease = await running(store, session)
    await store.commit(lease, ending(AWAITING))
    before = await store.get_turn(lease.turn)

    def refuse(record):
        raise InvalidArgumentError.of("tool_responses", "must answer c1")

    with pytest.raises(InvalidArgumentError):
        await store.resume_turn(lease.turn, refuse)
    with pytest.raises(AbortedError):
        await store.resume_turn(lease.turn, answered, revision=before.revision + 1)
    assert await store.get_turn(lease.turn) == before
    assert (await store.resume_turn(lease.turn, answered, revision=before.revision)).lease is not None


async def test_a_turn_that_is_not_kept_is_not_seen_by_later_ones(make_store):
    store = await make_store(scratch_seconds=1)
    session = await a_session(store)
    started = await begin(store, session, keep=False)
    assert started.lease is not None
    assert [turn.turn_id for turn in (await store.list_turns(session, 10)).items] == [started.key.turn_id]
    await store.commit(started.lease, ending())
    assert (await store.list_turns(session, 10)).items == []
    assert (await store.get_session(session)).turn_count == 0
    assert (await store.get_turn(started.key)).status == COMPLETED, "for those who wait for its end"
    await asyncio.sleep(1.2)
    with pytest.raises(NotFoundError):
        await store.get_turn(started.key)


async def test_a_stateless_turn_needs_no_session_and_is_forgotten(make_store):
    store = await make_store(scratch_seconds=1)
    started = await begin(store, SessionKey.stateless(None))
    assert started.lease is not None
    turn = await store.get_turn(started.key)
    assert (turn.session_id, turn.agent_id) == ("", "somebody")
    await store.commit(started.lease, ending(steps=[step("s1")]))
    assert (await store.get_turn(started.key)).status == COMPLETED
    await asyncio.sleep(1.2)
    with pytest.raises(NotFoundError):
        await store.get_turn(started.key)
    (doomed,) = await store.doomed_sessions(10)
    assert doomed.key == started.key.session
    await store.purge_session(doomed.key)
    assert await store.doomed_sessions(10) == []


async def test_a_repeated_stateless_request_finds_the_first_turn(store, other):
    request = Request.of(agents_pb2.ExecuteTurnRequest(request_id="r1"))
    first = await begin(store, SessionKey.stateless(request), request_id="r1")
    again = await begin(other, SessionKey.stateless(request), request_id="r1")
    assert first.lease is not None
    assert (again.key, again.lease) == (first.key, None)
    with pytest.raises(InvalidArgumentError):
        await begin(other, SessionKey.stateless(request), "something else", request_id="r1")
    other_session = SessionKey.stateless(Request("r2", ""))
    assert (await begin(other, other_session)).lease is not None


async def test_a_write_that_is_too_large_is_refused_and_the_turn_goes_on(make_store):
    store = await make_store(max_write_bytes=1 << 16)
    session = await a_session(store)
    with pytest.raises(ResourceExhaustedError):
        await begin(store, session, "x" * (1 << 17))
    lease = await running(store, session)
    with pytest.raises(ResourceExhaustedError) as caught:
        await store.append(lease, [progress("x" * (1 << 17))])
    assert caught.value.reason == "TURN_TOO_LARGE"
    await store.commit(lease, ending())


async def test_writes_of_one_holder_happen_in_order_whoever_waits(store, session):
    lease = await running(store, session)
    await asyncio.gather(*(store.append(lease, [progress(str(number))]) for number in range(50)))
    events = [event async for event, _ in take(store.watch(lease.turn), 51)]
    assert [event.payload.step_progress.delta.text for event in events[1:]] == [str(number) for number in range(50)]


async def test_a_write_whose_caller_is_cancelled_goes_on_to_its_end(store, session):
    lease = await running(store, session)
    for _ in range(20):
        write = asyncio.create_task(store.append(lease, [progress("x")]))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
    await store.commit(lease, ending(CANCELLED))
    turn = await store.get_turn(lease.turn)
    assert (turn.status, turn.last_sequence) == (CANCELLED, lease.last_sequence)


async def take(events, count):
    number = 0
    async for event in events:
        number += 1
        yield event, number
        if number == count:
            await events.aclose()
            return


async def test_a_turn_keeps_what_it_was_asked_and_runs_with_until_it_ends(store, other, session):
    request = create_turn(session)
    request.documents.add(data=b"\x00\xff" * 1000, mime_type="application/pdf")
    request.allow_turn_resume = True
    from services.agents.state import NewTurn

    turn_id = new_id()
    start = Payload(turn_start=events_pb2.TurnStart(turn_id=turn_id))
    started = await store.begin_turn(NewTurn(TurnKey(session, turn_id), request, config("mine"), [start]))
    assert started.lease is not None
    await store.commit(started.lease, Change([step("s1")]))
    await store.release(started.lease)
    taken = await other.take_over(started.key)
    assert taken is not None
    lease, record = taken
    assert (record.request, record.config) == (request, config("mine"))
    assert record.turn == await store.get_turn(started.key)
    assert (lease.revision, lease.last_sequence) == (2, 1)
