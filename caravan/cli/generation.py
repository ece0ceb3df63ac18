"""Options of the commands that generate text."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from caravan.cli.session import Session
from caravan.errors import InvalidInputError
from caravan.registry.v1 import entry_pb2, models_pb2

PANEL = "Generation"
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="CARAVAN_MODEL",
        show_default=False,
        help="Model to ask. Default: the only one that is served.",
    ),
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="Most tokens to generate.", rich_help_panel=PANEL)
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", min=0, max=2, help="0: always the most likely token.", rich_help_panel=PANEL),
]
TopP = Annotated[
    float | None,
    typer.Option("--top-p", min=0, max=1, help="Share of probability to sample from.", rich_help_panel=PANEL),
]
TopK = Annotated[
    int | None, typer.Option("--top-k", min=1, help="Number of tokens to sample from.", rich_help_panel=PANEL)
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of the sampler.", rich_help_panel=PANEL)]
Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", help="Text that ends generation; may be given again.", rich_help_panel=PANEL),
]
Penalty = Annotated[
    float | None, typer.Option("--repetition-penalty", help="Above 1 discourages repetition.", rich_help_panel=PANEL)
]
JsonSchema = Annotated[
    Path | None,
    typer.Option("--json-schema", help="File with a JSON Schema that the answer must follow.", rich_help_panel=PANEL),
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="`json`: any JSON object; else a file with a grammar (GBNF).", rich_help_panel=PANEL),
]
Streamed = Annotated[
    bool | None,
    typer.Option(
        "--stream/--no-stream",
        help="Show the answer as it comes. Default: yes, but not with --json.",
        show_default=False,
    ),
]


def given(**parameters: Any) -> dict[str, Any]:
    """Those parameters that were given.

    Args:
        **parameters: Values by name; None and empty lists were not given.
    """
    return {name: value for name, value in parameters.items() if value is not None and value != []}


def answer_format(format_name: str | None, json_schema: Path | None) -> dict[str, Any]:
    """The parameters for the form of the answer.

    Args:
        format_name: `json`, or the path of a grammar.
        json_schema: Path of a JSON Schema.

    Raises:
        InvalidInputError: A file is not what it should be, or both are given.
    """
    if format_name and json_schema:
        raise InvalidInputError("give --format or --json-schema, not both")
    if json_schema:
        return {"json_schema": read_json(json_schema, "--json-schema", dict)}
    if format_name == "json":
        return {"json_schema": {"type": "object"}}
    return {"grammar": read_text(Path(format_name), "--format")} if format_name else {}


def read_json(path: Path, option: str, kind: type) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        option: Option that names it, for errors.
        kind: What must be in it: dict or list.

    Raises:
        InvalidInputError: It is not that.
    """
    try:
        value = json.loads(read_text(path, option))
    except ValueError as error:
        raise InvalidInputError(f"{path} is not JSON: {error}", option) from error
    if not isinstance(value, kind):
        raise InvalidInputError(f"{path} holds no JSON {'object' if kind is dict else 'array'}", option)
    return value


def read_text(path: Path, option: str) -> str:
    """Reads a text file.

    Args:
        path: The file.
        option: Option that names it, for errors.

    Raises:
        InvalidInputError: It cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInputError(f"cannot read {path}: {why}", option) from error


def piped() -> str:
    """What is piped into this process.

    Raises:
        InvalidInputError: Nothing is.
    """
    text = sys.stdin.read().strip()
    if not text:
        raise InvalidInputError("nothing came on standard input; give the text as an argument or pipe it in")
    return text


def choose_model(session: Session, model: str | None, kind: models_pb2.ModelType.ValueType) -> str:
    """The model to ask: the one that was named, else the only one of its kind that is served.

    Args:
        session: The session.
        model: What was named.
        kind: Kind of the model.

    Raises:
        CaravanError: There is none, or several.
    """
    if model:
        return model
    served = [
        entry.model_id
        for entry in session.client.models.list()
        if entry.model_type == kind and entry.entry.availability == entry_pb2.AVAILABILITY_SERVED
        # Nobody means a guard who does not name it.
        if dict(entry.metadata).get("purpose") != "guard"
    ]
    if len(served) == 1:
        return served[0]
    what = "embedding model" if kind == models_pb2.MODEL_TYPE_EMBEDDING else "language model"
    if served:
        raise InvalidInputError(f"several {what}s are served ({', '.join(served)}): choose one with --model")
    raise InvalidInputError(f"no {what} is served now; `caravan models list` and `caravan health` show more")
