"""What the commands that talk to a gateway have in common: connection options, errors, output."""

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from caravan import TLS, Client
from caravan.cli import problems
from caravan.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from caravan.errors import CaravanError

PANEL = "Connection"
_WIDE = 10_000
_WITHOUT_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
Target = Annotated[
    str | None,
    typer.Option(
        "--target", "-t", envvar="CARAVAN_TARGET", help=f"Gateway, host:port. Default: {DEFAULT_TARGET}.",
        rich_help_panel=PANEL, show_default=False,
    ),
]  # fmt: skip
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.001, help="Seconds until a call fails.", rich_help_panel=PANEL)
]
Direct = Annotated[
    bool,
    typer.Option(
        "--direct", help="Dial the replica itself instead of going through the gateway.", rich_help_panel=PANEL
    ),
]
Encrypted = Annotated[
    bool, typer.Option("--tls", envvar="CARAVAN_CLIENT_TLS", help="Encrypt the connection.", rich_help_panel=PANEL)
]
Ca = Annotated[
    Path | None,
    typer.Option(
        "--ca", envvar="CARAVAN_CLIENT_CA", help="Certificates to trust (PEM); implies --tls.", rich_help_panel=PANEL
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        "--cert", envvar="CARAVAN_CLIENT_CERT", help="Own certificate (PEM), for mutual TLS.", rich_help_panel=PANEL
    ),
]
PrivateKey = Annotated[
    Path | None, typer.Option("--key", envvar="CARAVAN_CLIENT_KEY", help="Key of --cert (PEM).", rich_help_panel=PANEL)
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


@dataclass(frozen=True)
class Session:
    """One run of a command against a gateway."""

    client: Client
    """The client."""
    json: bool
    """Write JSON instead of text for people."""
    out: Console
    """Where results go."""
    err: Console
    """Where everything else goes: progress, notes, errors."""

    def write(self, text: str) -> None:
        """Writes text as it is, but for control characters on a terminal: a model's words must not move the cursor.

        Args:
            text: The text, with its line ends.
        """
        self.out.file.write(text.translate(_WITHOUT_CONTROLS) if self.out.is_terminal else text)
        self.out.file.flush()

    def write_json(self, message: Message) -> None:
        """Writes a message as a JSON document.

        Args:
            message: The message.
        """
        self.write(json.dumps(_as_json(message), ensure_ascii=False, indent=2) + "\n")

    def write_json_line(self, message: Message) -> None:
        """Writes a message as JSON on one line.

        Args:
            message: The message.
        """
        self.write(json.dumps(_as_json(message), ensure_ascii=False) + "\n")

    def write_list(self, name: str, messages: list[Any]) -> None:
        """Writes a list as one JSON document.

        Args:
            name: Property that holds the list.
            messages: The entries.
        """
        self.write(json.dumps({name: [_as_json(message) for message in messages]}, ensure_ascii=False, indent=2) + "\n")

    def write_table(self, columns: list[str], rows: Sequence[Sequence[str | Text]], *, empty: str) -> None:
        """Writes a table for people: aligned, without frames, whole words.

        Args:
            columns: Headings.
            rows: Cells.
            empty: What to say when there are no rows.
        """
        if not rows:
            self.err.print(empty, markup=False)
            return
        table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
        self.out.print(table)

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[], None]]:
        """Shows on a terminal that something is under way; yields a function that ends it early.

        Args:
            text: What is waited for.
        """
        if not self.err.is_terminal or self.json:
            yield lambda: None
            return
        status = self.err.status(text)
        status.start()
        try:
            yield status.stop
        finally:
            status.stop()


def facts(struct: Struct) -> dict[str, Any]:
    """What a Struct holds: whole numbers as integers, nothing that is not set.

    Args:
        struct: The Struct.
    """
    held = json_format.MessageToDict(struct)
    whole = {name: int(value) for name, value in held.items() if isinstance(value, float) and value.is_integer()}
    return {name: value for name, value in {**held, **whole}.items() if value is not None}


def _as_json(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def with_session(command: Callable[..., None]) -> Callable[..., None]:
    """Makes a command of a function whose first parameter is a Session: adds the connection's options and handles its errors.

    Args:
        command: The function.
    """

    @functools.wraps(command)
    def run(  # noqa: PLR0913 - the connection's options
        *,
        target: str | None,
        timeout: float,
        direct: bool,
        tls: bool,
        ca: Path | None,
        cert: Path | None,
        key: Path | None,
        json: bool,
        **arguments: Any,
    ) -> None:
        out, err = _console(), Console(stderr=True, highlight=False)
        try:
            encryption = TLS(ca=ca, certificate=cert, key=key) if tls or ca or cert or key else None
            with Client(target, tls=encryption, timeout=timeout, direct=direct) as client:
                command(Session(client, json, out, err), **arguments)
        except CaravanError as error:
            problems.report(error, err, target=target, as_json=json)
            raise typer.Exit(1) from error

    own = list(inspect.signature(command).parameters.values())[1:]
    hints = get_type_hints(command, include_extras=True)
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own] + _connection_parameters()
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _console() -> Console:
    """Where results go. What is not a terminal has no width to fold lines for."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def _connection_parameters() -> list[inspect.Parameter]:
    options: dict[str, tuple[Any, Any]] = {
        "json": (Json, False),
        "target": (Target, None),
        "timeout": (Timeout, DEFAULT_TIMEOUT),
        "direct": (Direct, False),
        "tls": (Encrypted, False),
        "ca": (Ca, None),
        "cert": (Certificate, None),
        "key": (PrivateKey, None),
    }
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, default=default, annotation=option) for name, (option, default) in options.items()
    ]
