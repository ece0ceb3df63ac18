"""The end of sessions: first nobody sees them any more, then what they hold is removed, piece by piece."""

import asyncio
from collections.abc import Sequence

from services.agents.state import STATELESS, DoomedSession, SessionKey
from services.agents.store.context import Context
from services.agents.store.keys import session_of

_BATCH = 100


class Dooming:
    """Dooms and purges sessions."""

    def __init__(self, context: Context) -> None:
        """Makes it.

        Args:
            context: What all parts share.
        """
        self._context = context

    async def doom(
        self,
        key: SessionKey,
        operation: str,
        *,
        record: tuple[str, str] = ("", ""),
        revision: int | None = None,
        force: bool = False,
    ) -> list[bytes]:
        """Dooms a session; returns what the script says.

        Args:
            key: The session.
            operation: Tells this call from others.
            record: Request id and digest, or nothing.
            revision: Revision that it must have. None: any.
            force: Also when there is none, so that none can come any more.
        """
        context = self._context
        keys = context.keys.session(key)
        command = context.scripts["doom_session"].call(
            [keys.session, keys.leases, keys.expiries, keys.request("DeleteSession", record[0])],
            operation,
            record[1],
            "" if revision is None else revision,
            keys.member,
            context.keys.holders,
            keys.news,
            int(force),
        )
        reply: list[bytes] = await context.commands.run(keys.session, command, write=True)
        return reply

    async def doom_all(self, agent_id: str) -> None:
        """Dooms all sessions of an agent that is being deleted, and forgets their list."""
        context = self._context
        sessions = context.keys.sessions(agent_id)
        while True:
            members: list[bytes] = await context.commands.run(sessions, ("ZRANGE", sessions, 0, _BATCH - 1))
            if not members:
                break
            names = [member.decode().partition(":")[2] for member in members]
            await asyncio.gather(*(self.doom(SessionKey(agent_id, name), "agent", force=True) for name in names))
            await context.commands.run(sessions, ("ZREM", sessions, *members))
        await context.commands.run(context.keys.deleting, ("SREM", context.keys.deleting, agent_id), write=True)

    async def doom_leftovers(self) -> None:
        """Goes on where a process died while it deleted an agent."""
        deleting = self._context.keys.deleting
        agents: Sequence[bytes] = await self._context.commands.run(deleting, ("SRANDMEMBER", deleting, _BATCH))
        for agent_id in agents:
            await self.doom_all(agent_id.decode())

    async def doomed(self, limit: int) -> list[DoomedSession]:
        """Returns about as many sessions as wait to be purged."""
        context = self._context
        expiries = [partition.expiries for partition in context.keys.partitions()]
        due = await context.commands.run_each([(key, context.scripts["due"].call([key], limit)) for key in expiries])
        keys = [session_of(member) for members in due for member in members][:limit]
        calls = []
        for key in keys:
            names = context.keys.session(key)
            call = context.scripts["doomed_session"].call([names.session, names.expiries], names.member)
            calls.append((names.session, call))
        replies = await context.commands.run_each(calls)
        return [
            DoomedSession(key, reply[1].decode())
            for key, reply in zip(keys, replies, strict=True)
            if reply[0] == b"doomed"
        ]

    async def purge(self, key: SessionKey) -> None:
        """Removes what a doomed session holds."""
        context = self._context
        names = context.keys.session(key)
        while True:
            turns: list[bytes] = await context.commands.run(names.session, ("ZRANGE", names.turns, 0, _BATCH - 1))
            if not turns:
                break
            of_turns = [names.turn(turn.decode()) for turn in turns]
            keys = [part for turn in of_turns for part in (turn.turn, turn.spec, turn.events)]
            call = context.scripts["purge_turns"].call([names.session, names.turns, *keys], *turns)
            if not await context.commands.run(names.session, call):
                return
        doomed, created = await context.commands.run(names.session, ("HMGET", names.session, "doomed", "created"))
        if doomed is not None and created is not None and key.agent_id != STATELESS:
            sessions = context.keys.sessions(key.agent_id)
            await context.commands.run(sessions, ("ZREM", sessions, f"{created.decode()}:{key.session_id}"))
        leave_mark = int(key.agent_id != STATELESS)
        call = context.scripts["forget_session"].call(
            [names.session, names.turns, names.expiries], names.member, leave_mark
        )
        await context.commands.run(names.session, call)
