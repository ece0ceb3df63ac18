"""Sessions: conversations with an agent."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from caravan.agents.v1 import agents_pb2, config_pb2
from services.agents.agents import DEFAULT_PAGE, Agents
from services.agents.ports import SessionStore, TurnStore
from services.agents.state import Page, Request, SessionKey
from services.core.errors import ResourceExhaustedError

_PAGE = 100
# Room for what is around the turns in the response.
_OVERHEAD = 64 << 10


class Sessions:
    """Sessions."""

    def __init__(
        self,
        agents: Agents,
        sessions: SessionStore,
        turns: TurnStore,
        new_id: Callable[[], str],
        *,
        short_life: timedelta,
        max_bytes: int,
    ) -> None:
        """Keeps them in a store.

        Args:
            agents: The agents.
            sessions: The state of sessions.
            turns: The state of their turns.
            new_id: Makes identifiers.
            short_life: How long a session is kept after its last turn when it is not to be persistent.
            max_bytes: Largest response.
        """
        self._agents, self._sessions, self._turns, self._new_id = agents, sessions, turns, new_id
        self._short_life, self._max_bytes = short_life, max_bytes

    async def create(self, agent_id: str, name: str, request: Request | None) -> agents_pb2.Session:
        """Creates a session."""
        config = await self._agents.config(agent_id)
        key = SessionKey(agent_id, self._new_id())
        return await self._sessions.create_session(key, name, self.life(config), request)

    async def get(self, key: SessionKey, turn_ids: Sequence[str]) -> agents_pb2.Session:
        """Returns a session with its turns, or with those that are named, in the order in which they began.

        Raises:
            NotFoundError: There is no such session, or no such turn in it.
            ResourceExhaustedError: The turns do not fit into one message.
        """
        session = await self._sessions.get_session(key)
        if turn_ids:
            session.turns.extend(await self._turns.get_turns(key, list(dict.fromkeys(turn_ids))))
            self._require_fit(session)
            return session
        token = ""
        while True:
            page = await self._turns.list_turns(key, _PAGE, token)
            session.turns.extend(page.items)
            self._require_fit(session)
            token = page.next_token
            if not token:
                return session

    async def list(self, agent_id: str, page_size: int, page_token: str) -> Page[agents_pb2.Session]:
        """Returns a page of an agent's sessions."""
        return await self._sessions.list_sessions(agent_id, page_size or DEFAULT_PAGE, page_token)

    async def delete(self, key: SessionKey, revision: int | None, request: Request | None) -> None:
        """Deletes a session."""
        await self._sessions.delete_session(key, revision, request)

    def life(self, config: config_pb2.AgentConfig) -> timedelta | None:
        """Returns how long a session is kept after a turn; None: for ever.

        Args:
            config: What the turn runs with, or the agent's configuration.
        """
        lives = []
        if config.HasField("session_ttl"):
            lives.append(config.session_ttl.ToTimedelta())
        if config.HasField("enable_session_persistence") and not config.enable_session_persistence:
            lives.append(self._short_life)
        return min(lives, default=None)

    def _require_fit(self, session: agents_pb2.Session) -> None:
        size = session.ByteSize() + _OVERHEAD
        if size > self._max_bytes:
            message = f"the session's turns take more than {self._max_bytes} bytes; read them with ListTurns"
            raise ResourceExhaustedError(message, reason="SESSION_TOO_LARGE")
