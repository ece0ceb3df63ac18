"""`caravan agent`, against an agents service on loopback."""

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from typer.testing import CliRunner, Result

from caravan.agents.v1 import agents_pb2, agents_pb2_grpc, events_pb2, turns_pb2
from caravan.cli.app import app

SHIELDED = {
    "stepType": "STEP_TYPE_SHIELD_CALL",
    "stepDetails": {
        "shieldCall": {
            "results": [
                {
                    "shieldId": "polite",
                    "violation": {"violationLevel": "VIOLATION_LEVEL_WARN", "userMessage": "Careful."},
                }
            ]
        }
    },
}
CALL = {"callId": "a", "toolName": "weather", "argumentsJson": '{"city": "Oslo"}'}
ASKED = {
    "stepType": "STEP_TYPE_INFERENCE",
    "stepDetails": {"inference": {"modelResponse": {"toolCalls": [CALL]}}},
}
RAN = {
    "stepType": "STEP_TYPE_TOOL_EXECUTION",
    "stepDetails": {
        "toolExecution": {
            "toolResponses": [{"callId": "a", "toolName": "weather", "content": {"items": [{"text": "[b]sunny[/b]"}]}}]
        }
    },
}
TURN = {
    "turnId": "t1",
    "agentId": "agent-1",
    "sessionId": "s1",
    "status": "TURN_STATUS_COMPLETED",
    "inputMessages": [{"user": {"content": {"items": [{"text": "Weather?"}]}}}],
    "outputMessage": {"content": {"items": [{"text": "Sunny."}]}},
    "outputAttachments": [{"data": "aGVsbG8=", "mimeType": "image/png", "fileName": "sky.png"}],
}
EVENTS: list[dict[str, Any]] = [
    {"turnStart": {"turnId": "t1"}},
    {"stepComplete": SHIELDED},
    {"stepComplete": ASKED},
    {"stepComplete": RAN},
    {"stepProgress": {"stepType": "STEP_TYPE_INFERENCE", "delta": {"text": "Rai"}}},
    {"stepRestart": {"stepType": "STEP_TYPE_INFERENCE", "reason": "the replica died"}},
    {"stepProgress": {"stepType": "STEP_TYPE_INFERENCE", "delta": {"text": "Sun"}}},
    {"stepProgress": {"stepType": "STEP_TYPE_INFERENCE", "delta": {"text": "ny."}}},
    {"turnComplete": {"turn": TURN}},
]


