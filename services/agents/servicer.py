"""The gRPC edge of the agents service."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from caravan.agents.v1 import agents_pb2, agents_pb2_grpc
from services.agents.agents import Agents
from services.agents.sessions import Sessions
from services.agents.state import Request, SessionKey, TurnKey
from services.agents.turns import Turns

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class AgentsServicer(agents_pb2_grpc.AgentsServiceServicer):
    """Hands each call to the domain. A streamed request has the fields of its unary twin under the same numbers, and becomes it."""

    def __init__(self, agents: Agents, sessions: Sessions, turns: Turns) -> None:
        """Serves these.

        Args:
            agents: Agents.
            sessions: Their sessions.
            turns: The sessions' turns.
        """
        self._agents, self._sessions, self._turns = agents, sessions, turns

    async def CreateAgent(
        self, request: agents_pb2.CreateAgentRequest, context: Context
    ) -> agents_pb2.CreateAgentResponse:
        """Creates an agent."""
        agent = await self._agents.create(request.agent_config, Request.of(request))
        return agents_pb2.CreateAgentResponse(agent_id=agent.agent_id, agent=agent)

    async def GetAgent(self, request: agents_pb2.GetAgentRequest, context: Context) -> agents_pb2.GetAgentResponse:
        """Gets one agent."""
        return agents_pb2.GetAgentResponse(agent=await self._agents.get(request.agent_id))

    async def ListAgents(
        self, request: agents_pb2.ListAgentsRequest, context: Context
    ) -> agents_pb2.ListAgentsResponse:
        """Lists the agents, newest first."""
        page = await self._agents.list(request.page_size, request.page_token)
        return agents_pb2.ListAgentsResponse(data=page.items, next_page_token=page.next_token)

    async def DeleteAgent(
        self, request: agents_pb2.DeleteAgentRequest, context: Context
    ) -> agents_pb2.DeleteAgentResponse:
        """Deletes an agent with its sessions."""
        await self._agents.delete(request.agent_id, Request.of(request))
        return agents_pb2.DeleteAgentResponse()

    async def CreateSession(
        self, request: agents_pb2.CreateSessionRequest, context: Context
    ) -> agents_pb2.CreateSessionResponse:
        """Creates a session."""
        session = await self._sessions.create(request.agent_id, request.session_name, Request.of(request))
        return agents_pb2.CreateSessionResponse(session_id=session.session_id, session=session)

    async def GetSession(
        self, request: agents_pb2.GetSessionRequest, context: Context
    ) -> agents_pb2.GetSessionResponse:
        """Gets one session with its turns."""
        session = await self._sessions.get(SessionKey(request.agent_id, request.session_id), request.turn_ids)
        return agents_pb2.GetSessionResponse(session=session)

    async def ListSessions(
        self, request: agents_pb2.ListSessionsRequest, context: Context
    ) -> agents_pb2.ListSessionsResponse:
        """Lists an agent's sessions, newest first."""
        page = await self._sessions.list(request.agent_id, request.page_size, request.page_token)
        return agents_pb2.ListSessionsResponse(data=page.items, next_page_token=page.next_token)

    async def DeleteSession(
        self, request: agents_pb2.DeleteSessionRequest, context: Context
    ) -> agents_pb2.DeleteSessionResponse:
        """Deletes a session."""
        revision = request.revision if request.HasField("revision") else None
        key = SessionKey(request.agent_id, request.session_id)
        await self._sessions.delete(key, revision, Request.of(request))
        return agents_pb2.DeleteSessionResponse()

    async def CreateTurn(
        self, request: agents_pb2.CreateTurnRequest, context: Context
    ) -> agents_pb2.CreateTurnResponse:
        """Runs a turn."""
        return agents_pb2.CreateTurnResponse(turn=await self._turns.whole(await self._turns.create(request)))

    async def StreamCreateTurn(
        self, request: agents_pb2.StreamCreateTurnRequest, context: Context
    ) -> AsyncIterator[agents_pb2.StreamCreateTurnResponse]:
        """Runs a turn and streams its events."""
        unary = agents_pb2.CreateTurnRequest.FromString(request.SerializeToString())
        async for event in self._turns.follow(await self._turns.create(unary)):
            yield agents_pb2.StreamCreateTurnResponse(event=event)

    async def ResumeTurn(
        self, request: agents_pb2.ResumeTurnRequest, context: Context
    ) -> agents_pb2.ResumeTurnResponse:
        """Goes on with a turn that waits for the client."""
        return agents_pb2.ResumeTurnResponse(turn=await self._turns.whole(await self._turns.resume(request)))

    async def StreamResumeTurn(
        self, request: agents_pb2.StreamResumeTurnRequest, context: Context
    ) -> AsyncIterator[agents_pb2.StreamResumeTurnResponse]:
        """Goes on with a turn that waits for the client and streams its events."""
        unary = agents_pb2.ResumeTurnRequest.FromString(request.SerializeToString())
        async for event in self._turns.follow(await self._turns.resume(unary)):
            yield agents_pb2.StreamResumeTurnResponse(event=event)

    async def GetTurn(self, request: agents_pb2.GetTurnRequest, context: Context) -> agents_pb2.GetTurnResponse:
        """Gets one turn."""
        return agents_pb2.GetTurnResponse(turn=await self._turns.get(_turn_key(request)))

    async def ListTurns(self, request: agents_pb2.ListTurnsRequest, context: Context) -> agents_pb2.ListTurnsResponse:
        """Lists a session's turns."""
        key = SessionKey(request.agent_id, request.session_id)
        page = await self._turns.list(key, request.page_size, request.page_token)
        return agents_pb2.ListTurnsResponse(data=page.items, next_page_token=page.next_token)

    async def CancelTurn(
        self, request: agents_pb2.CancelTurnRequest, context: Context
    ) -> agents_pb2.CancelTurnResponse:
        """Cancels a turn."""
        return agents_pb2.CancelTurnResponse(turn=await self._turns.cancel(_turn_key(request), request))

    async def WatchTurn(
        self, request: agents_pb2.WatchTurnRequest, context: Context
    ) -> AsyncIterator[agents_pb2.WatchTurnResponse]:
        """Streams the events of a turn from a number on."""
        async for event in self._turns.watch(_turn_key(request), request.from_sequence):
            yield agents_pb2.WatchTurnResponse(event=event)

    async def GetStep(self, request: agents_pb2.GetStepRequest, context: Context) -> agents_pb2.GetStepResponse:
        """Gets one step of a turn."""
        return agents_pb2.GetStepResponse(step=await self._turns.step(_turn_key(request), request.step_id))

    async def ExecuteTurn(
        self, request: agents_pb2.ExecuteTurnRequest, context: Context
    ) -> agents_pb2.ExecuteTurnResponse:
        """Runs a turn whose history the caller brings."""
        return agents_pb2.ExecuteTurnResponse(turn=await self._turns.whole(await self._turns.execute(request)))

    async def StreamExecuteTurn(
        self, request: agents_pb2.StreamExecuteTurnRequest, context: Context
    ) -> AsyncIterator[agents_pb2.StreamExecuteTurnResponse]:
        """Runs a turn whose history the caller brings and streams its events."""
        unary = agents_pb2.ExecuteTurnRequest.FromString(request.SerializeToString())
        async for event in self._turns.follow(await self._turns.execute(unary)):
            yield agents_pb2.StreamExecuteTurnResponse(event=event)


def _turn_key(
    request: agents_pb2.GetTurnRequest
    | agents_pb2.CancelTurnRequest
    | agents_pb2.WatchTurnRequest
    | agents_pb2.GetStepRequest,
) -> TurnKey:
    return TurnKey(SessionKey(request.agent_id, request.session_id), request.turn_id)
