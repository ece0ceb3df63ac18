"""`caravan up`: a whole stack on this machine."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from caravan.cli import problems
from caravan.errors import CaravanError


def up(  # noqa: PLR0913 - one parameter an option
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Model to serve: a folder or a Hugging Face id. Default: the demo model.",
            show_default=False,
        ),
    ] = None,
    listen: Annotated[str, typer.Option("--listen", help="Address of the gateway.")] = "127.0.0.1:8321",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes of the gateway.", show_default=False)
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", help="Directory of the registry's data, the settings and the logs.")
    ] = Path(".caravan"),
    redis_url: Annotated[
        str | None,
        typer.Option(
            "--redis-url",
            envvar="CARAVAN_REDIS_URL",
            help="Redis server to use instead of starting one.",
            show_default=False,
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Show a first chat when everything is up.")] = True,
    allow_insecure: Annotated[
        bool, typer.Option("--allow-insecure", help="Listen where other machines reach it, without encryption.")
    ] = False,
) -> None:
    """Start a whole stack on this machine and serve until Ctrl-C: store, inference on vLLM, embeddings, gateway."""
    from caravan.local import plan, stack

    console = Console(highlight=False)
    wish = plan.Wish(model, listen, workers, data, redis_url, allow_insecure)
    try:
        code = asyncio.run(stack.run(wish, console, demo=demo))
    except CaravanError as error:
        problems.report(error, Console(stderr=True, highlight=False), target=listen, as_json=False)
        raise typer.Exit(1) from error
    raise typer.Exit(code)
