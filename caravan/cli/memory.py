"""`caravan memory`: banks, the documents in them, and searching them."""

import json
import sys
from typing import Annotated, Any

import typer

from caravan.cli import memory_graph, memory_hits, memory_insert, memory_values
from caravan.cli.session import Session, facts, with_session
from caravan.errors import InvalidInputError
from caravan.memory.v1 import memory_pb2
from caravan.messages import text_of
from caravan.registry.v1 import memory_banks_pb2

app = typer.Typer(help="Register memory banks, insert documents, search them.", no_args_is_help=True)
BankId = Annotated[str, typer.Argument(help="Identifier of the memory bank.", show_default=False)]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", "-w", help="Only what has this metadata, name=value; may be given again."),
]


@with_session
def banks(
    session: Session,
    provider: Annotated[str, typer.Option("--provider", help="Only those of this provider.", show_default=False)] = "",
) -> None:
    """List the memory banks."""
    found = list(session.client.memory_banks.list(provider_id=provider))
    if session.json:
        session.write_list("memory_banks", found)
        return
    rows = [[bank.memory_bank_id, _kind(bank), bank.provider_id, _about(bank)] for bank in found]
    session.write_table(["bank", "type", "provider", "parameters"], rows, empty="there are no memory banks")


@with_session
def register(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    bank_id: BankId,
    kind: Annotated[str, typer.Option("--type", help="vector, keyword, keyvalue or graph.")] = "vector",
    embedding_model: Annotated[
        str, typer.Option("--embedding-model", "-m", help="Model that embeds the texts.", show_default=False)
    ] = "",
    chunk_size: Annotated[
        int | None, typer.Option("--chunk-size", min=1, help="Length of a chunk in tokens. Default: 512.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option("--overlap", min=0, help="Tokens that chunks share. Default: a quarter of a chunk.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="cosine, dot or l2.", show_default=False)] = "",
    index: Annotated[str, typer.Option("--index", help="hnsw or flat.", show_default=False)] = "",
    language: Annotated[
        str, typer.Option("--language", help="Of the texts, for instance en.", show_default=False)
    ] = "",
    extraction_model: Annotated[
        str, typer.Option("--extraction-model", help="Model that reads entities out of texts.", show_default=False)
    ] = "",
    ttl: Annotated[int | None, typer.Option("--ttl", min=1, help="Life of documents, in seconds.")] = None,
    provider: Annotated[str, typer.Option("--provider", help="Provider to serve it.", show_default=False)] = "",
) -> None:
    """Register a memory bank; when this returns it can be used."""
    given: dict[str, Any] = {
        "embedding_model": embedding_model,
        "chunk_size_in_tokens": chunk_size,
        "overlap_size_in_tokens": overlap,
        "metric": metric and f"VECTOR_METRIC_{metric.upper()}",
        "index": index and f"VECTOR_INDEX_{index.upper()}",
        "language": language,
        "extraction_model": extraction_model,
    }
    params = {"memory_bank_type": kind, **{name: value for name, value in given.items() if value not in ("", None)}}
    if kind == "vector" and not embedding_model:
        raise InvalidInputError("name the model with --embedding-model; `caravan models list` shows what there is")
    with session.waiting(f"registering {bank_id}"):
        bank = session.client.memory_banks.register(
            bank_id, params, provider_id=provider, default_ttl=f"{ttl}s" if ttl is not None else None
        )
    if session.json:
        session.write_json(bank)
    else:
        session.err.print(
            f"{bank_id} is registered with {bank.provider_id}: {_kind(bank)}, {_about(bank)}", markup=False
        )


