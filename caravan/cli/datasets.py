"""`caravan datasets`: data sets, their revisions and their rows."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from caravan.cli.session import Session, facts, with_session
from caravan.datasets.v1 import datasets_pb2
from caravan.errors import InvalidInputError
from caravan.rows import column_type, file_sha256, format_name

app = typer.Typer(help="Make data sets, look into them, append to them.", no_args_is_help=True)
_PIPED = "-"
_APPENDED_AT_ONCE = 1000

DatasetId = Annotated[str, typer.Argument(help="Identifier of the data set.", show_default=False)]
NewId = Annotated[str, typer.Option("--id", help="Identifier. Default: the service makes one.", show_default=False)]
Format = Annotated[
    str | None,
    typer.Option("--format", "-f", help="What rows are for, and checked for: instruct, dialog, preference or prompt."),
]
FileFormat = Annotated[
    str | None, typer.Option("--file-format", help="jsonl, parquet, csv or json. Default: told from the file.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", "-c", help="Type of a column, name=type or name=type?; may be given again."),
]
Metadata = Annotated[list[str] | None, typer.Option("--metadata", help="A fact, name=value; may be given again.")]
Revision = Annotated[int | None, typer.Option("--revision", "-r", min=1, help="Revision. Default: the newest.")]


@with_session
def create(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    dataset_id: NewId = "",
    url: Annotated[str | None, typer.Option("--url", help="Address to fetch.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="File on the service's machine.")] = None,
    huggingface: Annotated[
        str | None, typer.Option("--huggingface", "--hf", help="Hugging Face data set, or a folder like one.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Configuration of the Hugging Face data set.")] = "",
    split: Annotated[str, typer.Option("--split", help="Split of it, for instance train[:1000].")] = "train",
    hf_revision: Annotated[str, typer.Option("--hf-revision", help="Commit, branch or tag of it.")] = "",
    rows: Annotated[str | None, typer.Option("--rows", help="JSON Lines here; - for what is piped in.")] = None,
    format_name: Format = None,
    file_format: FileFormat = None,
    columns: Columns = None,
    metadata: Metadata = None,
    check: Annotated[bool, typer.Option("--check", help="Check everything and make nothing.")] = False,
) -> None:
    """Make a data set of an address, a file of the service's, a Hugging Face data set, or a few rows."""
    about = {"path": huggingface, "name": name, "split": split, "revision": hf_revision} if huggingface else None
    with session.waiting("reading the rows"):
        made = session.client.datasets.create(
            dataset_id,
            list(_lines(rows)) if rows is not None else None,
            url=url,
            file=file,
            huggingface=about,
            file_format=file_format,
            schema=dict(_pair(item, "--column") for item in columns or ()),
            format=format_name,
            metadata=_facts(metadata),
            validate_only=check,
        )
    _tell(session, made, "fits" if check else "is made")


@with_session
def upload(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    path: Annotated[Path, typer.Argument(help="The file: JSON Lines, Parquet, CSV or JSON.", show_default=False)],
    dataset_id: NewId = "",
    format_name: Format = None,
    file_format: FileFormat = None,
    columns: Columns = None,
    metadata: Metadata = None,
) -> None:
    """Make a data set of a file here."""
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    sha256 = file_sha256(path)
    with _progress(session) as progress:
        bar = progress.add_task(path.name, total=path.stat().st_size)
        made = session.client.datasets.upload(
            path,
            dataset_id,
            file_format=file_format,
            schema=dict(_pair(item, "--column") for item in columns or ()),
            format=format_name,
            metadata=_facts(metadata),
            sha256=sha256,
            sent=lambda count: progress.update(bar, completed=count),
        )
    _tell(session, made, "is made")


@with_session
def list_datasets(session: Session, format_name: Format = None) -> None:
    """List the data sets."""
    found = list(session.client.datasets.list(format=format_name))
    if session.json:
        session.write_list("datasets", found)
        return
    rows = [
        [
            one.dataset_id,
            _format(one),
            f"{one.current.row_count:,}",
            f"{one.current.size_bytes:,}",
            str(one.current.revision),
            f"{one.current.created_at.ToDatetime():%Y-%m-%d %H:%M}",
        ]
        for one in found
    ]
    columns = ["data set", "format", "rows", "bytes", "revision", "changed (UTC)"]
    session.write_table(columns, rows, empty="there are no data sets")


@with_session
def show(session: Session, dataset_id: DatasetId) -> None:
    """Show what is known of a data set."""
    found = session.client.datasets.get(dataset_id)
    if session.json:
        session.write_json(found)
        return
    lines = {
        "data set": found.dataset_id,
        "format": _format(found) or "none",
        "rows": f"{found.current.row_count:,}",
        "bytes": f"{found.current.size_bytes:,}",
        "revision": f"{found.current.revision} of {found.current.created_at.ToDatetime():%Y-%m-%d %H:%M:%S} UTC",
        "digest": found.current.sha256,
        "source": _source(found),
    }
    lines |= {f"metadata {name}": str(value) for name, value in facts(found.metadata).items()}
    width = max(map(len, lines))
    session.write("".join(f"{name:<{width}}  {value}\n" for name, value in lines.items()))
    columns = sorted(found.dataset_schema.items())
    session.write("\n")
    session.write_table(["column", "type"], [[name, column_type(one)] for name, one in columns], empty="no columns")


