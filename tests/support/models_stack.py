"""A gateway before a chat model and a reward model, both on vLLM: what trainings and synthetic data need of the other services."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import grpc

from caravan.registry.v1 import models_pb2, models_pb2_grpc
from tests.support.processes import CHAT_MODEL, ROOT, ServiceProcess
from tests.support.stack import free_address
from tests.support.valkey import valkey_server

CHAT = CHAT_MODEL.name
JUDGE = "judge"
REWARD_MODEL = ROOT / "models" / "caravan-reward"
MAX_LORA_RANK = 64
# Two engines at once, on a machine that has other things to do.
START_SECONDS = 400.0


@dataclass(frozen=True)
class ModelsStack:
    """What runs."""

    target: str
    """Address of the gateway."""
    redis_url: str
    """Its store."""
    chat_address: str
    """Address of the chat model's inference service itself."""


@contextmanager
def models_stack() -> Iterator[ModelsStack]:
    """Runs a gateway with the providers `chat` (the demo model) and `judge` (the demo reward model)."""
    small = {"type": "inline::vllm", "kv_cache_memory_bytes": 64 << 20}
    wanted = {
        "chat": {**small, "model": str(CHAT_MODEL), "max_lora_rank": MAX_LORA_RANK},
        "judge": {**small, "model": str(REWARD_MODEL), "model_id": JUDGE, "model_type": "reward", "max_model_len": 512},
    }
    target = free_address()
    with ExitStack() as running:
        valkey = running.enter_context(valkey_server())
        engines = {name: _process(running, name, {"PROVIDER": provider}) for name, provider in wanted.items()}
        addresses = {name: process.wait_for("listening", START_SECONDS)["address"] for name, process in engines.items()}
        providers = [{"provider_id": name, "addresses": [address]} for name, address in addresses.items()]
        arguments = ("--listen", target, "--redis-url", valkey.url, "--poll-seconds", "0.1", "--workers", "1")
        gateway = ServiceProcess("gateway", *arguments, environment={"CARAVAN_PROVIDERS": json.dumps(providers)})
        running.callback(gateway.stop)
        for process in (gateway, *engines.values()):
            process.wait_for("serving", START_SECONDS)
        _wait_until_listed(target, {CHAT, JUDGE})
        yield ModelsStack(target, valkey.url, addresses["chat"])


def _process(running: ExitStack, name: str, settings: dict[str, object]) -> ServiceProcess:
    environment = {f"CARAVAN_{key}": json.dumps(value) for key, value in settings.items()}
    process = ServiceProcess(
        "services.inference",
        *("--listen", "127.0.0.1:0", "--provider-id", name),
        environment={"OMP_NUM_THREADS": "1", **environment},
    )
    running.callback(process.stop)
    return process


def _wait_until_listed(target: str, model_ids: set[str]) -> None:
    ends = time.monotonic() + 30
    with grpc.insecure_channel(target) as channel:
        stub = models_pb2_grpc.ModelsServiceStub(channel)
        while True:
            listed = stub.ListModels(models_pb2.ListModelsRequest(), timeout=10).data
            if model_ids <= {model.model_id for model in listed if model.entry.availability == 1}:
                return
            assert time.monotonic() < ends, f"not listed: {model_ids}"
            time.sleep(0.05)
