"""The ports of the agents service's state: agents, their sessions, and turns that outlive the process that runs them.

A turn is the sum of what was committed to it: what it was asked for (its request and the configuration that it runs with, which never
change), its steps, and what else `Change` holds. Whoever takes a turn over finds all of it here. Credentials that came with a call are
not part of it.

Only the holder of a turn's lease writes to it, one write after the other; each write names the lease's fencing token, and the writes of a
former holder are refused. Every write may be repeated when its outcome is not known: it happens once. Times are the store's.

Every method raises `services.core.errors` only, and StoreAwayError when the store does not answer for longer than its settings allow.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

from caravan.agents.v1 import agents_pb2, config_pb2, events_pb2, turns_pb2
from services.agents.invocations import InvocationStore
from services.agents.state import (
    Change,
    DoomedSession,
    Lease,
    NewTurn,
    Page,
    Request,
    SessionKey,
    Started,
    TurnKey,
    TurnRecord,
)
from services.core.errors import AbortedError, OutOfRangeError, UnavailableError


class StoreAwayError(UnavailableError):
    """The store does not answer, does not keep what is written as safely as it must, or holds what a newer release wrote.

    A turn that meets this is left as it is, for whoever can go on with it.
    """


class LeaseLostError(AbortedError):
    """The turn is somebody else's now, or was deleted: whoever ran it stops and leaves everything as it is."""


class EventsGoneError(OutOfRangeError):
    """The events asked for are no longer kept; the turn has their result."""


class AgentStore(ABC):
    """Agents."""

    @abstractmethod
    async def create_agent(
        self, agent_id: str, config: config_pb2.AgentConfig, request: Request | None = None
    ) -> agents_pb2.Agent:
        """Creates an agent; returns it, or what the first call returned when this one is repeated.

        Args:
            agent_id: A new identifier: 1 to 64 letters, digits, `-` or `_`.
            config: What it is made of, credentials included.
            request: What makes the call repeatable.

        Raises:
            InvalidArgumentError: The request id was used for something else (REQUEST_ID_REUSED).
        """

    @abstractmethod
    async def get_agent(self, agent_id: str) -> agents_pb2.Agent:
        """Returns an agent, credentials included.

        Raises:
            NotFoundError: There is none.
        """

    @abstractmethod
    async def list_agents(self, page_size: int, page_token: str = "") -> Page[agents_pb2.Agent]:
        """Returns a page of agents, newest first.

        Raises:
            InvalidArgumentError: The page token is none of ours.
        """

    @abstractmethod
    async def delete_agent(self, agent_id: str, request: Request | None = None) -> None:
        """Deletes an agent and dooms its sessions; their turns lose their leases.

        Raises:
            NotFoundError: There is none.
            InvalidArgumentError: The request id was used for something else.
        """


