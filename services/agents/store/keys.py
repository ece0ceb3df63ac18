"""Names of keys and channels. What belongs together has one hash tag, so that a script finds all of it in one slot of a cluster."""

import re
import zlib
from dataclasses import dataclass

from services.agents.state import SessionKey, TurnKey

PARTITIONS = 256
"""Number of hash tags that sessions are spread over; each has its own index of leases and expiries. A change of it loses every session."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_identifier(text: str) -> bool:
    """Tells whether this can name an agent, a session or a turn: anything else is not looked for."""
    return _IDENTIFIER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """Keys that the sessions of a partition share."""

    leases: str
    """Sorted set of "agent_id/session_id/turn_id" by the end of the lease."""

    expiries: str
    """Sorted set of "agent_id/session_id" by the time when the session expires."""


@dataclass(frozen=True, slots=True)
class TurnKeys:
    """Keys of a turn."""

    turn: str
    """Hash: the turn and its steps."""

    spec: str
    """Hash: what it was asked for; until it ends."""

    events: str
    """Stream: its events."""

    news: str
    """Channel on which those who watch it hear of it."""

    member: str
    """Name of the turn in `leases`."""


class SessionKeys:
    """Keys of a session and its turns."""

    def __init__(self, prefix: str, key: SessionKey) -> None:
        """Makes the names.

        Args:
            prefix: What all keys begin with.
            key: The session.
        """
        self.member = f"{key.agent_id}/{key.session_id}"
        partition = zlib.crc32(self.member.encode()) % PARTITIONS
        shared = partition_keys(prefix, partition)
        self.leases = shared.leases
        self.expiries = shared.expiries
        self.session = f"{prefix}:{{{partition}}}:{self.member}"
        self.turns = f"{self.session}:turns"
        self.news = f"{self.session}:news:"

    def turn(self, turn_id: str) -> TurnKeys:
        """Returns the keys of a turn."""
        turn = f"{self.session}:turn:{turn_id}"
        return TurnKeys(turn, f"{turn}:spec", f"{turn}:events", f"{self.news}{turn_id}", f"{self.member}/{turn_id}")

    def request(self, rpc: str, request_id: str) -> str:
        """Returns the key of what a call with this request id was answered."""
        return f"{self.session}:request:{rpc}:{request_id}"


class Keys:
    """All names."""

    def __init__(self, prefix: str) -> None:
        """Makes the names.

        Args:
            prefix: What all keys begin with.
        """
        self._prefix = prefix
        self._catalogue = f"{prefix}:{{agents}}"
        self.layout = f"{self._catalogue}:layout"
        self.agents = f"{self._catalogue}:list"
        self.deleting = f"{self._catalogue}:deleting"
        self.holders = f"{prefix}:holder:"

    def agent(self, agent_id: str) -> str:
        """Returns the key of an agent."""
        return f"{self._catalogue}:agent:{agent_id}"

    def sessions(self, agent_id: str) -> str:
        """Returns the key of the list of an agent's sessions."""
        return f"{self._catalogue}:sessions:{agent_id}"

    def request(self, rpc: str, agent_id: str, request_id: str) -> str:
        """Returns the key of what a call about agents was answered."""
        return f"{self._catalogue}:request:{rpc}:{agent_id}:{request_id}"

    def session(self, key: SessionKey) -> SessionKeys:
        """Returns the keys of a session."""
        return SessionKeys(self._prefix, key)

    def invocation(self, request_id: str) -> str:
        """Returns the key of what came of a tool's call with this request id; these are spread over the partitions."""
        return f"{self._prefix}:{{{zlib.crc32(request_id.encode()) % PARTITIONS}}}:invocation:{request_id}"

    def partitions(self) -> list[PartitionKeys]:
        """Returns the keys of all partitions."""
        return [partition_keys(self._prefix, partition) for partition in range(PARTITIONS)]


def partition_keys(prefix: str, partition: int) -> PartitionKeys:
    """Returns the keys that the sessions of a partition share."""
    return PartitionKeys(f"{prefix}:{{{partition}}}:leases", f"{prefix}:{{{partition}}}:expiries")


def session_of(member: bytes) -> SessionKey:
    """Returns the session that a member of `expiries` names."""
    agent_id, _, session_id = member.decode().partition("/")
    return SessionKey(agent_id, session_id)


def turn_of(member: bytes) -> TurnKey:
    """Returns the turn that a member of `leases` names."""
    session, _, turn_id = member.rpartition(b"/")
    return TurnKey(session_of(session), turn_id.decode())
