"""`caravan health`: how the gateway and its providers are."""

import typer
from rich.text import Text

from caravan.cli.health_words import health_text
from caravan.cli.session import Session, with_session
from caravan.inspect.v1 import inspect_pb2


@with_session
def health(session: Session) -> None:
    """Tell how the gateway and its providers are; exit code 1 if nothing can serve."""
    response = session.client.health()
    if session.json:
        session.write_json(response)
    else:
        rows: list[list[str | Text]] = [
            ["overall", health_text(response.status)],
            ["registry", health_text(response.registry)],
        ]
        rows += [[name, health_text(status)] for name, status in sorted(response.providers.items())]
        session.write_table(["", "health"], rows, empty="")
    if response.status == inspect_pb2.HEALTH_STATUS_ERROR:
        raise typer.Exit(1)