@with_session
def unregister(
    session: Session,
    bank_id: BankId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a memory bank out of the registry and delete everything in it."""
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInputError("this deletes every document of the bank; say --yes")
        typer.confirm(f"Delete {bank_id} with everything in it?", abort=True, err=True)
    with session.waiting(f"deleting {bank_id}"):
        session.client.memory_banks.unregister(bank_id)
    if session.json:
        session.write("{}\n")
    else:
        session.err.print(f"{bank_id} is deleted", markup=False)


@with_session
def stats(session: Session, bank_id: BankId) -> None:
    """Show how full a memory bank is."""
    statistics = session.client.memory.statistics(bank_id)
    if session.json:
        session.write_json(statistics)
        return
    for name in ("document_count", "chunk_count", "token_count", "entity_count", "relation_count"):
        value = getattr(statistics, name)
        if value or name == "document_count":
            session.write(f"{name.removesuffix('_count') + 's':<10} {value:,}\n")
    for name in ("memory_bytes", "disk_bytes"):
        session.write(f"{name.removesuffix('_bytes'):<10} {getattr(statistics, name) / 2**20:,.1f} MiB\n")


@with_session
def query(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    bank_id: BankId,
    text: Annotated[str, typer.Argument(help="What to look for.", show_default=False)],
    also: Annotated[list[str] | None, typer.Option("--also", help="Search this bank too; may be given again.")] = None,
    chunks: Annotated[int, typer.Option("--chunks", "-k", min=1, max=1000, help="Most chunks to show.")] = 5,
    mode: Annotated[
        str | None, typer.Option("--mode", help="vector, keyword, hybrid or graph. Default: as the bank is made.")
    ] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Least score.")] = None,
    rerank: Annotated[str, typer.Option("--rerank", help="Model that judges the hits.", show_default=False)] = "",
    where: Where = None,
    whole: Annotated[bool, typer.Option("--whole", help="Show chunks whole.")] = False,
) -> None:
    """Search memory banks."""
    parameters: dict[str, Any] = {"max_chunks": chunks, "mode": mode, "score_threshold": threshold}
    parameters |= {"rerank": {"model": rerank} if rerank else None, "filter": _filter(where)}
    with session.waiting("searching"):
        found = session.client.memory.query([bank_id, *also] if also else bank_id, text, **parameters)
    if session.json:
        session.write_json(found)
        return
    memory_hits.write(session, found, whole=whole)


@with_session
def list_documents(session: Session, bank_id: BankId, where: Where = None) -> None:
    """List the documents of a memory bank."""
    documents = list(session.client.memory.list(bank_id, filter=_filter(where)))
    if session.json:
        session.write_list("documents", documents)
        return
    rows = [
        [
            one.document_id,
            one.mime_type,
            str(one.chunk_count),
            f"{one.size_bytes:,}",
            f"{one.updated_at.ToDatetime():%Y-%m-%d %H:%M}",
            ", ".join(f"{name}={value}" for name, value in facts(one.metadata).items()),
        ]
        for one in documents
    ]
    columns = ["document", "type", "chunks", "bytes", "changed (UTC)", "metadata"]
    session.write_table(columns, rows, empty=f"{bank_id} holds no documents")


@with_session
def get(
    session: Session, bank_id: BankId, document_id: Annotated[str, typer.Argument(help="Identifier of the document.")]
) -> None:
    """Show a document's text; --json shows all that is known of it."""
    found = session.client.memory.get(bank_id, document_id)
    if not found:
        raise InvalidInputError(
            f"{bank_id} has no document {document_id!r}; `caravan memory list {bank_id}` shows them"
        )
    if session.json:
        session.write_json(found[0])
    else:
        session.write(text_of(found[0].content).rstrip("\n") + "\n")


@with_session
def delete(
    session: Session,
    bank_id: BankId,
    document_ids: Annotated[list[str] | None, typer.Argument(help="Identifiers of documents.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all documents of the bank.")] = False,
    where: Where = None,
) -> None:
    """Delete documents."""
    count = session.client.memory.delete(bank_id, document_ids or (), filter=_filter(where), all=everything)
    if session.json:
        session.write(json.dumps({"deleted_count": count}) + "\n")
    else:
        session.err.print(f"{count} documents are deleted", markup=False)


app.command("banks")(banks)
app.command("register")(register)
app.command("unregister")(unregister)
app.command("stats")(stats)
app.command("insert")(memory_insert.insert)
app.command("query")(query)
app.command("list")(list_documents)
app.command("get")(get)
app.command("delete")(delete)
app.command("put")(memory_values.put)
app.command("value")(memory_values.value)
app.command("keys")(memory_values.keys)
app.command("remove")(memory_values.remove)
app.add_typer(memory_graph.app, name="graph")


def _filter(where: list[str] | None) -> dict[str, Any] | None:
    """Returns the filter that name=value options mean: all of them hold. A value is JSON where it can be read so."""
    if not where:
        return None
    conditions = []
    for item in where:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise InvalidInputError(f"{item!r} is not name=value", "--where")
        conditions.append({"type": "eq", "key": name, "value": memory_insert.plain(value)})
    return conditions[0] if len(conditions) == 1 else {"type": "and", "filters": conditions}


def _kind(bank: memory_banks_pb2.MemoryBank) -> str:
    return bank.params.WhichOneof("params") or ""


def _about(bank: memory_banks_pb2.MemoryBank) -> str:
    params = getattr(bank.params, _kind(bank)) if _kind(bank) else memory_pb2.BankStatistics()
    values = {}
    for field, value in params.ListFields():
        enum = field.enum_type
        values[field.name] = enum.values_by_number[value].name.rsplit("_", 1)[1].lower() if enum is not None else value
    if bank.HasField("default_ttl"):
        values["ttl"] = f"{bank.default_ttl.ToSeconds()}s"
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "none"
