"""The `caravan` command."""


def main() -> None:
    """Runs the command with this process's arguments."""
    from caravan.cli.app import app

    app()
