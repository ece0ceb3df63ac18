"""Sessions in Redis, each with its turns in one slot; the list of an agent's sessions is beside the agent."""

from datetime import timedelta

from caravan.agents.v1 import agents_pb2
from services.agents.ports import SessionStore
from services.agents.state import DoomedSession, Page, Request, SessionKey
from services.agents.store.agents import RedisAgents
from services.agents.store.context import (
    bad_token,
    check_session,
    digest_of,
    milliseconds,
    no_agent,
    no_session,
    operation,
    reused,
)
from services.agents.store.keys import is_identifier
from services.agents.store.listing import is_member, newest_first
from services.agents.store.records import fields_of, new_session, session_of
from services.core.errors import AbortedError


class RedisSessions(RedisAgents, SessionStore):
    """Agents and their sessions."""

    async def create_session(
        self, key: SessionKey, session_name: str, ttl: timedelta | None = None, request: Request | None = None
    ) -> agents_pb2.Session:
        """See SessionStore."""
        context = self._context
        if not is_identifier(key.agent_id):
            raise no_agent(key.agent_id)
        session = agents_pb2.Session(session_id=key.session_id, session_name=session_name, agent_id=key.agent_id)
        kept = context.codec.encode(session)
        record, digest, lifetime = self._record("CreateSession", key.agent_id, key.session_id, request)
        listed = [context.keys.agent(key.agent_id), context.keys.sessions(key.agent_id), record]
        call = context.scripts["list_session"].call(listed, key.session_id, kept, digest, lifetime)
        outcome, *rest = await context.commands.run(record, call, write=True)
        match outcome:
            case b"absent":
                raise no_agent(key.agent_id)
            case b"reused":
                raise reused()
            case b"repeated":
                created, _, name = rest[0].partition(b":")
                key, kept = SessionKey(key.agent_id, name.decode()), rest[1]
            case _:
                created = rest[0]
        # Also when it is repeated: the first call may have come no further than the list.
        keys = context.keys.session(key)
        make = context.scripts["create_session"].call(
            [keys.session, keys.expiries], kept, created, milliseconds(ttl), keys.member
        )
        made = await context.commands.run(keys.session, make, write=True)
        if made == b"doomed" and outcome != b"repeated":
            raise no_agent(key.agent_id)
        return new_session(context.codec, kept, created, milliseconds(ttl))

    async def get_session(self, key: SessionKey) -> agents_pb2.Session:
        """See SessionStore."""
        check_session(key)
        keys = self._context.keys.session(key)
        call = self._context.scripts["read"].call([keys.session, keys.session])
        found = await self._context.commands.run(keys.session, call)
        if found is None:
            raise no_session(key)
        return session_of(self._context.codec, fields_of(found[0]))

    async def list_sessions(self, agent_id: str, page_size: int, page_token: str = "") -> Page[agents_pb2.Session]:
        """See SessionStore."""
        if page_token and not is_member(page_token):
            raise bad_token()
        context = self._context
        listed = context.keys.sessions(agent_id)
        sessions: list[agents_pb2.Session] = []
        agent = context.keys.agent(agent_id)
        while True:
            # Sessions that are gone leave the list a little later than they go: such places are skipped.
            wanted = page_size - len(sessions)
            page = newest_first(listed, page_token, wanted + 1)
            exists, members = await context.commands.run_all(listed, [("HEXISTS", agent, "created"), page])
            if not is_identifier(agent_id) or not exists:
                raise no_agent(agent_id)
            shown = [member.decode() for member in members[:wanted]]
            sessions += await self._sessions(agent_id, shown)
            more = len(members) > wanted
            if len(sessions) == page_size or not more:
                return Page(sessions, shown[-1] if more else "")
            page_token = shown[-1]

    async def set_memory_bank(self, key: SessionKey, memory_bank_id: str) -> str:
        """See SessionStore."""
        check_session(key)
        keys = self._context.keys.session(key)
        call = self._context.scripts["set_bank"].call([keys.session], memory_bank_id)
        bank: bytes | None = await self._context.commands.run(keys.session, call, write=True)
        if bank is None:
            raise no_session(key)
        return bank.decode()

    async def delete_session(
        self, key: SessionKey, revision: int | None = None, request: Request | None = None
    ) -> None:
        """See SessionStore."""
        check_session(key)
        record = (request.request_id if request else "", digest_of(request))
        outcome, *rest = await self._dooming.doom(key, operation(), record=record, revision=revision)
        match outcome:
            case b"absent":
                raise no_session(key)
            case b"reused":
                raise reused()
            case b"stale":
                message = f"session {key.session_id!r} has revision {int(rest[0])}, not {revision}: read it again, then decide"
                raise AbortedError(message, reason="STALE_REVISION", metadata={"revision": rest[0].decode()})

    async def doomed_sessions(self, limit: int) -> list[DoomedSession]:
        """See SessionStore."""
        await self._dooming.doom_leftovers()
        return await self._dooming.doomed(limit)

    async def purge_session(self, key: SessionKey) -> None:
        """See SessionStore."""
        await self._dooming.purge(key)

    async def _sessions(self, agent_id: str, members: list[str]) -> list[agents_pb2.Session]:
        context = self._context
        calls = []
        for member in members:
            keys = context.keys.session(SessionKey(agent_id, member.partition(":")[2]))
            calls.append((keys.session, context.scripts["read"].call([keys.session, keys.session])))
        replies = await context.commands.run_each(calls)
        return [session_of(context.codec, fields_of(reply[0])) for reply in replies if reply is not None]
