"""What goes into and comes out of the agents service's state: names, changes, leases, records."""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, Protocol, TypeAlias, TypeVar

from google.protobuf import timestamp_pb2

from caravan.agents.v1 import agents_pb2, config_pb2, events_pb2, turns_pb2

T = TypeVar("T")

TurnRequest: TypeAlias = agents_pb2.CreateTurnRequest | agents_pb2.ExecuteTurnRequest
"""What a turn is asked for; `ExecuteTurnRequest` makes it a stateless one."""

STATELESS = ""
"""Identifier in the place of the agent's in the keys of stateless turns."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Names a session."""

    agent_id: str
    """Agent that it belongs to; `STATELESS` for the scratch session of a stateless turn."""

    session_id: str
    """Identifier."""

    @classmethod
    def stateless(cls, request: "Request | None") -> "SessionKey":
        """Returns the key of a stateless turn's scratch session: the same for the same `request_id`, a new one without.

        Args:
            request: What makes the call repeatable.
        """
        name = hashlib.sha256(request.request_id.encode()).hexdigest()[:32] if request else os.urandom(16).hex()
        return cls(STATELESS, name)


@dataclass(frozen=True, slots=True)
class TurnKey:
    """Names a turn."""

    session: SessionKey
    """Session that it belongs to."""

    turn_id: str
    """Identifier."""


class _Request(Protocol):
    """A request message with a `request_id`."""

    request_id: str

    def SerializeToString(self, *, deterministic: bool = False) -> bytes:
        """Returns the wire bytes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What makes a repeated call one. An identifier belongs to an RPC and to the agent or session that the request names."""

    request_id: str
    """The caller's identifier; not empty."""

    digest: str
    """Of everything that the call asks for; the same for a call and its streamed twin."""

    @classmethod
    def of(cls, request: _Request) -> "Request | None":
        """Returns what makes a call repeatable; None when it has no `request_id`.

        Reads the whole request: with large documents in it, call this in a thread.
        """
        if not request.request_id:
            return None
        return cls(request.request_id, hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest())


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing."""

    items: Sequence[T]
    """What is on it."""

    next_token: str = ""
    """Token of the next page. Empty: this was the last."""


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn that is about to begin."""

    key: TurnKey
    """Its name; of a stateless turn with a session of `SessionKey.stateless`."""

    request: TurnRequest
    """What it is asked for, as it came."""

    config: config_pb2.AgentConfig
    """What it runs with: the agent's configuration with everything that the request overrides."""

    events: Sequence[events_pb2.TurnEventPayload]
    """Its first events: `turn_start`, and the beginning of its first step."""

    steps: Sequence[turns_pb2.Step] = ()
    """The step that begins with it, if one does, without `started_at`: readers see the turn's."""

    earlier: int = 0
    """Most turns before it whose identifiers are wanted."""

    session_ttl: timedelta | None = None
    """How long the session is kept after the turn. None: for ever. Ignored for a stateless turn."""

    keep: bool = True
    """False: the turn is forgotten when it has ended and idempotency no longer needs it, and later turns do not see it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One atomic change of a turn. It counts the turn's revision up by one."""

    steps: Sequence[turns_pb2.Step] = ()
    """Steps that begin, go on (a tool call started or ended) or end; each replaces the one with its `step_id`. New ones come last."""

    events: Sequence[events_pb2.TurnEventPayload] = ()
    """Events that follow the last one. In a turn that an event holds, the store sets `status`, `revision`, `last_sequence`, `started_at`
    (in the caller's own message as well) and, when it has ended, `completed_at`: every reader sees them as GetTurn shows them."""

    turn: turns_pb2.Turn | None = None
    """Everything of the turn that changes, beside what the store sets (see `events`) and `steps`: `output_message`, `error`, `metrics`,
    `pending_tool_calls`, `output_attachments`, `warnings`, `external_duration`. Identifiers, input messages and steps in it are ignored.
    None: as before."""

    status: turns_pb2.TurnStatus.ValueType = turns_pb2.TURN_STATUS_IN_PROGRESS
    """Where the turn stands from now on. With any other than IN_PROGRESS the lease ends: a turn that awaits input is nobody's, one that
    has ended never changes again."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Lease:
    """The right to run a turn, and what its holder knows of the turn. Every call of the store that it goes into keeps it up to date."""

    turn: TurnKey
    """The turn."""

    token: int
    """Fencing token: grows each time that somebody gets the turn's lease."""

    revision: int
    """The turn's revision; the next change makes it one more."""

    last_sequence: int
    """Number of the turn's last event."""

    started_at: timestamp_pb2.Timestamp
    """When the turn began."""

    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    """Set as soon as somebody wants the turn cancelled."""

    cancel_reason: str = ""
    """Why, once `cancel` is set; may be empty."""

    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """Set as soon as it is known that the lease is somebody else's or that the turn was deleted."""

    writing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Keeps writes in order; the store's."""

    _offset: int = field(default=0, init=False, repr=False)

    @property
    def is_first(self) -> bool:
        """Whether nobody else has ever had it."""
        return self.token == 1

    def now(self) -> timestamp_pb2.Timestamp:
        """Returns the store's time, for what steps record: whoever goes on with the turn has the same clock."""
        moment = timestamp_pb2.Timestamp()
        moment.FromMilliseconds(time.monotonic_ns() // 1_000_000 + self._offset)
        return moment

    def set_time(self, milliseconds: int) -> None:
        """Sets the clock by the store's, in milliseconds since the epoch."""
        self._offset = milliseconds - time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Started:
    """A turn that began or went on."""

    key: TurnKey
    """The turn; of a repeated call the one that the first call began."""

    lease: Lease | None
    """The right to run it. None: the call is repeated; follow the turn."""

    first_sequence: int
    """Number of the first event that belongs to the call."""

    earlier: Sequence[str] = ()
    """Identifiers of the session's last turns before it, in the order in which they began, as many as were wanted."""


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """Everything that is known of a turn."""

    turn: turns_pb2.Turn
    """The turn with its steps, finished or not."""

    request: TurnRequest
    """What it was asked for."""

    config: config_pb2.AgentConfig
    """What it runs with."""

    read_at: timestamp_pb2.Timestamp
    """The store's time when it was read."""

    earlier: Sequence[str] | None = None
    """Identifiers of the session's last turns before it, in the order in which they began. None: they were not asked for."""


@dataclass(frozen=True, slots=True)
class DoomedSession:
    """A session that was deleted or has expired: nobody sees it any more, but what it holds is still there."""

    key: SessionKey
    """The session."""

    memory_bank_id: str
    """Its memory bank, which goes first. Empty: it has none."""
