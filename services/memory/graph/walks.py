"""Neighbours and paths in a network."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from services.memory.graph.network import Network

# Steps that the search of paths takes at most: between two hubs there are more paths than anybody can walk.
_MOST_STEPS = 200_000

Path: TypeAlias = list[tuple[int | None, int]]
"""Entities, each with the relation that leads to it; none leads to the first."""


@dataclass(frozen=True, slots=True)
class Way:
    """Which relations are followed, and how."""

    types: Collection[str] = ()
    """Types of relation. Empty: every type."""

    outgoing: bool = True
    """From subject to object."""

    incoming: bool = True
    """From object to subject."""

    def back(self) -> "Way":
        """Returns the way back."""
        return Way(self.types, self.incoming, self.outgoing)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is around an entity."""

    neighbors: Sequence[tuple[int, int]]
    """Entities and their distance, nearest first."""

    relations: Sequence[int]
    """The relations that lead to them, each from a nearer to a farther one."""

    truncated: bool
    """There are more."""


def surroundings(network: Network, start: int, way: Way, depth: int, limit: int) -> Surroundings:
    """Returns the entities around one, nearest first, equally near ones in the order of their keys.

    Args:
        network: The graph.
        start: The entity.
        way: What is followed.
        depth: Most relations between.
        limit: Most entities.
    """
    distances = {start: 0}
    layer = [start]
    neighbors: list[tuple[int, int]] = []
    truncated = False
    for distance in range(1, depth + 1):
        reached = sorted({other for node in layer for _, other in _steps(network, node, way)} - distances.keys())
        room = limit - len(neighbors)
        truncated = len(reached) > room
        layer = reached[:room]
        distances.update(dict.fromkeys(layer, distance))
        neighbors += [(node, distance) for node in layer]
        if truncated or not layer:
            break
    relations: dict[int, None] = {}
    for node, distance in distances.items():
        for relation, other in _steps(network, node, way):
            if distances.get(other) == distance + 1:
                relations[relation] = None
    return Surroundings(neighbors, list(relations), truncated)


def paths(network: Network, source: int, target: int, way: Way, length: int, limit: int) -> list[Path]:
    """Returns the shortest paths between two entities that come by no entity twice, shortest first.

    Of several relations between the same two entities a path shows the strongest.

    Args:
        network: The graph.
        source: Where to start.
        target: What to reach.
        way: What is followed.
        length: Most relations of a path.
        limit: Most paths.
    """
    return list(islice(_PathSearch(network, target, way, length).shortest_first(source), limit))


class _PathSearch:
    """Finds the paths to one entity by going deeper and deeper, and only where the entity is near enough."""

    def __init__(self, network: Network, target: int, way: Way, length: int) -> None:
        self._network = network
        self._target = target
        self._way = way
        self._length = length
        self._left = _distances(network, target, way.back(), length)
        self._steps = _MOST_STEPS

    def shortest_first(self, source: int) -> Iterator[Path]:
        """Yields the paths from an entity."""
        if source not in self._left:
            return
        longest = 0 if source == self._target else self._length
        for length in range(self._left[source], longest + 1):
            yield from self._onward([(None, source)], length)

    def _onward(self, path: Path, length: int) -> Iterator[Path]:
        """Yields the paths that go on from one and have exactly so many relations."""
        at = path[-1][1]
        if at == self._target:
            if len(path) - 1 == length:
                yield path
            return
        visited = {node for _, node in path}
        for other, relation in _strongest(self._network, at, self._way).items():
            self._steps -= 1
            if self._steps <= 0:
                return
            if other not in visited and other in self._left and len(path) + self._left[other] <= length:
                yield from self._onward([*path, (relation, other)], length)


def _distances(network: Network, start: int, way: Way, most: int) -> dict[int, int]:
    """Returns the number of relations to each entity that is near enough."""
    distances = {start: 0}
    pending = deque([start])
    while pending:
        node = pending.popleft()
        if distances[node] == most:
            break
        for _, other in _steps(network, node, way):
            if other not in distances:
                distances[other] = distances[node] + 1
                pending.append(other)
    return distances


def _strongest(network: Network, node: int, way: Way) -> dict[int, int]:
    """Returns the entities next to one, in the order of their keys, with the strongest relation to each."""
    best: dict[int, int] = {}
    for relation, other in _steps(network, node, way):
        if other not in best or _weight(network, relation) > _weight(network, best[other]):
            best[other] = relation
    return dict(sorted(best.items()))


def _weight(network: Network, relation: int) -> float:
    told = network.relations[relation]
    return told.weight if told.HasField("weight") else 1.0


def _steps(network: Network, node: int, way: Way) -> Iterator[tuple[int, int]]:
    """Yields the relations that lead on from an entity, and where to."""
    if way.outgoing:
        for relation in network.outgoing[node]:
            if not way.types or network.relations[relation].relation_type in way.types:
                yield relation, int(network.ends[relation, 1])
    if way.incoming:
        for relation in network.incoming[node]:
            if not way.types or network.relations[relation].relation_type in way.types:
                yield relation, int(network.ends[relation, 0])