@with_session
def rows(
    session: Session,
    *,
    dataset_id: DatasetId,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Most rows. 0: all.")] = 20,
    from_row: Annotated[int, typer.Option("--from", min=0, help="Number of the first row.")] = 0,
    where: Annotated[
        str, typer.Option("--where", "-w", help='Only rows that fit, for instance: label == "x" and length > 3')
    ] = "",
    revision: Revision = None,
) -> None:
    """Write rows, one JSON object a line."""
    if where and from_row:
        raise InvalidInputError("--from counts all rows; leave it out with --where")
    datasets = session.client.datasets
    if where:
        texts = _fitting(session, dataset_id, where, revision)
        found = islice(texts, limit) if limit else texts
    else:
        streamed = datasets.rows(dataset_id, revision=revision, from_row=from_row, limit=limit)
        found = (json.dumps(row, ensure_ascii=False) for row in streamed)
    for text in found:
        session.write(text + "\n")


@with_session
def append(
    session: Session,
    dataset_id: DatasetId,
    source: Annotated[str, typer.Argument(help="JSON Lines, or - for what is piped in.", show_default=False)],
    revision: Annotated[
        int | None, typer.Option("--revision", "-r", min=1, help="Refuse unless the data set still has this revision.")
    ] = None,
) -> None:
    """Append rows; every thousand of them make a revision."""
    lines = _lines(source)
    current = None
    while batch := list(islice(lines, _APPENDED_AT_ONCE)):
        current = session.client.datasets.append(dataset_id, batch, revision=revision)
        revision = current.revision if revision is not None else None
    if current is None:
        raise InvalidInputError(f"{source} holds no rows")
    if session.json:
        session.write_json(current)
    else:
        session.err.print(
            f"{dataset_id} has revision {current.revision} now, with {current.row_count:,} rows", markup=False
        )


@with_session
def revisions(session: Session, dataset_id: DatasetId) -> None:
    """List the revisions of a data set, newest first."""
    found = list(session.client.datasets.revisions(dataset_id))
    if session.json:
        session.write_list("revisions", found)
        return
    lines = [
        [
            str(one.revision),
            f"{one.row_count:,}",
            f"{one.size_bytes:,}",
            f"{one.created_at.ToDatetime():%Y-%m-%d %H:%M:%S}",
            one.sha256[:16],
        ]
        for one in found
    ]
    session.write_table(["revision", "rows", "bytes", "made (UTC)", "digest"], lines, empty="there are no revisions")


@with_session
def delete(
    session: Session,
    dataset_id: DatasetId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a data set with all its revisions."""
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInputError("this deletes every row of the data set; say --yes")
        typer.confirm(f"Delete {dataset_id} with all its rows?", abort=True, err=True)
    session.client.datasets.delete(dataset_id)
    if session.json:
        session.write("{}\n")
    else:
        session.err.print(f"{dataset_id} is deleted", markup=False)


app.command("create")(create)
app.command("upload")(upload)
app.command("list")(list_datasets)
app.command("show")(show)
app.command("rows")(rows)
app.command("append")(append)
app.command("revisions")(revisions)
app.command("delete")(delete)


def _tell(session: Session, made: datasets_pb2.Dataset, what: str) -> None:
    if session.json:
        session.write_json(made)
        return
    types = ", ".join(f"{name} {column_type(column)}" for name, column in sorted(made.dataset_schema.items()))
    told = f"{made.dataset_id} {what}: {made.current.row_count:,} rows of {types}"
    session.err.print(told, markup=False, soft_wrap=True)


def _fitting(session: Session, dataset_id: str, where: str, revision: int | None) -> Iterator[str]:
    token = ""
    while True:
        page = session.client.datasets.page(dataset_id, page_token=token, filter=where, revision=revision)
        yield from page.rows_json
        token = page.next_page_token
        if not token:
            return


def _lines(source: str) -> Iterator[str]:
    if source == _PIPED:
        yield from (line for line in sys.stdin if line.strip())
        return
    path = Path(source)
    if not path.is_file():
        raise InvalidInputError(f"there is no file {source}")
    with path.open(encoding="utf-8") as file:
        yield from (line for line in file if line.strip())


def _progress(session: Session) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=session.err,
        disable=not session.err.is_terminal or session.json,
    )


def _pair(item: str, option: str) -> tuple[str, str]:
    name, separator, value = item.partition("=")
    if not separator or not name:
        raise InvalidInputError(f"{item!r} is not name=value", option)
    return name, value


def _facts(items: list[str] | None) -> dict[str, Any]:
    """Returns facts; a value is JSON where it is a number, true or false."""
    found: dict[str, Any] = {}
    for item in items or ():
        name, text = _pair(item, "--metadata")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found[name] = value if isinstance(value, bool | int | float) else text
    return found


def _format(dataset: datasets_pb2.Dataset) -> str:
    return format_name(dataset.format)


def _source(dataset: datasets_pb2.Dataset) -> str:
    kind = dataset.source.WhichOneof("source")
    match kind:
        case None:
            return "uploaded"
        case "rows":
            return "rows of the request"
        case "uri":
            return dataset.source.uri.uri
        case _:
            about = json_format.MessageToDict(getattr(dataset.source, kind))
            return f"{kind} {', '.join(str(value) for value in about.values())}"
