"""How turns come to a process: they begin, go on after a wait, or are taken over from one that died."""

from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from caravan.agents.v1 import agents_pb2, events_pb2, turns_pb2
from services.agents.state import STATELESS, Change, Lease, NewTurn, Request, Started, TurnKey, TurnRecord
from services.agents.store.context import (
    DAY_MILLISECONDS,
    check_session,
    digest_of,
    milliseconds,
    no_session,
    operation,
    reused,
)
from services.agents.store.keys import SessionKeys, TurnKeys
from services.agents.store.records import event_of, moment
from services.agents.store.turn_arguments import base_of, check_size, events_of, state_of, steps_of
from services.agents.store.turn_reading import TurnReading, no_turn
from services.agents.store.watching import Watching
from services.core.errors import AbortedError, FailedPreconditionError, NotFoundError


class TurnStarts(TurnReading):
    """Begins turns and goes on with them."""

    _held: WeakValueDictionary[str, Lease]
    _watching: Watching

    async def begin_turn(self, turn: NewTurn, revision: int | None = None, request: Request | None = None) -> Started:
        """See TurnStore."""
        check_session(turn.key.session)
        context, keys, names = self._context, *self._names(turn.key)
        name = "execute" if isinstance(turn.request, agents_pb2.ExecuteTurnRequest) else "create"
        ttl, forget = self._lifetimes(turn, request)
        arguments = [
            operation(),
            digest_of(request),
            keys.member,
            turn.key.turn_id,
            context.holder,
            self._lease_milliseconds,
            "" if revision is None else revision,
            ttl,
            forget,
            int(turn.key.session.agent_id == STATELESS),
            context.settings.max_events,
            context.codec.encode(base_of(turn)),
            context.codec.encode(turn.config),
            name,
            context.codec.encode(turn.request),
            turn.earlier,
            *steps_of(context.codec, turn.steps),
            *events_of(context.codec, turn.events),
        ]
        check_size(arguments, context.settings.max_write_bytes)
        record = keys.request("CreateTurn", request.request_id if request else "")
        call = context.scripts["begin_turn"].call(
            [
                keys.session,
                keys.turns,
                names.turn,
                names.spec,
                names.events,
                keys.leases,
                keys.expiries,
                record,
            ],
            *arguments,
        )
        outcome, *rest = await context.commands.run(keys.session, call, write=True)
        if outcome == b"begun":
            *held, earlier = rest
            lease = self._lease(turn.key, held, turn.events)
            return Started(turn.key, lease, 1, [turn_id.decode() for turn_id in reversed(earlier)])
        if outcome == b"repeated":
            return Started(TurnKey(turn.key.session, rest[0].decode()), None, 1)
        raise _not_begun(turn.key, outcome, rest, revision)

    async def resume_turn(
        self,
        key: TurnKey,
        decide: Callable[[TurnRecord], Change],
        revision: int | None = None,
        request: Request | None = None,
    ) -> Started:
        """See TurnStore."""
        context, keys, names = self._context, *self._names(key)
        record = keys.request("ResumeTurn", f"{key.turn_id}:{request.request_id}" if request else "")
        # The answer after the turn: whoever went on with it meanwhile under this request id is seen there.
        known, answer = await self._everything(key, *([("GET", record)] if request else []))
        if request and answer is not None:
            return _answered(key, request, answer)
        if known.turn.status != turns_pb2.TURN_STATUS_AWAITING_INPUT:
            raise _not_awaiting(key)
        if revision is not None and revision != known.turn.revision:
            raise stale(key, known.turn.revision, revision)
        change = decide(known)
        lease = Lease(key, 0, known.turn.revision, known.turn.last_sequence, known.turn.started_at)
        arguments = [
            operation(),
            digest_of(request),
            known.turn.revision,
            keys.member,
            key.turn_id,
            context.holder,
            self._lease_milliseconds,
            context.settings.max_events,
            names.news,
            *state_of(context.codec, change),
            *steps_of(context.codec, change.steps),
            *events_of(context.codec, change.events, lease, lease.revision + 1),
        ]
        check_size(arguments, context.settings.max_write_bytes)
        call = context.scripts["resume_turn"].call(
            [keys.session, names.turn, names.events, keys.leases, keys.expiries, record], *arguments
        )
        outcome, *rest = await context.commands.run(keys.session, call, write=True)
        if outcome == b"resumed":
            return Started(key, self._lease(key, rest, change.events), known.turn.last_sequence + 1)
        if outcome == b"repeated":
            return Started(key, None, int(rest[0]) + 1)
        raise _not_resumed(key, outcome, rest, known.turn.revision)

    async def take_over(self, key: TurnKey) -> tuple[Lease, TurnRecord] | None:
        """See TurnStore."""
        context, keys, names = self._context, *self._names(key)
        call = context.scripts["take_over"].call(
            [keys.session, names.turn, keys.leases],
            operation(),
            names.member,
            context.holder,
            self._lease_milliseconds,
        )
        outcome, *rest = await context.commands.run(keys.session, call, write=True)
        if outcome != b"taken":
            return None
        lease = self._lease(key, rest)
        try:
            return lease, (await self._everything(key))[0]
        except NotFoundError:
            # Deleted just now.
            return None

    @property
    def _lease_milliseconds(self) -> int:
        return int(self._context.settings.lease_seconds * 1000)

    def _names(self, key: TurnKey) -> tuple[SessionKeys, TurnKeys]:
        keys = self._context.keys.session(key.session)
        return keys, keys.turn(key.turn_id)

    def _lifetimes(self, turn: NewTurn, request: Request | None) -> tuple[int, int]:
        """Returns for how long the session is kept after the turn, and the turn after its end; 0: no limit of its own."""
        scratch = DAY_MILLISECONDS if request else int(self._context.settings.scratch_seconds * 1000)
        if turn.key.session.agent_id == STATELESS:
            return scratch, 0
        return milliseconds(turn.session_ttl), 0 if turn.keep else scratch

    def _lease(
        self,
        key: TurnKey,
        reply: Sequence[bytes | int | None],
        events: Sequence[events_pb2.TurnEventPayload] = (),
    ) -> Lease:
        token, revision, sequence, started, at, *reason = (value or 0 for value in reply)
        lease = Lease(key, int(token), int(revision), int(sequence), moment(int(started)))
        learn(lease, int(at), reply[5] if reason else None)
        self._held[self._names(key)[1].member] = lease
        self._watching.own(lease)
        # The answer to a call that was sent again says when that was; what began with the turn has the turn's time.
        self._show(lease, events, int(started) if lease.is_first else int(at))
        return lease

    def _show(self, lease: Lease, events: Sequence[events_pb2.TurnEventPayload], at: int) -> None:
        """Hands events to those who watch the turn in this process: they need not be read again."""
        first, time = lease.last_sequence - len(events) + 1, moment(at)
        self._watching.show(
            lease.turn, [event_of(payload, first + place, time) for place, payload in enumerate(events)]
        )


