# Made from caravan/_async/agents.py by tools/sync_client.py. Do not edit.
"""Agents, their sessions and turns."""

import uuid
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from caravan import llama_stack
from caravan._sync.calls import Calls
from caravan.agents.v1 import agents_pb2, config_pb2, events_pb2, turns_pb2
from caravan.messages import MessageLike, conversation

FOREVER = float("inf")


class Agents:
    """`caravan.agents.v1.AgentsService`."""

    def __init__(self, calls: Calls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    def create(
        self, agent_config: config_pb2.AgentConfig | Mapping[str, Any], *, request_id: str | None = None
    ) -> agents_pb2.Agent:
        """Creates an agent.

            client.agents.create({"model": "caravan-chat", "instructions": "Be brief.", "toolgroups": ["builtin::code_interpreter"]})

        Args:
            agent_config: What it is made of.
            request_id: Makes a repeated call return the first one's result. Default: a new one.
        """
        config = llama_stack.build(config_pb2.AgentConfig, agent_config, "agent_config")
        request = agents_pb2.CreateAgentRequest(agent_config=config, request_id=request_id or uuid.uuid4().hex)
        return self._calls.unary(request, agents_pb2.CreateAgentResponse).agent

    def get(self, agent_id: str) -> agents_pb2.Agent:
        """Gets an agent, without its credentials.

        Args:
            agent_id: The agent.

        Raises:
            NotFoundError: There is none.
        """
        return (self._calls.unary(agents_pb2.GetAgentRequest(agent_id=agent_id), agents_pb2.GetAgentResponse)).agent

    def list(self) -> Generator[agents_pb2.Agent, None, None]:
        """Yields the agents, newest first."""
        return self._calls.entries(
            lambda token: agents_pb2.ListAgentsRequest(page_token=token), agents_pb2.ListAgentsResponse
        )

    def delete(self, agent_id: str) -> None:
        """Deletes an agent with its sessions.

        Args:
            agent_id: The agent.

        Raises:
            NotFoundError: There is none.
        """
        self._calls.unary(agents_pb2.DeleteAgentRequest(agent_id=agent_id), agents_pb2.DeleteAgentResponse)

    def create_session(
        self, agent_id: str, session_name: str = "", *, request_id: str | None = None
    ) -> agents_pb2.Session:
        """Creates a session.

        Args:
            agent_id: The agent.
            session_name: Name for people to read.
            request_id: Makes a repeated call return the first one's result. Default: a new one.
        """
        request = agents_pb2.CreateSessionRequest(
            agent_id=agent_id, session_name=session_name, request_id=request_id or uuid.uuid4().hex
        )
        return self._calls.unary(request, agents_pb2.CreateSessionResponse).session

    def get_session(self, agent_id: str, session_id: str, *, turn_ids: Iterable[str] = ()) -> agents_pb2.Session:
        """Gets a session with its turns.

        Args:
            agent_id: The agent.
            session_id: The session.
            turn_ids: Only these turns. Default: all.

        Raises:
            NotFoundError: There is none.
        """
        request = agents_pb2.GetSessionRequest(agent_id=agent_id, session_id=session_id, turn_ids=turn_ids)
        return self._calls.unary(request, agents_pb2.GetSessionResponse).session

    def list_sessions(self, agent_id: str) -> Generator[agents_pb2.Session, None, None]:
        """Yields an agent's sessions without their turns, newest first.

        Args:
            agent_id: The agent.
        """
        return self._calls.entries(
            lambda token: agents_pb2.ListSessionsRequest(agent_id=agent_id, page_token=token),
            agents_pb2.ListSessionsResponse,
        )

    def delete_session(self, agent_id: str, session_id: str, *, revision: int | None = None) -> None:
        """Deletes a session with its turns and its documents.

        Args:
            agent_id: The agent.
            session_id: The session.
            revision: Only if it still has this revision.
        """
        request = agents_pb2.DeleteSessionRequest(agent_id=agent_id, session_id=session_id, revision=revision)
        self._calls.unary(request, agents_pb2.DeleteSessionResponse)

    def turn(
        self, agent_id: str, session_id: str, messages: MessageLike | Iterable[MessageLike], **parameters: Any
    ) -> turns_pb2.Turn:
        """Runs a turn and returns it when it has ended or waits for the client.

        Args:
            agent_id: The agent.
            session_id: The session.
            messages: What the user says, or tool messages that answer the turn before.
            parameters: Fields of CreateTurnRequest by name: `documents`, `toolgroups`, `tool_config`, `overrides`, `allow_turn_resume`, ...
        """
        request = _turn_request(agents_pb2.CreateTurnRequest, agent_id, session_id, messages, parameters)
        return self._calls.unary(request, agents_pb2.CreateTurnResponse, timeout=FOREVER).turn

    def stream_turn(
        self, agent_id: str, session_id: str, messages: MessageLike | Iterable[MessageLike], **parameters: Any
    ) -> Generator[events_pb2.TurnEvent, None, None]:
        """Runs a turn and yields its events. The turn goes on when the loop is left; `watch` finds it.

        Args:
            agent_id: The agent.
            session_id: The session.
            messages: What the user says, or tool messages that answer the turn before.
            parameters: As for `turn`.
        """
        request = _turn_request(agents_pb2.StreamCreateTurnRequest, agent_id, session_id, messages, parameters)
        for response in self._calls.stream(request, agents_pb2.StreamCreateTurnResponse, timeout=FOREVER):
            yield response.event

    def resume(self, turn: turns_pb2.Turn, results: Mapping[str, str]) -> turns_pb2.Turn:
        """Goes on with a turn that waits, and returns it when it has ended or waits again.

        Args:
            turn: The turn as it waits.
            results: What the tools returned, by `call_id` of the pending calls.
        """
        request = _resume_request(agents_pb2.ResumeTurnRequest, turn, results)
        return self._calls.unary(request, agents_pb2.ResumeTurnResponse, timeout=FOREVER).turn

    def stream_resume(
        self, turn: turns_pb2.Turn, results: Mapping[str, str]
    ) -> Generator[events_pb2.TurnEvent, None, None]:
        """Goes on with a turn that waits, and yields its events.

        Args:
            turn: The turn as it waits.
            results: What the tools returned, by `call_id` of the pending calls.
        """
        request = _resume_request(agents_pb2.StreamResumeTurnRequest, turn, results)
        for response in self._calls.stream(request, agents_pb2.StreamResumeTurnResponse, timeout=FOREVER):
            yield response.event

    def get_turn(self, agent_id: str, session_id: str, turn_id: str) -> turns_pb2.Turn:
        """Gets a turn, whether it has ended or not.

        Args:
            agent_id: The agent.
            session_id: The session.
            turn_id: The turn.
        """
        request = agents_pb2.GetTurnRequest(agent_id=agent_id, session_id=session_id, turn_id=turn_id)
        return self._calls.unary(request, agents_pb2.GetTurnResponse).turn

    def list_turns(self, agent_id: str, session_id: str) -> Generator[turns_pb2.Turn, None, None]:
        """Yields a session's turns in the order in which they began.

        Args:
            agent_id: The agent.
            session_id: The session.
        """
        return self._calls.entries(
            lambda token: agents_pb2.ListTurnsRequest(agent_id=agent_id, session_id=session_id, page_token=token),
            agents_pb2.ListTurnsResponse,
        )

    def cancel(self, agent_id: str, session_id: str, turn_id: str, *, reason: str = "") -> turns_pb2.Turn:
        """Cancels a turn and what runs below it.

        Args:
            agent_id: The agent.
            session_id: The session.
            turn_id: The turn.
            reason: Why, for people to read.
        """
        request = agents_pb2.CancelTurnRequest(
            agent_id=agent_id, session_id=session_id, turn_id=turn_id, reason=reason, request_id=uuid.uuid4().hex
        )
        return self._calls.unary(request, agents_pb2.CancelTurnResponse).turn

    def watch(
        self, agent_id: str, session_id: str, turn_id: str, *, from_sequence: int = 0
    ) -> Generator[events_pb2.TurnEvent, None, None]:
        """Yields the events of a turn from a number on, until the turn has ended; works the same afterwards.

        Args:
            agent_id: The agent.
            session_id: The session.
            turn_id: The turn.
            from_sequence: Number of the first event wanted. 0: the first of all.
        """
        request = agents_pb2.WatchTurnRequest(
            agent_id=agent_id, session_id=session_id, turn_id=turn_id, from_sequence=from_sequence
        )
        for response in self._calls.stream(request, agents_pb2.WatchTurnResponse, timeout=FOREVER):
            yield response.event

    def get_step(self, agent_id: str, session_id: str, turn_id: str, step_id: str) -> turns_pb2.Step:
        """Gets a step of a turn.

        Args:
            agent_id: The agent.
            session_id: The session.
            turn_id: The turn.
            step_id: The step.
        """
        request = agents_pb2.GetStepRequest(agent_id=agent_id, session_id=session_id, turn_id=turn_id, step_id=step_id)
        return self._calls.unary(request, agents_pb2.GetStepResponse).step


def _turn_request(
    request_type: Any,
    agent_id: str,
    session_id: str,
    messages: MessageLike | Iterable[MessageLike],
    parameters: Mapping[str, Any],
) -> Any:
    shape = {"agent_id": agent_id, "session_id": session_id, "request_id": uuid.uuid4().hex, **parameters}
    request = llama_stack.build(request_type, shape, "turn")
    request.messages.extend(conversation(messages))
    return request


def _resume_request(request_type: Any, turn: turns_pb2.Turn, results: Mapping[str, str]) -> Any:
    request = request_type(
        agent_id=turn.agent_id, session_id=turn.session_id, turn_id=turn.turn_id, request_id=uuid.uuid4().hex
    )
    for call in turn.pending_tool_calls:
        if call.call_id in results:
            response = request.tool_responses.add(call_id=call.call_id, tool_name=call.tool_name)
            response.content.items.add().text = results[call.call_id]
    return request
