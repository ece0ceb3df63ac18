"""The port of calls of tools that are to be repeatable: who makes a call, and what came of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from google.rpc import status_pb2

from caravan.agents.v1 import tool_runtime_pb2
from services.agents.state import Request


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make a call."""

    request: Request
    """What makes it repeatable."""

    token: str
    """Tells this claim from others on the same call."""

    attempts: int
    """Which claim on the call this is. More than 1: whoever had it before never said what came of it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of a call. None of both: it was too large to keep."""

    response: tool_runtime_pb2.InvokeToolResponse | None = None
    """Its response."""

    error: status_pb2.Status | None = None
    """Its error."""


@dataclass(frozen=True, slots=True)
class Underway:
    """Somebody makes the call now."""

    seconds: float
    """When that can be known to have failed, unless it is renewed."""


class InvocationStore(ABC):
    """Calls of tools with a `request_id`. Every method may be repeated when its outcome is not known."""

    @property
    @abstractmethod
    def lease_seconds(self) -> float:
        """How long a claim lasts that is not renewed."""

    @abstractmethod
    async def claim_invocation(self, request: Request) -> Claim | Kept | Underway:
        """Claims a call, unless somebody has, or it was made: at most one caller holds it at a time.

        Args:
            request: What makes it repeatable.

        Raises:
            InvalidArgumentError: The request id was used for something else.
        """

    @abstractmethod
    async def renew_invocation(self, claim: Claim) -> bool:
        """Renews a claim; returns False when it is somebody else's."""

    @abstractmethod
    async def settle_invocation(self, claim: Claim, kept: Kept) -> bool:
        """Keeps what came of a call for 24 hours; what is larger than the store's limit is only known to have been.

        Returns:
            False when the claim is somebody else's: then nothing is kept.
        """

    @abstractmethod
    async def release_invocation(self, claim: Claim, *, forget: bool) -> None:
        """Gives a claim up; does nothing when it is somebody else's.

        Args:
            claim: The claim.
            forget: The call had no effect, or may have it twice: the next claim is the first one.
        """
