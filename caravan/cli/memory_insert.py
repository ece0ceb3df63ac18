"""`caravan memory insert`: files, folders, addresses and piped text into a bank."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from caravan.cli.session import Session, with_session
from caravan.documents import MIME_TYPES, file_requests
from caravan.errors import InvalidInputError
from caravan.memory.v1 import memory_pb2
from caravan.types.v1 import types_pb2

_PIPED = "-"


@dataclass(frozen=True)
class _Item:
    """Something to insert."""

    document_id: str
    path: Path | None = None
    url: str = ""
    size: int = 0


@dataclass
class _Tally:
    """What has become of what was sent."""

    results: list[memory_pb2.DocumentResult] = field(default_factory=list)
    refused: int = 0


@with_session
def insert(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    bank_id: Annotated[str, typer.Argument(help="Identifier of the memory bank.", show_default=False)],
    sources: Annotated[
        list[str],
        typer.Argument(help="Files, folders, http(s) addresses, or - for what is piped in.", show_default=False),
    ],
    document_id: Annotated[
        str, typer.Option("--id", help="Identifier of the document, when there is one only.", show_default=False)
    ] = "",
    mime_type: Annotated[
        str, typer.Option("--mime-type", help="Media type. Default: told from name and content.", show_default=False)
    ] = "",
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", help="A fact, name=value; may be given again.")
    ] = None,
    ttl: Annotated[int | None, typer.Option("--ttl", min=1, help="Life in seconds. Default: the bank's.")] = None,
) -> None:
    """Insert documents. What is there already, the same, is left alone; of folders, the files that can be read."""
    items = [item for source in sources for item in _items(source)]
    if document_id and len(items) != 1:
        raise InvalidInputError(f"--id names one document and {len(items)} are to be inserted")
    if document_id:
        items = [_Item(document_id, items[0].path, items[0].url, items[0].size)]
    facts = dict(_pair(item) for item in metadata or ())
    tally = _Tally()
    requests = (request for item in items for request in _requests(item, mime_type, facts))
    with _progress(session) as progress:
        bar = progress.add_task(bank_id, total=sum(item.size for item in items) or None, documents=f"0/{len(items)}")
        for event in session.client.memory.bulk_insert(bank_id, requests, ttl_seconds=ttl):
            match event.WhichOneof("event"):
                case "document":
                    _tell(session, tally, event.document)
                    progress.update(bar, documents=f"{len(tally.results)}/{len(items)}")
                case "progress":
                    progress.update(bar, completed=event.progress.bytes_received)
    _summary(session, tally)
    if tally.refused:
        raise typer.Exit(1)


def plain(text: str) -> Any:
    """Reads a value of an option: JSON where it can be read so, else the text itself.

    Args:
        text: What was written.
    """
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _items(source: str) -> Iterator[_Item]:
    if source == _PIPED:
        yield _Item("piped", Path("/dev/stdin"))
        return
    if source.startswith(("http://", "https://")):
        yield _Item(source, url=source)
        return
    path = Path(source)
    if path.is_dir():
        found = sorted(one for one in path.rglob("*") if one.suffix.lower() in MIME_TYPES and one.is_file())
        shown = [one for one in found if not any(part.startswith(".") for part in one.relative_to(path).parts)]
        if not shown:
            raise InvalidInputError(f"{source} holds no file that can be read: {', '.join(sorted(MIME_TYPES))}")
        yield from (_Item(one.relative_to(path).as_posix(), one, size=one.stat().st_size) for one in shown)
    elif path.is_file():
        yield _Item(path.name, path, size=path.stat().st_size)
    else:
        raise InvalidInputError(f"there is no file or folder {source}")


def _requests(item: _Item, mime_type: str, facts: dict[str, Any]) -> Iterator[memory_pb2.BulkInsertDocumentsRequest]:
    if item.path is not None:
        yield from file_requests(item.path, item.document_id, mime_type=mime_type, metadata=facts)
        return
    document = memory_pb2.Document(document_id=item.document_id, mime_type=mime_type, url=types_pb2.URL(uri=item.url))
    document.metadata.update(facts)
    yield memory_pb2.BulkInsertDocumentsRequest(document=document)


def _progress(session: Session) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[documents]} documents"),
        TimeRemainingColumn(),
        console=session.err,
        disable=not session.err.is_terminal or session.json,
    )


def _tell(session: Session, tally: _Tally, result: memory_pb2.DocumentResult) -> None:
    tally.results.append(result)
    refused = result.outcome == memory_pb2.DOCUMENT_OUTCOME_REFUSED
    tally.refused += refused
    if session.json:
        session.write_json_line(result)
    elif refused:
        session.err.print(f"{result.document_id} is refused: {result.error.message}", markup=False, soft_wrap=True)


def _summary(session: Session, tally: _Tally) -> None:
    if session.json:
        return
    chunks = sum(result.chunk_count for result in tally.results)
    counts = {
        word: sum(result.outcome == outcome for result in tally.results)
        for word, outcome in (
            ("inserted", memory_pb2.DOCUMENT_OUTCOME_INSERTED),
            ("changed", memory_pb2.DOCUMENT_OUTCOME_UPDATED),
            ("unchanged", memory_pb2.DOCUMENT_OUTCOME_UNCHANGED),
            ("refused", memory_pb2.DOCUMENT_OUTCOME_REFUSED),
        )
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    session.err.print(f"{told or 'nothing to insert'}; {chunks} chunks", markup=False)


def _pair(item: str) -> tuple[str, Any]:
    name, separator, value = item.partition("=")
    if not separator or not name:
        raise InvalidInputError(f"{item!r} is not name=value", "--metadata")
    return name, plain(value)
