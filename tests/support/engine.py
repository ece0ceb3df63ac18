"""What tests know of a running inference service."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """A running inference service on vLLM."""

    address: str
    """Address of the service."""
    model_id: str
    """Name of its model."""