class SessionStore(ABC):
    """Sessions, without their turns."""

    @abstractmethod
    async def create_session(
        self, key: SessionKey, session_name: str, ttl: timedelta | None = None, request: Request | None = None
    ) -> agents_pb2.Session:
        """Creates a session; returns it, or what the first call returned when this one is repeated.

        Args:
            key: A new name; identifiers as for `create_agent`.
            session_name: Name for people to read.
            ttl: How long it is kept without a turn. None: for ever.
            request: What makes the call repeatable.

        Raises:
            NotFoundError: There is no such agent.
            InvalidArgumentError: The request id was used for something else.
        """

    @abstractmethod
    async def get_session(self, key: SessionKey) -> agents_pb2.Session:
        """Returns a session without its turns.

        Raises:
            NotFoundError: There is none.
        """

    @abstractmethod
    async def list_sessions(self, agent_id: str, page_size: int, page_token: str = "") -> Page[agents_pb2.Session]:
        """Returns a page of an agent's sessions without their turns, newest first.

        Raises:
            NotFoundError: There is no such agent.
            InvalidArgumentError: The page token is none of ours.
        """

    @abstractmethod
    async def set_memory_bank(self, key: SessionKey, memory_bank_id: str) -> str:
        """Gives a session its memory bank; returns the one that it has: the first that was set stays.

        Raises:
            NotFoundError: There is no such session.
        """

    @abstractmethod
    async def delete_session(
        self, key: SessionKey, revision: int | None = None, request: Request | None = None
    ) -> None:
        """Dooms a session: nobody sees it or its turns any more, and a turn that runs loses its lease.

        Args:
            key: The session.
            revision: Revision that it must have. None: any.
            request: What makes the call repeatable.

        Raises:
            NotFoundError: There is none.
            AbortedError: It has another revision (STALE_REVISION).
            InvalidArgumentError: The request id was used for something else.
        """

    @abstractmethod
    async def doomed_sessions(self, limit: int) -> Sequence[DoomedSession]:
        """Returns sessions that wait for `purge_session`, deleted and expired ones, at most about `limit`."""

    @abstractmethod
    async def purge_session(self, key: SessionKey) -> None:
        """Removes all that a doomed session holds; does nothing to any other. May be repeated, and called by several at once."""


