"""`caravan shield`: shields, and judging texts by them."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from caravan.cli.generation import read_json, read_text
from caravan.cli.session import Session, facts, with_session
from caravan.errors import InvalidInputError
from caravan.registry.v1 import entry_pb2, shields_pb2
from caravan.safety.v1 import results_pb2, safety_pb2
from caravan.types.v1 import types_pb2

app = typer.Typer(help="List, register and unregister shields, and judge texts by them.", no_args_is_help=True)
ShieldId = Annotated[str, typer.Argument(help="Identifier of the shield.", show_default=False)]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", help="A parameter, name=value, the value as JSON or as text; may be given again."),
]
_VIOLATION = 1
_SHOWN = 20


@with_session
def run(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    shields: Annotated[
        str, typer.Argument(help="Identifiers of the shields, with commas between.", show_default=False)
    ],
    text: Annotated[
        str | None,
        typer.Argument(help="The text. Without it and --file: what is piped in.", show_default=False),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="File with the text.")] = None,
    role: Annotated[Literal["user", "assistant", "system"], typer.Option("--role", help="Who says it.")] = "user",
    param: Params = None,
    on_violation: Annotated[
        Literal["raise", "warn", "ignore"], typer.Option("--on-violation", help="What becomes of errors.")
    ] = "raise",
) -> None:
    """Judge a text. Ends with status 1 when a violation of level error decides, and when the call fails."""
    shield_ids = [name.strip() for name in shields.split(",") if name.strip()]
    content = _content(text, file)
    params = _values(param)
    with session.waiting(f"waiting for {', '.join(shield_ids)}"):
        response = session.client.safety.run_shields(
            shield_ids,
            {"role": role, "content": content},
            on_violation=on_violation,
            options={name: {"params": params} for name in shield_ids} if params else None,
        )
    if session.json:
        session.write_json(response)
    else:
        _show_verdicts(session, response, content)
    if response.violation.violation_level == types_pb2.VIOLATION_LEVEL_ERROR:
        raise typer.Exit(_VIOLATION)


@with_session
def list_shields(
    session: Session,
    provider: Annotated[str, typer.Option("--provider", help="Only those of this provider.", show_default=False)] = "",
) -> None:
    """List the shields."""
    found = list(session.client.shields.list(provider_id=provider))
    if session.json:
        session.write_list("shields", found)
        return
    rows = [
        [one.shield_id, one.provider_id, one.provider_shield_id, _guarded(one), _availability(one), _params(one)]
        for one in found
    ]
    columns = ["shield", "provider", "provider's name", "always guards", "state", "parameters"]
    session.write_table(columns, rows, empty="there are no shields")


@with_session
def get(session: Session, shield_id: ShieldId) -> None:
    """Show one shield."""
    _show(session, session.client.shields.get(shield_id))


@with_session
def register(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    shield_id: ShieldId,
    provider: Annotated[str, typer.Option("--provider", help="Provider to serve it.", show_default=False)] = "",
    provider_shield_id: Annotated[
        str,
        typer.Option(
            "--provider-shield-id", help="Identifier that the provider uses, a guard model's.", show_default=False
        ),
    ] = "",
    param: Params = None,
    params_file: Annotated[
        Path | None, typer.Option("--params", help="File with a JSON object of parameters.", show_default=False)
    ] = None,
    always_on: Annotated[
        list[str] | None,
        typer.Option("--always-on", help="A model that it always guards, `*` for all; may be given again."),
    ] = None,
) -> None:
    """Register a shield; when this returns it can be requested."""
    params = {**(read_json(params_file, "--params", dict) if params_file else {}), **_values(param)}
    with session.waiting(f"registering {shield_id}"):
        shield = session.client.shields.register(
            shield_id,
            provider_id=provider,
            provider_shield_id=provider_shield_id,
            params=params or None,
            always_on_model_ids=always_on or (),
        )
    _show(session, shield)


@with_session
def unregister(
    session: Session,
    shield_id: ShieldId,
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="Only if it still has this revision.")
    ] = None,
) -> None:
    """Take a shield out of the registry."""
    with session.waiting(f"unregistering {shield_id}"):
        session.client.shields.unregister(shield_id, revision=revision)
    if session.json:
        session.write("{}\n")
    else:
        session.err.print(f"{shield_id} is unregistered", markup=False)


app.command("run")(run)
app.command("list")(list_shields)
app.command("get")(get)
app.command("register")(register)
app.command("unregister")(unregister)


def _content(text: str | None, file: Path | None) -> str:
    if text is not None and file is not None:
        raise InvalidInputError("give the text or --file, not both")
    if file is not None:
        return read_text(file, "--file")
    content = sys.stdin.read() if text is None else text
    if not content:
        raise InvalidInputError("there is no text: give it as an argument, by --file, or pipe it in")
    return content


def _values(items: list[str] | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in items or ():
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise InvalidInputError(f"{item!r} is not name=value", "--param")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _show_verdicts(session: Session, response: safety_pb2.RunShieldsResponse, content: str) -> None:
    for result in response.results:
        milliseconds = result.latency.ToNanoseconds() / 1e6
        score = f", score {result.score:.3f}" if result.HasField("score") else ""
        session.write(f"{result.shield_id}: {_word(result)}{score} ({milliseconds:.1f} ms)\n")
        if result.HasField("error"):
            session.write(f"  {result.error.message}\n")
        for finding in result.findings[:_SHOWN]:
            session.write(f"  {_finding(finding, content)}\n")
        if len(result.findings) > _SHOWN:
            session.write(f"  and {len(result.findings) - _SHOWN} more\n")
    if response.HasField("violation"):
        session.write(f"\n{response.deciding_shield_id} decides: {response.violation.user_message}\n")
    for message in response.masked_messages:
        items = (message.user if message.HasField("user") else message.assistant).content.items
        items = message.system.content.items if message.HasField("system") else items
        session.write(f"\nmasked: {''.join(item.text for item in items)}\n")


def _finding(finding: results_pb2.ShieldFinding, content: str) -> str:
    level = _level(finding.violation_level)
    words = f"{level} {finding.category}: {finding.description}"
    if not finding.HasField("location"):
        return words
    place = finding.location
    line = content.count("\n", 0, place.start) + 1
    column = place.start - (content.rfind("\n", 0, place.start) + 1) + 1
    return f"{words} (line {line}, column {column}, {place.end - place.start} characters)"


def _word(result: results_pb2.ShieldResult) -> str:
    if result.HasField("violation"):
        return _level(result.violation.violation_level)
    return "could not judge" if result.HasField("error") else "nothing found"


def _level(level: types_pb2.ViolationLevel.ValueType) -> str:
    return types_pb2.ViolationLevel.Name(level).removeprefix("VIOLATION_LEVEL_").lower()


def _show(session: Session, shield: shields_pb2.Shield) -> None:
    if session.json:
        session.write_json(shield)
        return
    rows = [
        ["shield", shield.shield_id],
        ["provider", shield.provider_id],
        ["provider's name", shield.provider_shield_id],
        ["always guards", _guarded(shield)],
        ["state", _availability(shield)],
        ["registered", _registered(shield)],
        ["parameters", _params(shield)],
    ]
    for name, value in rows:
        if value:
            session.write(f"{name:<16} {value}\n")


def _guarded(shield: shields_pb2.Shield) -> str:
    return ", ".join("all models" if name == "*" else name for name in shield.always_on_model_ids)


def _availability(shield: shields_pb2.Shield) -> str:
    name = entry_pb2.Availability.Name(shield.entry.availability).removeprefix("AVAILABILITY_")
    state = "unknown" if name == "UNSPECIFIED" else name.lower().replace("_", " ")
    reason = shield.entry.unavailable_reason
    return f"{state}: {reason}" if reason else state


def _registered(shield: shields_pb2.Shield) -> str:
    if not shield.entry.revision:
        return "no: the provider serves it by itself"
    return f"{shield.entry.registered_at.ToDatetime():%Y-%m-%d %H:%M:%S} UTC, revision {shield.entry.revision}"


def _params(shield: shields_pb2.Shield) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in facts(shield.params).items())
