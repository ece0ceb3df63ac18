"""Which replica gets a call: least outstanding of two, or the one that has the prompt's prefix in its cache; never one that is out.

Knows no network: clock and randomness come from outside.
"""

import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import TypeVar

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class BalancingSettings:
    """How calls are spread over the replicas of a provider."""

    load_bound: float = 1.25
    """A prefix's own replica is passed over when it would have more than this multiple of the mean of outstanding calls (Mirrokni, Thorup
    and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018)."""

    spare_calls: int = 4
    """Outstanding calls that the bound always allows, so that a nearly idle provider keeps its caches warm."""

    failures_to_eject: int = 3
    """Consecutive failures after which a replica gets no calls for a while."""

    first_ejection: float = 0.5
    """Seconds of the first ejection; each further one is twice as long."""

    longest_ejection: float = 30.0
    """Longest ejection in seconds."""


class ReplicaState:
    """What balancing knows of one replica."""

    __slots__ = ("address", "ejected_until", "ejections", "failures", "outstanding", "probing", "seed", "usable")

    def __init__(self, address: str) -> None:
        """Makes the state of a replica that is not usable yet.

        Args:
            address: Its address; the same address attracts the same prefixes in every gateway.
        """
        self.address = address
        self.seed = fingerprint(address.encode())
        self.usable = False
        """It is connected and says that it can serve."""
        self.outstanding = 0
        """Calls that run on it."""
        self.failures = 0
        """Failures since the last success."""
        self.ejections = 0
        """Ejections since the last success."""
        self.ejected_until = 0.0
        """No calls before this moment of the clock."""
        self.probing = False
        """A call runs that will tell whether an ejected replica is well again."""

    def recovered(self) -> None:
        """Forgets failures: the replica has said anew that it can serve."""
        self.failures = self.ejections = 0
        self.ejected_until = 0.0
        self.probing = False


R = TypeVar("R", bound=ReplicaState)


class Balancer:
    """Chooses replicas and learns from what becomes of the calls."""

    def __init__(
        self,
        settings: BalancingSettings = BalancingSettings(),
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """Makes a balancer.

        Args:
            settings: How calls are spread.
            clock: Returns seconds that never go back.
            rng: Where random choices come from.
        """
        self._settings = settings
        self._clock = clock
        self._random = (rng or random.Random()).random  # noqa: S311 - no secret

    def choose(self, replicas: Sequence[R], prefix: int | None = None, tried: Collection[R] = ()) -> R | None:
        """Returns the replica for a call, or None when none is in.

        Args:
            replicas: The replicas that serve what the call asks for.
            prefix: Fingerprint of the prompt's prefix. None: only load counts.
            tried: Replicas on which this call has failed.
        """
        inside = [replica for replica in replicas if self._is_in(replica) and replica not in tried]
        if not inside:
            # All that can serve have failed lately: a doubtful replica is better than none.
            inside = [replica for replica in replicas if replica.usable and replica not in tried]
        if len(inside) < 2:
            return inside[0] if inside else None
        if prefix is not None:
            return self._by_prefix(inside, prefix)
        count = len(inside)
        first = int(self._random() * count)
        second = int(self._random() * (count - 1))
        one, other = inside[first], inside[second + (second >= first)]
        return other if other.outstanding < one.outstanding else one

    def started(self, replica: ReplicaState) -> None:
        """Notes that a call begins on a replica."""
        replica.outstanding += 1
        if replica.ejections and not replica.probing:
            replica.probing = True

    def ended(self, replica: ReplicaState, *, failed: bool | None) -> None:
        """Notes what became of a call.

        Args:
            replica: Where it ran.
            failed: The replica did not answer it or said UNAVAILABLE. None: nothing is known, for instance because the caller went away.
        """
        replica.outstanding -= 1
        replica.probing = False
        if failed is None:
            return
        if not failed:
            replica.failures = replica.ejections = 0
            return
        replica.failures += 1
        if replica.failures >= self._settings.failures_to_eject or replica.ejections:
            length = min(self._settings.first_ejection * 2**replica.ejections, self._settings.longest_ejection)
            replica.ejections = min(replica.ejections + 1, 32)
            replica.ejected_until = self._clock() + length

    def _is_in(self, replica: ReplicaState) -> bool:
        if not replica.usable:
            return False
        if not replica.ejections:
            return True
        return not replica.probing and self._clock() >= replica.ejected_until

    def _by_prefix(self, inside: list[R], prefix: int) -> R:
        """Rendezvous hashing (highest random weight) with a bound on the load."""
        total = sum(replica.outstanding for replica in inside) + 1
        bound = ceil(self._settings.load_bound * total / len(inside)) + self._settings.spare_calls
        best = max(inside, key=lambda replica: _mix(replica.seed ^ prefix))
        if best.outstanding < bound:
            return best
        allowed = [replica for replica in inside if replica.outstanding < bound]
        return max(allowed or inside, key=lambda replica: _mix(replica.seed ^ prefix))


def fingerprint(data: bytes) -> int:
    """Returns 64 bits that tell `data` apart, the same in every process."""
    return int.from_bytes(blake2b(data, digest_size=8).digest())


def _mix(value: int) -> int:
    """Spreads the bits of a 64-bit number (the finalizer of splitmix64)."""
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31
