"""The graph of a bank in memory: entities and passages as nodes, relations and mentions as edges."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caravan.memory.v1 import graph_pb2
from services.memory.graph.names import Names
from services.memory.records import GraphSnapshot


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Numbers grouped by node."""

    starts: NDArray[np.int64]
    """Where each node's begin in `values`, and the end of the last."""

    values: NDArray[np.int64]
    """The numbers."""

    def __getitem__(self, node: int) -> Sequence[int]:
        """Returns the numbers of a node."""
        numbers: list[int] = self.values[self.starts[node] : self.starts[node + 1]].tolist()
        return numbers


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A graph as searches need it. Nodes are numbered: first the entities, then the passages."""

    revision: int
    """Revision of the graph in the store."""

    valid_until: float | None
    """When the first of it expires, in seconds since the epoch. None: never."""

    nodes: dict[str, int]
    """Number of an entity by its key."""

    entities: Sequence[graph_pb2.Entity]
    """The entities."""

    relations: Sequence[graph_pb2.Relation]
    """The relations."""

    ends: NDArray[np.int64]
    """Subjects and objects of the relations, shape (relations, 2)."""

    outgoing: Rows
    """Relations by their subject."""

    incoming: Rows
    """Relations by their object."""

    passages: NDArray[np.int64]
    """The store's keys of the passages that mention entities."""

    passage_nodes: dict[int, int]
    """Number of a passage by its key."""

    edges: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
    """From where, where to, and with which chance a walk goes; each edge both ways. A relation counts by its weight, a mention by the
    entity's specificity, so that a passage leads on to what few others tell of."""

    specificity: NDArray[np.float64]
    """1 / number of passages that mention an entity: what is everywhere says little (HippoRAG's node specificity)."""

    names: Names
    """Finds the entities' names in texts."""

    vectors: NDArray[np.float32]
    """Unit vectors of entities, shape (entities with a vector, dimension)."""

    vector_nodes: NDArray[np.int64]
    """Whose they are."""

    @property
    def size(self) -> int:
        """How much it holds: nodes and edges."""
        return len(self.entities) + len(self.passages) + len(self.edges[0])


def network_of(snapshot: GraphSnapshot) -> Network:
    """Builds a network. Takes time with large graphs: call it in a thread.

    Args:
        snapshot: The graph as the store has it.
    """
    nodes = {fact.key: number for number, fact in enumerate(snapshot.entities)}
    known = [fact for fact in snapshot.relations if fact.subject_key in nodes and fact.object_key in nodes]
    pairs = [(nodes[fact.subject_key], nodes[fact.object_key]) for fact in known]
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    mentions = [(chunk, nodes[key]) for chunk, key in snapshot.mentions if key in nodes]
    passages = list(dict.fromkeys(chunk for chunk, _ in mentions))
    passage_nodes = {chunk: len(nodes) + number for number, chunk in enumerate(passages)}
    links = np.array([(passage_nodes[chunk], node) for chunk, node in mentions], np.int64).reshape(-1, 2)
    weights = [fact.relation.weight if fact.relation.HasField("weight") else 1.0 for fact in known]
    specificity = 1.0 / np.maximum(np.bincount(links[:, 1], minlength=len(nodes)), 1)
    vectors = [(nodes[fact.key], fact.vector) for fact in snapshot.entities if fact.vector is not None]
    return Network(
        revision=snapshot.revision,
        valid_until=snapshot.valid_until,
        nodes=nodes,
        entities=[fact.entity for fact in snapshot.entities],
        relations=[fact.relation for fact in known],
        ends=ends,
        outgoing=_rows(ends[:, 0], len(nodes)),
        incoming=_rows(ends[:, 1], len(nodes)),
        passages=np.array(passages, np.int64),
        passage_nodes=passage_nodes,
        edges=_edges(
            np.concatenate([ends, links]),
            np.concatenate([weights, specificity[links[:, 1]]]),
            len(nodes) + len(passages),
        ),
        specificity=specificity,
        names=Names(nodes),
        vectors=_unit([vector for _, vector in vectors]),
        vector_nodes=np.array([node for node, _ in vectors], np.int64),
    )


def _rows(nodes: NDArray[np.int64], count: int) -> Rows:
    order = np.argsort(nodes, kind="stable")
    return Rows(np.searchsorted(nodes[order], np.arange(count + 1)), order)


def _edges(
    both: NDArray[np.int64], weight: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    # A relation of an entity with itself leads nowhere.
    apart = both[:, 0] != both[:, 1]
    both, weight = both[apart], weight[apart]
    sources = np.concatenate([both[:, 0], both[:, 1]])
    targets = np.concatenate([both[:, 1], both[:, 0]])
    weight = np.concatenate([weight, weight])
    strength = np.bincount(sources, weights=weight, minlength=count)
    return sources, targets, weight / strength[sources]


def _unit(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    if not vectors:
        return np.zeros((0, 0), np.float32)
    stacked = np.stack(vectors).astype(np.float32)
    unit: NDArray[np.float32] = stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-12)
    return unit
