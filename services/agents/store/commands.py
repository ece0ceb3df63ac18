"""Commands to the store: where they go, how they are tried again, what they wait for, and what the caller hears when they fail."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import structlog
from redis.exceptions import AskError, MovedError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from services.agents.ports import StoreAwayError
from services.agents.store.nodes import Node, Topology
from services.agents.store.scripts import scripts
from services.agents.store.settings import StoreSettings
from services.core.errors import InternalError
from services.core.redis.failures import PASSING, REFUSED, StoreFailures
from services.core.redis.scripts import Command

_log = structlog.get_logger(__name__)

FAILURES = StoreFailures("the agents' store", refused_reason="AGENTS_STORE")
"""What callers hear when the store fails."""

_REDIRECTIONS = 16
_FIRST_DELAY, _LONGEST_DELAY = 0.02, 0.5
_BARRIER_MILLISECONDS = 60_000


class _NotDurableError(RedisError):
    """A write happened, but is not yet where it must be."""


class Commands:
    """Sends commands. All of them may happen twice without harm: what has no answer is sent again."""

    def __init__(self, settings: StoreSettings, topology: Topology) -> None:
        """Makes it.

        Args:
            settings: How long to try, and what a write waits for.
            topology: Where commands go.
        """
        self._settings = settings
        self._topology = topology
        milliseconds = int(settings.durability_timeout_seconds * 1000)
        self._replicas = settings.durability_replicas
        self._wait: Command | None = {
            "none": None,
            "wait": ("WAIT", self._replicas, milliseconds),
            "aof": ("WAITAOF", 1, self._replicas, milliseconds),
        }[settings.durability]

    async def run(self, key: str, command: Command, *, write: bool = False) -> Any:
        """Runs one command.

        Args:
            key: One of its keys.
            command: The command.
            write: It changes something that must last.

        Raises:
            StoreAwayError: The store does not answer, or the write is not durable, for longer than the settings allow.
            InternalError: It refuses the command.
        """
        return (await self.run_all(key, [command], write=write))[0]

    async def run_all(self, key: str, commands: Sequence[Command], *, write: bool = False) -> list[Any]:
        """Runs commands of one slot in one round trip; arguments and errors as for `run`."""
        ends, delay, redirections = 0.0, _FIRST_DELAY, 0
        target: Node | None = None
        load = again = False
        while True:
            node, asking, target = target or self._topology.node(key), target is not None, None
            try:
                if load:
                    await node.send([("SCRIPT", "LOAD", script.text) for script in scripts().values()])
                return await self._attempt(node, key, commands, asking=asking, write=write, again=again)
            except (NoScriptError, MovedError, AskError) as error:
                redirections += 1
                if redirections > _REDIRECTIONS:
                    raise FAILURES.refused(error) from error
                load = isinstance(error, NoScriptError)
                target = node if load and asking else self._redirected(error)
            except REFUSED as error:
                raise FAILURES.refused(error) from error
            except (*PASSING, _NotDurableError) as error:
                # Only when it is the first time that something is in the way: most calls need no clock.
                ends = ends or time.monotonic() + self._settings.retry_seconds
                if time.monotonic() + delay > ends:
                    raise _away(error) from error
                _log.warning("store_retry", error=type(error).__name__, node=node.name)
                if isinstance(error, ReadOnlyError):
                    # It was the primary: behind its name there may be another one by now.
                    await node.drop_idle()
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads retries
                delay = min(2 * delay, _LONGEST_DELAY)
                again = True
                await self._topology.refresh()
            except RedisError as error:
                raise FAILURES.refused(error) from error

    async def run_at(self, node: Node, command: Command) -> Any:
        """Runs one command at a node, without trying again.

        Raises:
            StoreAwayError: It does not answer.
            InternalError: It refuses the command.
        """
        try:
            (reply,) = await node.send([command])
        except REFUSED as error:
            raise FAILURES.refused(error) from error
        except PASSING as error:
            raise _away(error) from error
        if isinstance(reply, ResponseError):
            raise FAILURES.refused(reply) from reply
        return reply

    async def run_each(self, calls: Sequence[tuple[str, Command]]) -> list[Any]:
        """Runs commands of different slots, in one round trip to each node.

        Args:
            calls: Each command with one of its keys. What they change need not last.

        Raises:
            StoreAwayError: The store does not answer for longer than the settings allow.
            InternalError: It refuses a command.
        """
        groups: dict[Node, list[int]] = defaultdict(list)
        for place, (key, _) in enumerate(calls):
            groups[self._topology.node(key)].append(place)
        replies: list[Any] = [None] * len(calls)

        async def run(node: Node, places: list[int]) -> None:
            try:
                answers = await node.send([calls[place][1] for place in places])
            except (RedisError, OSError) as error:
                answers = [error] * len(places)
            for place, answer in zip(places, answers, strict=True):
                failed = isinstance(answer, Exception)
                replies[place] = await self.run(*calls[place]) if failed else answer

        await asyncio.gather(*(run(node, places) for node, places in groups.items()))
        return replies

    async def _attempt(
        self, node: Node, key: str, commands: Sequence[Command], *, asking: bool, write: bool, again: bool
    ) -> list[Any]:
        sent: list[Command] = []
        for command in commands:
            sent += [("ASKING",), command] if asking else [command]
        wait = self._wait if write else None
        if wait is not None:
            if again:
                # A server waits for what this connection wrote: when the write itself happened on another one, for this mark after it.
                sent.append(("SET", _barrier(key), "", "PX", _BARRIER_MILLISECONDS))
            sent.append(wait)
        replies = await node.send(sent)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        if wait is not None:
            self._check_durable(replies[-1])
        return replies[1 : 2 * len(commands) : 2] if asking else replies[: len(commands)]

    def _check_durable(self, reply: Any) -> None:
        local, replicas = (1, reply) if isinstance(reply, int) else reply
        if local < 1 or replicas < self._replicas:
            message = f"{replicas} of {self._replicas} replicas have the write"
            raise _NotDurableError(message)

    def _redirected(self, error: ResponseError) -> Node | None:
        """Takes in that another node has the slot; returns it when that is for once."""
        if isinstance(error, AskError):
            return self._topology.at(error.host, error.port)
        if isinstance(error, MovedError):
            if not self._settings.cluster:
                message = "the server is a node of a Redis Cluster: set `cluster` in the store's settings"
                raise InternalError(message, reason="AGENTS_STORE") from error
            self._topology.moved(error.slot_id, error.host, error.port)
        return None


def _barrier(key: str) -> str:
    """A key in the same slot."""
    return f"{key.partition('}')[0]}}}:barrier"


def _away(error: Exception) -> StoreAwayError:
    if isinstance(error, _NotDurableError):
        message = (
            f"the agents' store did not confirm the write in time ({error}); repeat the call, it does nothing twice"
        )
        return StoreAwayError(message, reason="STORE_NOT_DURABLE", retry_after=1.0)
    told = FAILURES.unavailable()
    return StoreAwayError(told.message, reason=told.reason, retry_after=told.retry_after)