class Agents(agents_pb2_grpc.AgentsServiceServicer):
    """Answers with one agent, one session and one turn; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.events = EVENTS
        self.target = ""

    def CreateAgent(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        agent = agents_pb2.Agent(agent_id="agent-1", agent_config=request.agent_config)
        return agents_pb2.CreateAgentResponse(agent_id="agent-1", agent=agent)

    def ListAgents(self, request: Any, context: Any) -> Any:
        response = agents_pb2.ListAgentsResponse()
        agent = response.data.add(agent_id="agent-1")
        agent.agent_config.model = "talker"
        agent.agent_config.toolgroups.add(name="builtin::code_interpreter")
        agent.agent_config.tools.add().brave_search.SetInParent()
        return response

    def DeleteAgent(self, request: Any, context: Any) -> Any:
        if request.agent_id != "agent-1":
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no agent {request.agent_id!r}")
        return agents_pb2.DeleteAgentResponse()

    def CreateSession(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        return agents_pb2.CreateSessionResponse(session_id="s1", session={"session_id": "s1"})

    def ListSessions(self, request: Any, context: Any) -> Any:
        response = agents_pb2.ListSessionsResponse()
        response.data.add(session_id="s1", session_name="talk", turn_count=3)
        return response

    def ListTurns(self, request: Any, context: Any) -> Any:
        return agents_pb2.ListTurnsResponse(data=[json_format.ParseDict(TURN, turns_pb2.Turn())])

    def StreamCreateTurn(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        for number, payload in enumerate(self.events, start=1):
            yield agents_pb2.StreamCreateTurnResponse(event=event(number, payload))

    def WatchTurn(self, request: Any, context: Any) -> Any:
        for number, payload in enumerate(self.events, start=1):
            if number >= request.from_sequence:
                yield agents_pb2.WatchTurnResponse(event=event(number, payload))


def event(number: int, payload: dict[str, Any]) -> events_pb2.TurnEvent:
    return json_format.ParseDict({"sequence": number, "payload": payload}, events_pb2.TurnEvent())


@pytest.fixture
def agents() -> Iterator[Agents]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    made = Agents()
    agents_pb2_grpc.add_AgentsServiceServicer_to_server(made, server)
    made.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield made
    server.stop(0).wait()


@pytest.fixture
def run(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CARAVAN_TARGET", agents.target)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["agent", *arguments], input=stdin)

    return invoke


def test_an_agent_is_created_from_options_and_a_file(run: Any, agents: Agents, tmp_path: Any) -> None:
    file = tmp_path / "agent.json"
    file.write_text(json.dumps({"model": "other", "instructions": "Be brief.", "max_infer_iters": 3}))
    result = run(
        "create", "--config", str(file), "-m", "talker", "--tools", "builtin::websearch", "--input-shield", "polite"
    )
    assert (result.exit_code, result.stdout) == (0, "agent-1\n")
    config = agents.asked[0].agent_config
    assert (config.model, config.instructions, config.max_infer_iters) == ("talker", "Be brief.", 3)
    assert ([group.name for group in config.toolgroups], list(config.input_shields)) == (
        ["builtin::websearch"],
        ["polite"],
    )


def test_chat_shows_what_the_agent_does_and_says(run: Any, agents: Agents, tmp_path: Any) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    result = run("chat", "agent-1", "Weather?", "--document", str(file))
    assert result.exit_code == 0
    assert result.stdout.endswith("Sunny.\n")
    for shown in (
        "shield polite, warn: Careful.",
        'calls weather {"city": "Oslo"}',
        "weather: [b]sunny[/b]",
        "again: the replica died",
        "made sky.png (image/png, 5 bytes)",
    ):
        assert shown in result.stderr
    asked = agents.asked[-1]
    assert (asked.agent_id, asked.session_id, bool(asked.request_id)) == ("agent-1", "s1", True)
    assert (asked.documents[0].data, asked.documents[0].file_name) == (b"hello", "notes.txt")


def test_chat_goes_on_with_a_session_and_reads_what_is_piped_in(run: Any, agents: Agents) -> None:
    assert run("chat", "agent-1", "--session", "s7", stdin="Weather?\n").exit_code == 0
    (asked,) = agents.asked
    assert (asked.session_id, asked.messages[0].user.content.items[0].text) == ("s7", "Weather?")


def test_events_are_json_one_a_line(run: Any) -> None:
    lines = [json.loads(line) for line in run("chat", "agent-1", "Weather?", "--json").stdout.splitlines()]
    assert [line["sequence"] for line in lines] == [str(number) for number in range(1, len(EVENTS) + 1)]
    watched = run("watch", "agent-1", "s1", "t1", "--from", "8", "--json").stdout.splitlines()
    assert watched == [json.dumps(line, ensure_ascii=False) for line in lines[7:]]


def test_a_turn_that_waits_or_fails_says_so(run: Any, agents: Agents) -> None:
    waiting = {**TURN, "pendingToolCalls": [CALL]}
    agents.events = [{"turnAwaitingInput": {"turn": waiting}}]
    assert "waits for the client to run weather" in run("watch", "agent-1", "s1", "t1").stderr
    agents.events = [{"turnFailed": {"turn": {**TURN, "error": {"code": 14, "message": "no model"}}}}]
    assert "failed: no model" in run("watch", "agent-1", "s1", "t1").stderr


def test_agents_sessions_and_turns_are_listed(run: Any) -> None:
    listed = run("list").stdout
    assert "agent-1" in listed
    assert "brave_search, builtin::code_interpreter" in listed
    assert json.loads(run("list", "--json").stdout)["agents"][0]["agent_id"] == "agent-1"
    assert "talk" in run("sessions", "agent-1").stdout
    turns = run("turns", "agent-1", "s1").stdout
    assert "completed" in turns
    assert "Weather?" in turns
    assert "Sunny." in turns


def test_every_command_writes_json_when_asked_to(run: Any) -> None:
    written = {
        command[0]: json.loads(run(*command, "--json").stdout)
        for command in (
            ("create", "-m", "talker"),
            ("sessions", "agent-1"),
            ("turns", "agent-1", "s1"),
            ("delete", "agent-1"),
        )
    }
    assert written["create"]["agent_id"] == "agent-1"
    assert written["sessions"]["sessions"][0]["session_id"] == "s1"
    assert written["turns"]["turns"][0]["turn_id"] == "t1"
    assert written["delete"] == {}


def test_an_agent_is_deleted_once(run: Any) -> None:
    assert run("delete", "agent-1").exit_code == 0
    result = run("delete", "nobody")
    assert result.exit_code == 1
    assert "there is no agent 'nobody'" in result.stderr
