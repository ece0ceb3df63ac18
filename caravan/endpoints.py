"""Where replicas are, for clients that dial them themselves: answers of RoutesService.Resolve, kept as long as they may be."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from caravan.methods import Method
from caravan.registry.v1 import routes_pb2

Key: TypeAlias = tuple[int, str, str]
"""Kind of the resource, its identifier, service."""


@dataclass(frozen=True)
class _Known:
    addresses: tuple[str, ...]
    until: float


class Endpoints:
    """What is known of the replicas. Choosing prefers the less busy of two, by this client's own calls."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, chooser: random.Random | None = None) -> None:
        """Starts with nothing.

        Args:
            clock: Seconds on a monotonic clock.
            chooser: Source of randomness.
        """
        self._clock = clock
        self._random = chooser or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._known: dict[Key, _Known] = {}
        self._running: Counter[str] = Counter()

    def choose(self, key: Key) -> str | None:
        """An address to dial; None: nothing is known (any more), resolve first.

        Args:
            key: What is called.
        """
        known = self._known.get(key)
        if known is None or known.until <= self._clock() or not known.addresses:
            return None
        pair = self._random.sample(known.addresses, min(2, len(known.addresses)))
        return min(pair, key=lambda address: self._running[address])

    def learn(self, key: Key, answer: routes_pb2.ResolveResponse) -> None:
        """Keeps an answer for as long as it says.

        Args:
            key: What was asked for.
            answer: The gateway's answer.
        """
        addresses = tuple(endpoint.address for endpoint in answer.endpoints if endpoint.healthy)
        self._known[key] = _Known(addresses, self._clock() + answer.ttl.ToTimedelta().total_seconds())

    def forget(self, key: Key) -> None:
        """Drops what is known: an attempt has shown that it is out of date.

        Args:
            key: What was called.
        """
        self._known.pop(key, None)

    @contextmanager
    def running(self, address: str) -> Iterator[None]:
        """Counts a call for as long as it runs.

        Args:
            address: The replica.
        """
        self._running[address] += 1
        try:
            yield
        finally:
            self._running[address] -= 1


def key_of(method: Method, resource_id: str) -> Key | None:
    """What to resolve for a call; None: the gateway answers it itself, or the RPC has no route.

    Args:
        method: The RPC.
        resource_id: The resource that the request names.
    """
    routing = method.routing
    if routing.gateway:
        return None
    if routing.resource:
        return (routing.resource, resource_id, "") if resource_id else None
    return (0, "", method.service)


def resolve_request(key: Key) -> routes_pb2.ResolveRequest:
    """The question to the gateway.

    Args:
        key: What is to be called.
    """
    kind, resource_id, service = key
    return routes_pb2.ResolveRequest(kind=kind, resource_id=resource_id, service=service)  # type: ignore[arg-type]
