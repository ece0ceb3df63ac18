"""A process that writes steps into a turn for as long as it lives: `python -m tests.faults.agents_store_writer URL PREFIX AGENT SESSION`.

It prints the turn's identifier, and a line for every step that the store has acknowledged.
"""

import asyncio
import sys

from services.agents.state import Change, SessionKey
from services.agents.store.redis_store import RedisStore
from services.agents.store.settings import StoreSettings
from tests.conformance.agents.building import complete, running, step


async def write(url: str, prefix: str, agent_id: str, session_id: str) -> None:
    store = RedisStore(StoreSettings(redis_url=url, key_prefix=prefix, lease_seconds=0.5))
    await store.start()
    lease = await running(store, SessionKey(agent_id, session_id))
    print(lease.turn.turn_id, flush=True)
    number = 0
    while True:
        await store.commit(lease, Change([step(f"s{number}")], [complete(f"s{number}")]))
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:]))