def learn(lease: Lease, at: int, reason: bytes | int | None) -> None:
    """Takes in what every script tells the holder of a lease."""
    lease.set_time(int(at))
    if isinstance(reason, bytes):
        lease.cancel_reason = lease.cancel_reason or reason.decode()
        lease.cancel.set()


def _answered(key: TurnKey, request: Request, answer: bytes) -> Started:
    digest = request.digest.encode()
    if not answer.startswith(digest):
        raise reused()
    return Started(key, None, int(answer[len(digest) :]) + 1)


def stale(key: TurnKey, revision: int, expected: int | None) -> AbortedError:
    """Returns the error for a turn that has another revision than was expected."""
    message = f"turn {key.turn_id!r} has revision {revision}, not {expected}: read it again, then decide"
    return AbortedError(message, reason="STALE_REVISION", metadata={"revision": str(revision)})


def _not_awaiting(key: TurnKey) -> FailedPreconditionError:
    message = f"turn {key.turn_id!r} does not await tool responses; GetTurn says where it stands"
    return FailedPreconditionError(message, reason="TURN_NOT_AWAITING_INPUT", metadata={"turn_id": key.turn_id})


def _not_resumed(key: TurnKey, outcome: bytes, rest: Sequence[bytes], revision: int) -> Exception:
    match outcome:
        case b"reused":
            return reused()
        case b"absent":
            return no_turn(key)
        case b"stale":
            return stale(key, int(rest[0]), revision)
        case _:
            return _not_awaiting(key)


def _not_begun(key: TurnKey, outcome: bytes, rest: Sequence[bytes], revision: int | None) -> Exception:
    session_id = key.session.session_id
    current = rest[0].decode() if rest else ""
    match outcome:
        case b"reused":
            return reused()
        case b"absent":
            return no_session(key.session)
        case b"busy":
            message = f"turn {current!r} of session {session_id!r} runs; wait for its end, watch it, or cancel it"
            return AbortedError(message, reason="SESSION_BUSY", metadata={"turn_id": current})
        case b"awaiting":
            message = f"turn {current!r} of session {session_id!r} awaits tool responses; resume it, or cancel it"
            return FailedPreconditionError(message, reason="TURN_AWAITING_INPUT", metadata={"turn_id": current})
        case _:
            message = f"session {session_id!r} has revision {current}, not {revision}: read it again, then decide"
            return AbortedError(message, reason="STALE_REVISION", metadata={"revision": current})
