"""`caravan routes`: where calls go."""

from typing import Annotated

import typer

from caravan.cli.session import Session, with_session


@with_session
def routes(
    session: Session,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Show the replicas that serve this model.", show_default=False)
    ] = None,
) -> None:
    """List the RPCs that the gateway routes, or the replicas that serve a model."""
    if model:
        _resolve(session, model)
        return
    found = list(session.client.routes.list())
    if session.json:
        session.write_list("routes", found)
        return
    rows = [
        [
            route.grpc_path,
            f"{route.method} {route.route}".strip(),
            "gateway" if route.gateway else ", ".join(route.provider_types),
        ]
        for route in found
    ]
    session.write_table(["rpc", "http", "answered by"], rows, empty="there are no routes")


def _resolve(session: Session, model: str) -> None:
    answer = session.client.routes.resolve(kind="model", resource_id=model)
    if session.json:
        session.write_json(answer)
        return
    rows = [
        [item.address, "healthy" if item.healthy else "not healthy", answer.provider_id] for item in answer.endpoints
    ]
    session.write_table(["replica", "state", "provider"], rows, empty=f"nobody serves {model} now")
