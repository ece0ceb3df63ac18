"""Whatever is done in whatever order by two replicas: the store says what the model says."""

import asyncio
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from caravan.agents.v1 import turns_pb2
from services.agents.state import Change, Lease, SessionKey, TurnKey
from services.agents.store.redis_store import RedisStore
from services.agents.store.settings import StoreSettings
from services.core.errors import CaravanError
from tests.conformance.agents.building import a_session, begin, complete, config, ending, new_id, progress, step
from tests.conformance.agents.model import AWAITING, RUNNING, ModelSession, ModelTurn

WORDS = st.sampled_from(["one", "two"])
REQUESTS = st.sampled_from(["", "r1", "r2"])
STEPS = st.lists(st.sampled_from(["s1", "s2", "s3", "s4"]), max_size=2, unique=True)
STATUSES = st.sampled_from(
    [AWAITING, turns_pb2.TURN_STATUS_COMPLETED, turns_pb2.TURN_STATUS_FAILED, turns_pb2.TURN_STATUS_CANCELLED]
)


class StoreMachine(RuleBasedStateMachine):
    """Two replicas of a store, and the model."""

    backend: dict[str, Any]
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        chosen = {**self.backend, "key_prefix": f"model-{new_id()}", "lease_seconds": 600}
        self.stores = [RedisStore(StoreSettings(**chosen)) for _ in range(2)]
        self.sessions: dict[SessionKey, ModelSession] = {}
        self.leases: list[tuple[RedisStore, Lease, SessionKey, ModelTurn]] = []

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.close())

    def run(self, call: Any) -> Any:
        return self.runner.run(call)

    def outcome(self, call: Any) -> Any:
        """The result, or the reason of the error."""
        try:
            return self.run(call)
        except CaravanError as error:
            return error.reason

    @initialize()
    def start(self) -> None:
        for store in self.stores:
            self.run(store.start())
        self.agent_id = self.run(self.stores[0].create_agent(new_id(), config())).agent_id
        self.create_session(0)
        self.begin_in(next(iter(self.sessions)), 0, "one", "", True)

    @precondition(lambda self: sum(not session.deleted for session in self.sessions.values()) < 2)
    @rule(replica=st.integers(0, 1))
    def create_session(self, replica: int) -> None:
        key = self.run(a_session(self.stores[replica], agent_id=self.agent_id))
        self.sessions[key] = ModelSession()

    @rule(data=st.data(), replica=st.integers(0, 1), words=WORDS, request_id=REQUESTS, keep=st.booleans())
    def begin(self, data: st.DataObject, replica: int, words: str, request_id: str, keep: bool) -> None:
        self.begin_in(data.draw(st.sampled_from(list(self.sessions))), replica, words, request_id, keep)

    def begin_in(self, key: SessionKey, replica: int, words: str, request_id: str, keep: bool) -> None:
        session = self.sessions[key]
        refusal = session.refusal(words, request_id)
        started = self.outcome(begin(self.stores[replica], key, words, request_id=request_id, keep=keep))
        if refusal == "repeated":
            known = session.requests[request_id][1]
            assert (started.key.turn_id, started.lease) == (known.turn_id, None)
        elif refusal:
            assert started == refusal
        else:
            turn = ModelTurn(started.key.turn_id, words, keep)
            session.turns.append(turn)
            session.revision += 1
            if request_id:
                session.requests[request_id] = (words, turn)
            self.leases.append((self.stores[replica], started.lease, key, turn))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), steps=STEPS)
    def go_on(self, data: st.DataObject, steps: list[str]) -> None:
        self.commit(data, steps, RUNNING)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), steps=STEPS, status=STATUSES)
    def end_or_wait(self, data: st.DataObject, steps: list[str], status: Any) -> None:
        self.commit(data, steps, status)

    def commit(self, data: st.DataObject, steps: list[str], status: Any) -> None:
        store, lease, key, turn = self.any_lease(data)
        mark = new_id()
        made = [step(step_id, mark) for step_id in steps]
        if status == RUNNING:
            change = Change(made, [complete(step_id) for step_id in steps])
            events = ["step_complete"] * len(steps)
        else:
            change = ending(status, steps=made)
            events = [change.events[0].WhichOneof("event") or ""]
        outcome = self.outcome(store.commit(lease, change))
        if self.sessions[key].deleted or not turn.may_write(lease.token):
            assert outcome == "LEASE_LOST"
            assert lease.lost.is_set()
            return
        assert outcome is None
        turn.write(dict.fromkeys(steps, mark), events, status)
        if turn.ended:
            self.sessions[key].revision += 1
        assert (lease.revision, lease.last_sequence) == (turn.revision, len(turn.events))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), count=st.integers(1, 3))
    def append(self, data: st.DataObject, count: int) -> None:
        store, lease, key, turn = self.any_lease(data)
        outcome = self.outcome(store.append(lease, [progress("x")] * count))
        if self.sessions[key].deleted or not turn.may_write(lease.token):
            assert outcome == "LEASE_LOST"
        else:
            turn.events += ["step_progress"] * count
            assert (outcome, lease.last_sequence) == (None, len(turn.events))
            turn.held = True

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        store, lease, key, turn = self.any_lease(data)
        outcome = self.outcome(store.heartbeat(lease))
        if self.sessions[key].deleted or not turn.may_write(lease.token):
            assert outcome == "LEASE_LOST"
        else:
            assert outcome is None
            assert lease.cancel.is_set() or not turn.cancelled
            turn.held = True

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), taken=st.booleans())
    def release(self, data: st.DataObject, taken: bool) -> None:
        store, lease, key, turn = self.any_lease(data)
        self.run(store.release(lease))
        if turn.may_write(lease.token):
            turn.held = False
        if taken:
            self.take(key, self.sessions[key], turn, 1)

    @precondition(lambda self: any(session.turns for session in self.sessions.values()))
    @rule(data=st.data(), replica=st.integers(0, 1))
    def take_over(self, data: st.DataObject, replica: int) -> None:
        self.take(*self.any_turn(data), replica)

    def take(self, key: SessionKey, session: ModelSession, turn: ModelTurn, replica: int) -> None:
        taken = self.run(self.stores[replica].take_over(TurnKey(key, turn.turn_id)))
        if session.deleted or not turn.can_be_taken:
            assert taken is None
            return
        turn.take()
        lease, record = taken
        assert (lease.token, lease.revision, lease.last_sequence) == (turn.token, turn.revision, len(turn.events))
        assert lease.cancel.is_set() == turn.cancelled
        assert [found.step_id for found in record.turn.steps] == list(turn.steps)
        assert record.config == config()
        self.leases.append((self.stores[replica], lease, key, turn))

    @precondition(lambda self: any(session.turns for session in self.sessions.values()))
    @rule(data=st.data(), replica=st.integers(0, 1))
    def resume(self, data: st.DataObject, replica: int) -> None:
        key, session, turn = self.any_turn(data)
        mark = new_id()
        change = Change([step("s1", mark)], [complete("s1")], turns_pb2.Turn())
        started = self.outcome(self.stores[replica].resume_turn(TurnKey(key, turn.turn_id), lambda record: change))
        if session.deleted:
            assert started == "NOT_FOUND"
        elif turn.status != AWAITING:
            assert started == "TURN_NOT_AWAITING_INPUT"
        else:
            assert started.first_sequence == len(turn.events) + 1
            turn.token += 1
            turn.write({"s1": mark}, ["step_complete"], RUNNING)
            self.leases.append((self.stores[replica], started.lease, key, turn))

    @precondition(lambda self: any(session.turns for session in self.sessions.values()))
    @rule(data=st.data(), replica=st.integers(0, 1), stale=st.booleans())
    def cancel(self, data: st.DataObject, replica: int, stale: bool) -> None:
        key, session, turn = self.any_turn(data)
        revision = turn.revision + stale
        outcome = self.outcome(self.stores[replica].cancel_turn(TurnKey(key, turn.turn_id), "enough", revision))
        if session.deleted:
            assert outcome == "NOT_FOUND"
        elif stale:
            assert outcome == "STALE_REVISION"
        else:
            assert outcome == turn.status
            turn.cancelled = turn.cancelled or not turn.ended

    @rule(data=st.data(), replica=st.integers(0, 1), purge=st.booleans())
    def delete_session(self, data: st.DataObject, replica: int, purge: bool) -> None:
        if len([session for session in self.sessions.values() if not session.deleted]) < 2:
            return
        key = data.draw(st.sampled_from(list(self.sessions)))
        outcome = self.outcome(self.stores[replica].delete_session(key))
        assert outcome == ("NOT_FOUND" if self.sessions[key].deleted else None)
        self.sessions[key].deleted = True
        if purge:
            for doomed in self.run(self.stores[replica].doomed_sessions(10)):
                assert self.sessions[doomed.key].deleted
                self.run(self.stores[replica].purge_session(doomed.key))

    @precondition(lambda self: any(session.turns for session in self.sessions.values()))
    @rule(data=st.data(), replica=st.integers(0, 1))
    def read_a_turn(self, data: st.DataObject, replica: int) -> None:
        key, session, turn = self.any_turn(data)
        found = self.outcome(self.stores[replica].get_turn(TurnKey(key, turn.turn_id)))
        if session.deleted:
            assert found == "NOT_FOUND"
            return
        self.check(found, turn)
        events = self.run(first_events(self.stores[replica], TurnKey(key, turn.turn_id), len(turn.events)))
        assert events == list(enumerate(turn.events, start=1))

    @rule(data=st.data(), replica=st.integers(0, 1), size=st.integers(1, 3))
    def list_the_turns(self, data: st.DataObject, replica: int, size: int) -> None:
        key = data.draw(st.sampled_from(list(self.sessions)))
        session = self.sessions[key]
        page = self.outcome(self.stores[replica].list_turns(key, size))
        if session.deleted:
            assert page == "NOT_FOUND"
            return
        found = list(page.items)
        while page.next_token:
            page = self.run(self.stores[replica].list_turns(key, size, page.next_token))
            found += page.items
        assert [turn.turn_id for turn in found] == [turn.turn_id for turn in session.listed]

    @invariant()
    def sessions_are_as_the_model_says(self) -> None:
        for key, session in self.sessions.items():
            if session.deleted:
                continue
            found = self.run(self.stores[0].get_session(key))
            current = session.current.turn_id if session.current else ""
            seen = (found.revision, found.turn_count, found.current_turn_id)
            assert seen == (session.revision, len(session.listed), current)

    @rule()
    def look_for_orphans(self) -> None:
        found = {key.turn_id for key in self.run(self.stores[1].orphaned_turns(100))}
        wanted = {
            turn.turn_id
            for session in self.sessions.values()
            for turn in session.turns
            if not session.deleted and turn.can_be_taken
        }
        assert wanted <= found

    def any_turn(self, data: st.DataObject) -> tuple[SessionKey, ModelSession, ModelTurn]:
        """A turn; the newest ones come first, since most happens to them."""
        turns = [(key, session, turn) for key, session in self.sessions.items() for turn in session.turns]
        return data.draw(st.sampled_from(turns[-1:] + turns[-3:] + turns))

    def any_lease(self, data: st.DataObject) -> tuple[RedisStore, Lease, SessionKey, ModelTurn]:
        """A lease, perhaps a lost one, and the replica that has it; the newest come first."""
        return data.draw(st.sampled_from(self.leases[-1:] + self.leases[-3:] + self.leases))

    def check(self, found: turns_pb2.Turn, turn: ModelTurn) -> None:
        assert (found.status, found.revision, found.last_sequence) == (turn.status, turn.revision, len(turn.events))
        assert {one.step_id: one.inference.model_id for one in found.steps} == turn.steps
        assert [one.step_id for one in found.steps] == list(turn.steps)
        assert found.input_messages[0].user.content.items[0].text == turn.words
        assert found.HasField("completed_at") == turn.ended


async def first_events(store: RedisStore, key: TurnKey, count: int) -> list[tuple[int, str | None]]:
    """The events so far."""
    found: list[tuple[int, str | None]] = []
    events = store.watch(key)
    try:
        async with asyncio.timeout(5):
            while len(found) < count:
                event = await anext(events)
                found.append((event.sequence, event.payload.WhichOneof("event")))
    finally:
        await events.aclose()
    return found


def test_the_store_does_what_the_model_does(backend):
    with asyncio.Runner() as runner:
        machine = type("Machine", (StoreMachine,), {"backend": backend, "runner": runner})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=20, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
