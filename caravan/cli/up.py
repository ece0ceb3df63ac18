"""`caravan up`."""


def up() -> None:
    """Start a stack."""
