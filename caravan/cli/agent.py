"""`caravan agent`: agents, and talking with them."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from caravan.agents.v1 import agents_pb2, turns_pb2
from caravan.cli import problems
from caravan.cli.agent_steps import Steps
from caravan.cli.generation import choose_model, piped, read_json
from caravan.cli.session import Session, with_session
from caravan.errors import CaravanError, InvalidInputError
from caravan.messages import text_of
from caravan.registry.v1 import models_pb2

app = typer.Typer(help="Create agents, talk with them, and see what they did.", no_args_is_help=True)
AgentId = Annotated[str, typer.Argument(help="Identifier of the agent.", show_default=False)]
SessionId = Annotated[str, typer.Argument(help="Identifier of the session.", show_default=False)]
TurnId = Annotated[str, typer.Argument(help="Identifier of the turn.", show_default=False)]


@with_session
def create(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="File with the whole configuration as JSON; options win over it."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model. Default: the only one there is.", show_default=False)
    ] = None,
    instructions: Annotated[str | None, typer.Option("--instructions", "-s", help="System prompt.")] = None,
    tools: Annotated[
        list[str] | None,
        typer.Option("--tools", help="Tool group, for instance builtin::code_interpreter; again for more."),
    ] = None,
    input_shields: Annotated[
        list[str] | None, typer.Option("--input-shield", help="Shield for what the user says; again for more.")
    ] = None,
    output_shields: Annotated[
        list[str] | None, typer.Option("--output-shield", help="Shield for what the agent says; again for more.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="Most tokens of an answer.")] = None,
) -> None:
    """Create an agent."""
    whole: dict[str, Any] = read_json(config, "--config", dict) if config else {}
    if model or "model" not in whole:
        whole["model"] = choose_model(session, model, models_pb2.MODEL_TYPE_LLM)
    given = {
        "instructions": instructions,
        "toolgroups": tools,
        "input_shields": input_shields,
        "output_shields": output_shields,
        "sampling_params": {"max_tokens": max_tokens} if max_tokens else None,
    }
    whole.update({name: value for name, value in given.items() if value is not None})
    agent = session.client.agents.create(whole)
    if session.json:
        session.write_json(agent)
    else:
        session.write(f"{agent.agent_id}\n")


@with_session
def list_agents(session: Session) -> None:
    """List the agents."""
    agents = list(session.client.agents.list())
    if session.json:
        session.write_list("agents", agents)
        return
    rows = [[agent.agent_id, agent.agent_config.model, _when(agent.created_at), _tools(agent)] for agent in agents]
    session.write_table(["agent", "model", "created", "tools"], rows, empty="there are no agents")


@with_session
def delete(session: Session, agent_id: AgentId) -> None:
    """Delete an agent with its sessions."""
    session.client.agents.delete(agent_id)
    if session.json:
        session.write("{}\n")
    else:
        session.err.print(f"{agent_id} is deleted", markup=False)


@with_session
def chat(
    session: Session,
    agent_id: AgentId,
    message: Annotated[
        str | None,
        typer.Argument(
            help="What to say. Without it: what is piped in, or a conversation on a terminal.", show_default=False
        ),
    ] = None,
    session_id: Annotated[
        str | None, typer.Option("--session", help="Go on with this session. Default: a new one.", show_default=False)
    ] = None,
    document: Annotated[
        list[Path] | None, typer.Option("--document", "-d", help="File to give to the agent; again for more.")
    ] = None,
) -> None:
    """Talk with an agent; what it does is shown as it happens."""
    talk = message is None and sys.stdin.isatty()
    text = "" if talk else message or piped()
    where = session_id or session.client.agents.create_session(agent_id, "caravan agent chat").session_id
    documents = [_document(path) for path in document or ()]
    if not talk:
        _turn(session, agent_id, where, text, documents)
        return
    session.err.print(f"session {where}; an empty line or Ctrl-D ends it", style="dim", markup=False)
    while text := _asked():
        try:
            _turn(session, agent_id, where, text, documents)
        except CaravanError as error:
            problems.report(error, session.err, target=session.client.target, as_json=session.json)
        documents = []


@with_session
def sessions(session: Session, agent_id: AgentId) -> None:
    """List an agent's sessions."""
    found = list(session.client.agents.list_sessions(agent_id))
    if session.json:
        session.write_list("sessions", found)
        return
    rows = [[one.session_id, one.session_name, _when(one.started_at), str(one.turn_count)] for one in found]
    session.write_table(["session", "name", "started", "turns"], rows, empty="the agent has no sessions")


@with_session
def turns(session: Session, agent_id: AgentId, session_id: SessionId) -> None:
    """List a session's turns."""
    found = list(session.client.agents.list_turns(agent_id, session_id))
    if session.json:
        session.write_list("turns", found)
        return
    rows = [[one.turn_id, _status(one), str(len(one.steps)), _said(one), _answered(one)] for one in found]
    session.write_table(["turn", "status", "steps", "user", "agent"], rows, empty="the session has no turns")


@with_session
def watch(
    session: Session,
    agent_id: AgentId,
    session_id: SessionId,
    turn_id: TurnId,
    from_sequence: Annotated[int, typer.Option("--from", min=0, help="Number of the first event. 0: all.")] = 0,
) -> None:
    """Follow a turn, from its beginning or from an event on, while it runs or afterwards."""
    steps = Steps(session)
    for event in session.client.agents.watch(agent_id, session_id, turn_id, from_sequence=from_sequence):
        steps.show(event)


app.command("create")(create)
app.command("list")(list_agents)
app.command("delete")(delete)
app.command("chat")(chat)
app.command("sessions")(sessions)
app.command("turns")(turns)
app.command("watch")(watch)


def _turn(session: Session, agent_id: str, session_id: str, text: str, documents: list[turns_pb2.Attachment]) -> None:
    steps = Steps(session)
    for event in session.client.agents.stream_turn(agent_id, session_id, text, documents=documents):
        steps.show(event)


def _asked() -> str:
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def _document(path: Path) -> turns_pb2.Attachment:
    try:
        return turns_pb2.Attachment(data=path.read_bytes(), file_name=path.name)
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", "--document") from error


def _when(moment: Any) -> str:
    return f"{moment.ToDatetime():%Y-%m-%d %H:%M:%S}"


def _tools(agent: agents_pb2.Agent) -> str:
    config = agent.agent_config
    names = [tool.function_call.function_name or str(tool.WhichOneof("tool")) for tool in config.tools]
    return ", ".join(
        [*names, *(group.name for group in config.toolgroups), *(tool.name for tool in config.client_tools)]
    )


def _status(turn: turns_pb2.Turn) -> str:
    return turns_pb2.TurnStatus.Name(turn.status).removeprefix("TURN_STATUS_").lower().replace("_", " ")


def _said(turn: turns_pb2.Turn) -> str:
    return _short(
        " ".join(text_of(message.user.content) for message in turn.input_messages if message.HasField("user"))
    )


def _answered(turn: turns_pb2.Turn) -> str:
    return _short(text_of(turn.output_message) or turn.error.message)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
