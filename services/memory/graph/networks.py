"""The networks that are in memory: one for each bank that was searched of late."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from services.memory.banks import Bank
from services.memory.graph.network import Network, network_of
from services.memory.ports import Store

_MOST_NETWORKS = 64
# Nodes and edges of all networks that are kept; some 100 bytes each, and what the entities say.
_MOST_SIZE = 4_000_000


@dataclass(slots=True, eq=False)
class _Kept:
    """One bank's network."""

    bank: Bank
    network: Network | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Networks:
    """Networks by bank, as new as the store's graphs. Searches of one bank share one, and wait for it together."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """Begins with none.

        Args:
            store: Where the graphs are kept.
            clock: Seconds since the epoch.
        """
        self._store = store
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def get(self, bank: Bank) -> Network:
        """Returns the network of a bank, with everything that was acknowledged before the call.

        Args:
            bank: The bank, a graph bank.
        """
        kept = self._kept.get(bank.store_id)
        if kept is None or kept.bank is not bank:
            # A bank that was registered anew may be another one under the same name.
            kept = self._kept[bank.store_id] = _Kept(bank)
        self._kept.move_to_end(bank.store_id)
        async with kept.lock:
            revision = await self._store.graph_revision(bank.store_id)
            network = kept.network
            if network is None or network.revision != revision or self._is_over(network):
                snapshot = await self._store.load_graph(bank.store_id)
                network = kept.network = await asyncio.to_thread(network_of, snapshot)
        self._trim()
        return network

    def _is_over(self, network: Network) -> bool:
        return network.valid_until is not None and network.valid_until <= self._clock()

    def _trim(self) -> None:
        """Lets go of what was not asked for the longest; the newest stays whatever its size."""
        size = sum(kept.network.size for kept in self._kept.values() if kept.network is not None)
        while len(self._kept) > 1 and (len(self._kept) > _MOST_NETWORKS or size > _MOST_SIZE):
            _, gone = self._kept.popitem(last=False)
            size -= gone.network.size if gone.network is not None else 0
