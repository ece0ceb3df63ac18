"""`caravan providers`: what runs behind the gateway."""

import json
from typing import Annotated

import typer
from rich.text import Text

from caravan.cli.health_words import health_text, health_word
from caravan.cli.session import Session, facts, with_session
from caravan.inspect.v1 import inspect_pb2


@with_session
def providers(
    session: Session,
    provider_id: Annotated[
        str | None, typer.Argument(help="Show this one with its configuration and replicas.", show_default=False)
    ] = None,
) -> None:
    """List the providers, or show one."""
    if provider_id:
        _show(session, session.client.providers.get(provider_id))
        return
    found = list(session.client.providers.list())
    if session.json:
        session.write_list("providers", found)
        return
    rows: list[list[str | Text]] = [
        [p.provider_id, p.provider_type, _api(p), health_text(p.health), str(len(p.replicas))] for p in found
    ]
    session.write_table(["provider", "type", "api", "health", "replicas"], rows, empty="there are no providers")
    for provider in found:
        for warning in provider.warnings:
            session.err.print(f"warning: {provider.provider_id}: {warning}", markup=False, soft_wrap=True)


def _show(session: Session, provider: inspect_pb2.Provider) -> None:
    if session.json:
        session.write_json(provider)
        return
    lines = [
        ("provider", provider.provider_id),
        ("type", provider.provider_type),
        ("services", ", ".join(provider.services) or provider.api),
        ("health", health_word(provider.health)),
        ("config", json.dumps(facts(provider.config), ensure_ascii=False)),
    ]
    lines += [("replica", _replica(replica)) for replica in provider.replicas]
    lines += [("warning", warning) for warning in provider.warnings]
    for name, value in lines:
        session.write(f"{name:<10} {value}\n")


def _replica(replica: inspect_pb2.Replica) -> str:
    text = f"{replica.address}  {health_word(replica.health)}  {replica.resource_count} resources"
    return f"{text}  {replica.message}" if replica.message else text


def _api(provider: inspect_pb2.Provider) -> str:
    parts = provider.api.split(".")
    return parts[1] if len(parts) > 2 else provider.api
