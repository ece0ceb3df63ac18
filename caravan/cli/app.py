"""All commands together."""

import typer

from caravan.cli import (
    agent,
    chat,
    complete,
    datasets,
    embed,
    health,
    jobs,
    memory,
    models,
    providers,
    routes,
    shield,
    train,
    up,
    version,
)

app = typer.Typer(
    name="caravan",
    help="Llama Stack APIs over gRPC: start a stack on this machine, and talk to one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("chat")(chat.chat)
app.command("complete")(complete.complete)
app.command("embed")(embed.embed)
app.add_typer(models.app, name="models")
app.add_typer(agent.app, name="agent")
app.add_typer(memory.app, name="memory")
app.add_typer(datasets.app, name="datasets")
app.add_typer(train.app, name="train")
app.add_typer(jobs.app, name="jobs")
app.add_typer(shield.app, name="shield")
app.command("providers")(providers.providers)
app.command("routes")(routes.routes)
app.command("health")(health.health)
app.command("version")(version.version)