class TurnStore(ABC):
    """Turns, their steps and their events."""

    @property
    @abstractmethod
    def lease_seconds(self) -> float:
        """How long a lease lasts that its holder does not renew; every write renews it."""

    @abstractmethod
    async def begin_turn(self, turn: NewTurn, revision: int | None = None, request: Request | None = None) -> Started:
        """Begins a turn, with its lease in the caller's hands.

        Args:
            turn: The turn.
            revision: Revision that the session must have. None: any.
            request: What makes the call repeatable.

        Raises:
            NotFoundError: There is no such session.
            AbortedError: Another turn of the session runs (SESSION_BUSY, its `turn_id` in the metadata), or the session has another
                revision (STALE_REVISION).
            FailedPreconditionError: A turn of the session awaits input (TURN_AWAITING_INPUT, its `turn_id` in the metadata).
            InvalidArgumentError: The request id was used for something else.
        """

    @abstractmethod
    async def resume_turn(
        self,
        key: TurnKey,
        decide: Callable[[TurnRecord], Change],
        revision: int | None = None,
        request: Request | None = None,
    ) -> Started:
        """Goes on with a turn that awaits input, with its lease in the caller's hands.

        Args:
            key: The turn.
            decide: Makes the change that the input brings, of the turn as it is; what it raises, this raises. Not called when the call is
                repeated.
            revision: Revision that the turn must have. None: any.
            request: What makes the call repeatable.

        Raises:
            NotFoundError: There is no such turn.
            FailedPreconditionError: It does not await input (TURN_NOT_AWAITING_INPUT).
            AbortedError: It has another revision (STALE_REVISION), perhaps since just now.
            InvalidArgumentError: The request id was used for something else.
        """

    @abstractmethod
    async def take_over(self, key: TurnKey) -> tuple[Lease, TurnRecord] | None:
        """Takes the lease of a turn that runs without a holder, or awaits input and is to be cancelled; returns None if neither is so."""

    @abstractmethod
    async def heartbeat(self, lease: Lease) -> None:
        """Renews a lease, and learns whether the turn is to be cancelled.

        Raises:
            LeaseLostError: It is somebody else's, or the turn was deleted.
        """

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Gives a lease up, so that another process can go on at once. Does nothing when it is lost."""

    @abstractmethod
    def leave(self, lease: Lease) -> None:
        """Says that nobody here writes under a lease any more, whatever becomes of it.

        Until then those who watch the turn here are told what is written here, and nothing else is looked for.
        """

    @abstractmethod
    async def append(self, lease: Lease, events: Sequence[events_pb2.TurnEventPayload]) -> None:
        """Adds events that belong to no change, such as pieces of an answer: one round trip for all of them.

        Raises:
            LeaseLostError: The lease is somebody else's, or the turn was deleted or has ended.
            ResourceExhaustedError: They are larger than the store takes at once.
        """

    @abstractmethod
    async def commit(self, lease: Lease, change: Change) -> None:
        """Changes a turn, wholly or not at all: one round trip.

        Raises:
            LeaseLostError: As for `append`.
            ResourceExhaustedError: The change is larger than the store takes at once.
        """

    @abstractmethod
    async def cancel_turn(
        self, key: TurnKey, reason: str = "", revision: int | None = None, request: Request | None = None
    ) -> turns_pb2.TurnStatus.ValueType:
        """Asks for a turn to be cancelled; its holder sees it at once. A turn that awaits input can be taken over then.

        Args:
            key: The turn.
            reason: Why, for people to read.
            revision: Revision that the turn must have. None: any.
            request: What makes the call repeatable.

        Returns:
            Where the turn stands; nothing is changed when it has ended.

        Raises:
            NotFoundError: There is no such turn.
            AbortedError: It has another revision (STALE_REVISION).
            InvalidArgumentError: The request id was used for something else.
        """

    @abstractmethod
    async def orphaned_turns(self, limit: int) -> Sequence[TurnKey]:
        """Returns turns that `take_over` can take, at most about `limit`."""

    @abstractmethod
    async def get_turn(self, key: TurnKey) -> turns_pb2.Turn:
        """Returns a turn with its steps, ended or not.

        Raises:
            NotFoundError: There is none.
        """

    @abstractmethod
    async def get_step(self, key: TurnKey, step_id: str) -> turns_pb2.Step:
        """Returns a step, ended or not.

        Raises:
            NotFoundError: There is no such turn, or no such step in it.
        """

    @abstractmethod
    async def get_turns(self, session: SessionKey, turn_ids: Sequence[str]) -> Sequence[turns_pb2.Turn]:
        """Returns these turns in the order in which they began.

        Raises:
            NotFoundError: There is no such session, or one of the turns is not in it.
        """

    @abstractmethod
    async def list_turns(self, session: SessionKey, page_size: int, page_token: str = "") -> Page[turns_pb2.Turn]:
        """Returns a page of a session's turns in the order in which they began.

        Raises:
            NotFoundError: There is no such session.
            InvalidArgumentError: The page token is none of ours.
        """

    @abstractmethod
    async def last_turns(self, session: SessionKey, most: int, besides: str = "") -> Sequence[turns_pb2.Turn]:
        """Returns a session's last turns, at most so many, in the order in which they began. What it costs depends on these alone.

        Args:
            session: The session.
            most: Most turns.
            besides: Identifier of a turn that is left out.

        Raises:
            NotFoundError: There is no such session.
        """

    @abstractmethod
    def watch(self, key: TurnKey, from_sequence: int = 0) -> AsyncIterator[events_pb2.TurnEvent]:
        """Yields a turn's events from a number on, those to come as they come; ends after the one that ends the turn.

        Close it (`contextlib.aclosing`) when leaving before its end. A reader that is slow holds nobody back.

        Args:
            key: The turn.
            from_sequence: Number of the first event wanted. 0: the first of all.

        Raises:
            NotFoundError: There is no such turn, or it was deleted.
            EventsGoneError: The events from there on are no longer kept.
        """


class Store(AgentStore, SessionStore, TurnStore, InvocationStore):
    """All of the agents service's state."""

    @abstractmethod
    async def start(self) -> None:
        """Connects, and begins to listen for what other processes do.

        Raises:
            StoreAwayError: The store does not answer.
        """

    @abstractmethod
    async def close(self) -> None:
        """Closes the connections; watches end with UnavailableError. Leases stay until they expire: release them before."""

    @abstractmethod
    async def ping(self) -> None:
        """Checks that the store answers.

        Raises:
            StoreAwayError: It does not.
        """
