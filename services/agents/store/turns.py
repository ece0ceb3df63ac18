"""Turns in Redis: how they change and end. Each write is one script, one round trip."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from caravan.agents.v1 import events_pb2, turns_pb2
from services.agents.ports import LeaseLostError, TurnStore
from services.agents.state import Change, Lease, Request, TurnKey
from services.agents.store.context import digest_of, operation, reused
from services.agents.store.keys import turn_of
from services.agents.store.turn_arguments import check_size, events_of, state_of, steps_of
from services.agents.store.turn_reading import no_turn
from services.agents.store.turn_starts import TurnStarts, learn, stale


class RedisTurns(TurnStarts, TurnStore):
    """Turns."""

    _writes: set[asyncio.Task[None]]

    @property
    def lease_seconds(self) -> float:
        """See TurnStore."""
        return self._context.settings.lease_seconds

    async def heartbeat(self, lease: Lease) -> None:
        """See TurnStore."""
        # Not in the order of writes: a lease must live while a long write is on its way.
        outcome, *rest = await self._renew(lease, self._lease_milliseconds)
        if outcome != b"held":
            raise self._lost(lease)
        learn(lease, *rest)

    async def release(self, lease: Lease) -> None:
        """See TurnStore."""
        async with lease.writing:
            await self._renew(lease, 0)
        self._lose(lease)

    def leave(self, lease: Lease) -> None:
        """See TurnStore."""
        self._watching.leave(lease)

    async def append(self, lease: Lease, events: Sequence[events_pb2.TurnEventPayload]) -> None:
        """See TurnStore."""
        if events:
            await self._unbroken(self._append(lease, events))

    async def commit(self, lease: Lease, change: Change) -> None:
        """See TurnStore."""
        await self._unbroken(self._commit(lease, change))

    async def _append(self, lease: Lease, events: Sequence[events_pb2.TurnEventPayload]) -> None:
        context, keys, names = self._context, *self._names(lease.turn)
        async with lease.writing:
            arguments = [
                operation(),
                lease.token,
                lease.last_sequence,
                names.member,
                self._lease_milliseconds,
                context.settings.max_events,
                names.news,
                *events_of(context.codec, events, lease),
            ]
            check_size(arguments, context.settings.max_write_bytes)
            call = context.scripts["append"].call([keys.session, names.turn, names.events, keys.leases], *arguments)
            outcome, *rest = await context.commands.run(keys.session, call, write=True)
            if outcome != b"done":
                raise self._lost(lease)
            sequence, at, reason = rest
            lease.last_sequence = int(sequence)
            self._show(lease, events, int(at))
        learn(lease, at, reason)

    async def _commit(self, lease: Lease, change: Change) -> None:
        context, keys, names = self._context, *self._names(lease.turn)
        async with lease.writing:
            arguments = [
                operation(),
                lease.token,
                lease.revision,
                lease.last_sequence,
                keys.member,
                lease.turn.turn_id,
                self._lease_milliseconds,
                context.settings.max_events,
                int(context.settings.events_seconds * 1000),
                names.news,
                change.status,
                *state_of(context.codec, change),
                *steps_of(context.codec, change.steps),
                *events_of(context.codec, change.events, lease, lease.revision + 1),
            ]
            check_size(arguments, context.settings.max_write_bytes)
            call = context.scripts["commit"].call(
                [keys.session, keys.turns, names.turn, names.spec, names.events, keys.leases, keys.expiries],
                *arguments,
            )
            outcome, *rest = await context.commands.run(keys.session, call, write=True)
            if outcome != b"done":
                raise self._lost(lease)
            revision, sequence, at, reason = rest
            lease.revision, lease.last_sequence = int(revision), int(sequence)
            self._show(lease, change.events, int(at))
        learn(lease, at, reason)
        if change.status != turns_pb2.TURN_STATUS_IN_PROGRESS:
            self.leave(lease)

    async def cancel_turn(
        self, key: TurnKey, reason: str = "", revision: int | None = None, request: Request | None = None
    ) -> turns_pb2.TurnStatus.ValueType:
        """See TurnStore."""
        context, keys, names = self._context, *self._names(key)
        record = keys.request("CancelTurn", f"{key.turn_id}:{request.request_id}" if request else "")
        call = context.scripts["cancel_turn"].call(
            [keys.session, names.turn, keys.leases, record],
            digest_of(request),
            "" if revision is None else revision,
            names.member,
            reason,
            context.keys.holders,
        )
        outcome, *rest = await context.commands.run(keys.session, call, write=True)
        match outcome:
            case b"absent":
                raise no_turn(key)
            case b"reused":
                raise reused()
            case b"stale":
                raise stale(key, int(rest[0]), revision)
            case _:
                return turns_pb2.TurnStatus.ValueType(int(rest[0]))

    async def orphaned_turns(self, limit: int) -> list[TurnKey]:
        """See TurnStore."""
        context = self._context
        leases = [partition.leases for partition in context.keys.partitions()]
        due = await context.commands.run_each([(key, context.scripts["due"].call([key], limit)) for key in leases])
        return [turn_of(member) for members in due for member in members][:limit]

    def hear_of_lease(self, payload: bytes) -> None:
        """Takes what another process has to say about a turn that runs here: "cancel <turn> <reason>" or "gone <turn>"."""
        what, _, rest = payload.decode().partition(" ")
        member, _, reason = rest.partition(" ")
        lease = self._held.get(member)
        if lease is None:
            return
        if what == "gone":
            self._lose(lease)
        else:
            lease.cancel_reason = lease.cancel_reason or reason
            lease.cancel.set()

    async def _unbroken(self, write: Coroutine[Any, Any, None]) -> None:
        """Lets a write go on to its end when who waits for it is cancelled: the lease must know what came of it."""
        task = asyncio.create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._written)
        await asyncio.shield(task)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            # Raised to who waits, if anybody does.
            task.exception()

    async def _renew(self, lease: Lease, milliseconds: int) -> list[Any]:
        keys, names = self._names(lease.turn)
        call = self._context.scripts["heartbeat"].call(
            [keys.session, names.turn, keys.leases], lease.token, names.member, milliseconds
        )
        reply: list[Any] = await self._context.commands.run(keys.session, call)
        return reply

    def _lost(self, lease: Lease) -> LeaseLostError:
        self._lose(lease)
        message = f"turn {lease.turn.turn_id!r} is run by another process now, or was deleted"
        return LeaseLostError(message, reason="LEASE_LOST", metadata={"turn_id": lease.turn.turn_id})

    def _lose(self, lease: Lease) -> None:
        lease.lost.set()
        self.leave(lease)
