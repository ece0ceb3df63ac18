"""All of the agents service's state in one Redis or one Redis Cluster."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from weakref import WeakValueDictionary

import structlog

from caravan.agents.v1 import events_pb2
from services.agents.ports import Store
from services.agents.state import TurnKey
from services.agents.store.commands import FAILURES, Commands
from services.agents.store.context import Context, check_session
from services.agents.store.dooming import Dooming
from services.agents.store.invocations import RedisInvocations
from services.agents.store.keys import Keys, is_identifier
from services.agents.store.nodes import Topology
from services.agents.store.sessions import RedisSessions
from services.agents.store.settings import StoreSettings
from services.agents.store.subscriptions import Subscriptions
from services.agents.store.turn_reading import no_turn
from services.agents.store.turns import RedisTurns
from services.agents.store.watching import Watching
from services.core.errors import FailedPreconditionError

_log = structlog.get_logger(__name__)

LAYOUT = "1"
"""Names the keys and fields as docs/agents.md lists them. A later layout comes with a program that rewrites this one."""


class RedisStore(RedisSessions, RedisTurns, RedisInvocations, Store):
    """Agents, sessions and turns; calls of tools that are to be repeatable."""

    def __init__(self, settings: StoreSettings) -> None:
        """Makes a store; connects with `start`.

        Args:
            settings: Where Redis is, and what is promised.
        """
        self._topology = Topology(settings)
        keys = Keys(settings.key_prefix)
        self._context = Context(settings, Commands(settings, self._topology), keys, os.urandom(8).hex())
        self._dooming = Dooming(self._context)
        self._subscriptions = Subscriptions(self._topology, self._hear)
        self._watching = Watching(self._context, self._subscriptions)
        self._held = WeakValueDictionary()
        self._writes = set()
        self._own_channel = f"{keys.holders}{self._context.holder}"
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See Store."""
        await self._topology.refresh()
        await self._check_layout()
        await self._check_eviction()
        await self._subscriptions.add(self._own_channel, sharded=False)
        self._poller = asyncio.create_task(self._poll(), name="watch-poll")

    async def close(self) -> None:
        """See Store."""
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller
        self._watching.close()
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._subscriptions.close()
        await self._topology.close()

    async def ping(self) -> None:
        """See Store."""
        await self._context.commands.run(self._context.keys.layout, ("PING",))

    async def watch(self, key: TurnKey, from_sequence: int = 0) -> AsyncIterator[events_pb2.TurnEvent]:
        """See TurnStore."""
        check_session(key.session)
        if not is_identifier(key.turn_id):
            raise no_turn(key)
        async for event in self._watching.watch(key, from_sequence):
            yield event

    async def _check_layout(self) -> None:
        key = self._context.keys.layout
        _, found = await self._context.commands.run_all(key, [("SET", key, LAYOUT, "NX"), ("GET", key)], write=True)
        if found.decode() != LAYOUT:
            message = f"the agents' store has layout {found.decode()!r}, this release reads {LAYOUT!r}: use the release that fits"
            raise FailedPreconditionError(message, reason="STORE_LAYOUT")

    async def _check_eviction(self) -> None:
        for node in self._topology.nodes:
            reply = await self._context.commands.run_at(node, ("INFO", "memory"))
            values = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
            limit, policy = int(values.get("maxmemory", 0)), values.get("maxmemory_policy", "noeviction")
            FAILURES.check_eviction(limit, policy, node.name)

    def _hear(self, channel: str, payload: bytes | None) -> None:
        if channel != self._own_channel:
            self._watching.hear(channel, payload)
        elif payload is not None:
            self.hear_of_lease(payload)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._context.settings.poll_seconds)
            await self._watching.look_at_all()
