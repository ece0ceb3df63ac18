"""`caravan models`: what can be requested."""

from typing import Annotated

import typer

from caravan.cli.session import Session, facts, with_session
from caravan.errors import InvalidInputError
from caravan.registry.v1 import entry_pb2, models_pb2

app = typer.Typer(help="List, register and unregister models.", no_args_is_help=True)
_KINDS = {models_pb2.MODEL_TYPE_EMBEDDING: "embedding", models_pb2.MODEL_TYPE_REWARD: "reward"}
ModelId = Annotated[str, typer.Argument(help="Identifier of the model.", show_default=False)]


@with_session
def list_models(
    session: Session,
    provider: Annotated[str, typer.Option("--provider", help="Only those of this provider.", show_default=False)] = "",
) -> None:
    """List the models."""
    models = list(session.client.models.list(provider_id=provider))
    if session.json:
        session.write_list("models", models)
        return
    rows = [[m.model_id, _kind(m), m.provider_id, _availability(m), _facts(m)] for m in models]
    session.write_table(["model", "type", "provider", "state", "facts"], rows, empty="there are no models")


@with_session
def get(session: Session, model_id: ModelId) -> None:
    """Show one model."""
    _show(session, session.client.models.get(model_id))


@with_session
def register(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    model_id: ModelId,
    provider: Annotated[str, typer.Option("--provider", help="Provider to serve it.", show_default=False)] = "",
    provider_model_id: Annotated[
        str, typer.Option("--provider-model-id", help="Identifier that the provider uses.", show_default=False)
    ] = "",
    model_type: Annotated[str, typer.Option("--type", help="llm, embedding or reward.")] = "llm",
    adapter: Annotated[
        str, typer.Option("--adapter", help="LoRA adapter to load: a folder or a Hugging Face id.", show_default=False)
    ] = "",
    base: Annotated[
        str,
        typer.Option("--base", help="Model that the adapter is for, by the provider's identifier.", show_default=False),
    ] = "",
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", help="A fact, name=value; may be given again.")
    ] = None,
) -> None:
    """Register a model; when this returns it can be requested."""
    if bool(adapter) != bool(base):
        raise InvalidInputError("give --adapter and --base together")
    with session.waiting(f"registering {model_id}"):
        model = session.client.models.register(
            model_id,
            provider_id=provider,
            provider_model_id=provider_model_id,
            model_type=model_type,
            adapter={"base_model_id": base, "source": adapter} if adapter else None,
            metadata=dict(_pair(item) for item in metadata) if metadata else None,
        )
    _show(session, model)


@with_session
def unregister(
    session: Session,
    model_id: ModelId,
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="Only if it still has this revision.")
    ] = None,
) -> None:
    """Take a model out of the registry."""
    with session.waiting(f"unregistering {model_id}"):
        session.client.models.unregister(model_id, revision=revision)
    if session.json:
        session.write("{}\n")
    else:
        session.err.print(f"{model_id} is unregistered", markup=False)


app.command("list")(list_models)
app.command("get")(get)
app.command("register")(register)
app.command("unregister")(unregister)


def _show(session: Session, model: models_pb2.Model) -> None:
    if session.json:
        session.write_json(model)
        return
    rows = [
        ["model", model.model_id],
        ["type", _kind(model)],
        ["provider", model.provider_id],
        ["provider's name", model.provider_model_id],
        ["adapter", f"{model.adapter.source} on {model.adapter.base_model_id}" if model.HasField("adapter") else ""],
        ["state", _availability(model)],
        ["registered", _registered(model)],
        ["facts", _facts(model)],
    ]
    for name, value in rows:
        if value:
            session.write(f"{name:<16} {value}\n")


def _kind(model: models_pb2.Model) -> str:
    return _KINDS.get(model.model_type, "llm")


def _availability(model: models_pb2.Model) -> str:
    name = entry_pb2.Availability.Name(model.entry.availability).removeprefix("AVAILABILITY_")
    state = "unknown" if name == "UNSPECIFIED" else name.lower().replace("_", " ")
    reason = model.entry.unavailable_reason
    return f"{state}: {reason}" if reason else state


def _registered(model: models_pb2.Model) -> str:
    if not model.entry.revision:
        return "no: the provider serves it by itself"
    return f"{model.entry.registered_at.ToDatetime():%Y-%m-%d %H:%M:%S} UTC, revision {model.entry.revision}"


def _facts(model: models_pb2.Model) -> str:
    return ", ".join(f"{name}={value}" for name, value in facts(model.metadata).items())


def _pair(item: str) -> tuple[str, str]:
    name, separator, value = item.partition("=")
    if not separator or not name:
        raise InvalidInputError(f"{item!r} is not name=value", "--metadata")
    return name, value
