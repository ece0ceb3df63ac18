"""Agents in Redis. All of them are in one slot: they are few and small beside what is said to them."""

from caravan.agents.v1 import agents_pb2, config_pb2
from services.agents.ports import AgentStore
from services.agents.state import Page, Request
from services.agents.store.context import (
    DAY_MILLISECONDS,
    Context,
    bad_token,
    digest_of,
    no_agent,
    operation,
    reused,
)
from services.agents.store.dooming import Dooming
from services.agents.store.keys import is_identifier
from services.agents.store.listing import is_member, newest_first
from services.agents.store.records import agent_of

# How long a call without a request id can be sent again when its outcome is not known.
_RETRY_MILLISECONDS = 15 * 60 * 1000


class RedisAgents(AgentStore):
    """Agents."""

    _context: Context
    _dooming: Dooming

    async def create_agent(
        self, agent_id: str, config: config_pb2.AgentConfig, request: Request | None = None
    ) -> agents_pb2.Agent:
        """See AgentStore."""
        context = self._context
        kept = context.codec.encode(agents_pb2.Agent(agent_id=agent_id, agent_config=config))
        key, digest, lifetime = self._record("CreateAgent", "", agent_id, request)
        keys = [context.keys.agent(agent_id), context.keys.agents, key]
        call = context.scripts["create_agent"].call(keys, agent_id, kept, digest, lifetime)
        outcome, *rest = await context.commands.run(key, call, write=True)
        match outcome:
            case b"created":
                return agent_of(context.codec, kept, rest[0])
            case b"repeated":
                return agent_of(context.codec, rest[1], rest[0].partition(b":")[0])
            case _:
                raise reused()

    async def get_agent(self, agent_id: str) -> agents_pb2.Agent:
        """See AgentStore."""
        context = self._context
        key = context.keys.agent(agent_id)
        if not is_identifier(agent_id):
            raise no_agent(agent_id)
        kept, created = await context.commands.run(key, ("HMGET", key, "agent", "created"))
        if kept is None:
            raise no_agent(agent_id)
        return agent_of(context.codec, kept, created)

    async def list_agents(self, page_size: int, page_token: str = "") -> Page[agents_pb2.Agent]:
        """See AgentStore."""
        context = self._context
        if page_token and not is_member(page_token):
            raise bad_token()
        listed = context.keys.agents
        members = await context.commands.run(listed, newest_first(listed, page_token, page_size + 1))
        shown = [member.decode() for member in members[:page_size]]
        commands = [("HMGET", context.keys.agent(member.partition(":")[2]), "agent", "created") for member in shown]
        found = await context.commands.run_all(listed, commands) if commands else []
        agents = [agent_of(context.codec, kept, created) for kept, created in found if kept is not None]
        return Page(agents, shown[-1] if len(members) > page_size else "")

    async def delete_agent(self, agent_id: str, request: Request | None = None) -> None:
        """See AgentStore."""
        context = self._context
        if not is_identifier(agent_id):
            raise no_agent(agent_id)
        key = context.keys.request("DeleteAgent", "", request.request_id if request else "")
        keys = [context.keys.agent(agent_id), context.keys.agents, context.keys.deleting, key]
        call = context.scripts["delete_agent"].call(keys, agent_id, operation(), digest_of(request))
        outcome = (await context.commands.run(key, call, write=True))[0]
        match outcome:
            case b"absent":
                raise no_agent(agent_id)
            case b"reused":
                raise reused()
            case b"deleted":
                await self._dooming.doom_all(agent_id)

    def _record(self, rpc: str, scope: str, identifier: str, request: Request | None) -> tuple[str, str, int]:
        """Returns where the answer to a creating call is kept, by which digest, and for how long."""
        keys = self._context.keys
        if request is None:
            return keys.request(rpc, scope, f"new:{identifier}"), "-", _RETRY_MILLISECONDS
        return keys.request(rpc, scope, f"id:{request.request_id}"), request.digest, DAY_MILLISECONDS
