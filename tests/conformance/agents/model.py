"""What a store of turns is, without a store: the whole of its promises on sessions and turns, in memory and in one process."""

from dataclasses import dataclass, field

from caravan.agents.v1 import turns_pb2

RUNNING = turns_pb2.TURN_STATUS_IN_PROGRESS
AWAITING = turns_pb2.TURN_STATUS_AWAITING_INPUT


@dataclass
class ModelTurn:
    """A turn as every reader must see it."""

    turn_id: str
    words: str
    keep: bool
    events: list[str] = field(default_factory=lambda: ["turn_start"])
    steps: dict[str, str] = field(default_factory=dict)
    status: int = RUNNING
    revision: int = 1
    token: int = 1
    held: bool = True
    cancelled: bool = False

    @property
    def ended(self) -> bool:
        return self.status not in (RUNNING, AWAITING)

    @property
    def can_be_taken(self) -> bool:
        return (self.status == RUNNING and not self.held) or (self.status == AWAITING and self.cancelled)

    def may_write(self, token: int) -> bool:
        """Tells whether the holder of this token still may: giving a lease up is a promise of its holder's, not of the store's."""
        return self.status == RUNNING and self.token == token

    def write(self, steps: dict[str, str], events: list[str], status: int) -> None:
        self.steps.update(steps)
        self.events += events
        self.revision += 1
        self.status = status
        self.held = status == RUNNING

    def take(self) -> None:
        if self.status == AWAITING:
            self.revision += 1
        self.status = RUNNING
        self.token += 1
        self.held = True


@dataclass
class ModelSession:
    """A session as every reader must see it."""

    revision: int = 1
    turns: list[ModelTurn] = field(default_factory=list)
    requests: dict[str, tuple[str, ModelTurn]] = field(default_factory=dict)
    deleted: bool = False

    @property
    def current(self) -> ModelTurn | None:
        return next((turn for turn in self.turns if not turn.ended), None)

    @property
    def listed(self) -> list[ModelTurn]:
        return [turn for turn in self.turns if turn.keep or not turn.ended]

    def refusal(self, words: str, request_id: str) -> str:
        """Why a turn cannot begin: an error's reason, "repeated", or nothing."""
        if request_id in self.requests:
            return "repeated" if self.requests[request_id][0] == words else "REQUEST_ID_REUSED"
        if self.deleted:
            return "NOT_FOUND"
        if self.current is not None:
            return "TURN_AWAITING_INPUT" if self.current.status == AWAITING else "SESSION_BUSY"
        return ""
