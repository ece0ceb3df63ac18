"""Personalised PageRank by power iteration."""

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-9
_MOST_ROUNDS = 200

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def personalised(edges: Edges, reset: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Returns how often a walk is at each node; the sum is 1.

    The walk begins at a node by `reset`. At each step it goes on along an edge with the chance `damping`, else it begins anew; so it does
    where no edge leads on. Takes time with large graphs: call it in a thread.

    Args:
        edges: From where, where to, and the chance of each; the chances of a node's edges come to 1.
        reset: The chance of each node to begin at; not negative, above 0 somewhere.
        damping: Chance to go on, above 0 and below 1.
    """
    sources, targets, chances = edges
    count = len(reset)
    begin: NDArray[np.float64] = reset / reset.sum()
    leads_on = np.zeros(count, bool)
    leads_on[sources] = True
    rank = begin
    for _ in range(_MOST_ROUNDS):
        flow = np.bincount(targets, weights=rank[sources] * chances, minlength=count)
        stuck = float(rank[~leads_on].sum())
        following: NDArray[np.float64] = damping * (flow + stuck * begin) + (1.0 - damping) * begin
        change = float(np.abs(following - rank).sum())
        rank = following
        if change < _TOLERANCE:
            break
    return rank
