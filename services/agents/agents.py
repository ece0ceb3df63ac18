"""Agents: what conversations are held with."""

from collections import OrderedDict
from collections.abc import Callable

from caravan.agents.v1 import agents_pb2, config_pb2
from services.agents.configuration import check
from services.agents.ports import AgentStore
from services.agents.state import Page, Request
from services.core.errors import NotFoundError
from services.core.masking import masked_message

DEFAULT_PAGE = 100
_MOST_CACHED = 1024


class Agents:
    """Agents. One never changes, so what was read of it once is true for as long as it is there."""

    def __init__(self, store: AgentStore, new_id: Callable[[], str]) -> None:
        """Keeps them in a store.

        Args:
            store: The state.
            new_id: Makes identifiers.
        """
        self._store, self._new_id = store, new_id
        self._configs: OrderedDict[str, config_pb2.AgentConfig] = OrderedDict()

    async def create(self, config: config_pb2.AgentConfig, request: Request | None) -> agents_pb2.Agent:
        """Creates an agent; returns it without credentials.

        Raises:
            InvalidArgumentError: The configuration contradicts itself.
        """
        check(config, "agent_config")
        return masked_message(await self._store.create_agent(self._new_id(), config, request))

    async def get(self, agent_id: str) -> agents_pb2.Agent:
        """Returns an agent without credentials."""
        return masked_message(await self._store.get_agent(agent_id))

    async def list(self, page_size: int, page_token: str) -> Page[agents_pb2.Agent]:
        """Returns a page of agents without credentials."""
        page = await self._store.list_agents(page_size or DEFAULT_PAGE, page_token)
        return Page([masked_message(agent) for agent in page.items], page.next_token)

    async def delete(self, agent_id: str, request: Request | None) -> None:
        """Deletes an agent with its sessions."""
        await self._store.delete_agent(agent_id, request)
        self._configs.pop(agent_id, None)

    async def config(self, agent_id: str) -> config_pb2.AgentConfig:
        """Returns what an agent is made of, credentials included. It may have been deleted elsewhere since; its sessions tell."""
        if agent_id in self._configs:
            self._configs.move_to_end(agent_id)
            return self._configs[agent_id]
        return await self.current_config(agent_id)

    async def current_config(self, agent_id: str) -> config_pb2.AgentConfig:
        """Returns what an agent is made of, credentials included.

        Raises:
            NotFoundError: There is none.
        """
        try:
            config = (await self._store.get_agent(agent_id)).agent_config
        except NotFoundError:
            self._configs.pop(agent_id, None)
            raise
        self._configs[agent_id] = config
        self._configs.move_to_end(agent_id)
        while len(self._configs) > _MOST_CACHED:
            self._configs.popitem(last=False)
        return config
