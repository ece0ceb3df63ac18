"""A gateway, an inference service before a loopback server, and safety services, as processes."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from caravan.inference.v1 import inference_pb2_grpc
from caravan.registry.v1 import models_pb2, models_pb2_grpc, shields_pb2, shields_pb2_grpc
from caravan.safety.v1 import safety_pb2_grpc
from tests.support.guard_server import GuardServer, guard_server
from tests.support.processes import ServiceProcess
from tests.support.stack import free_address
from tests.support.valkey import valkey_server

START_SECONDS = 60.0
TOKEN = "let the guard pass"
RULES = {
    "type": "inline::rules",
    "shields": [
        {
            "shield_id": "words",
            "params": {
                "deny": [
                    {"name": "weapon", "pattern": r"\bgrenades?\b"},
                    {"name": "key", "pattern": r"\bkey-[0-9]{1,6}\b", "level": "info", "replacement": "[key]"},
                    {"name": "grumble", "pattern": r"\bhmm\b", "level": "warn"},
                ]
            },
        }
    ],
}


@dataclass(frozen=True)
class SafetyStack:
    """What runs."""

    target: str
    """Address of the gateway."""
    inference_address: str
    """Address of the inference service itself."""
    guard: GuardServer
    """The server behind the inference service."""
    channel: grpc.aio.Channel
    """To the gateway."""
    processes: Mapping[str, ServiceProcess]
    """By provider."""

    @property
    def safety(self) -> safety_pb2_grpc.SafetyServiceStub:
        return safety_pb2_grpc.SafetyServiceStub(self.channel)

    @property
    def inference(self) -> inference_pb2_grpc.InferenceServiceStub:
        return inference_pb2_grpc.InferenceServiceStub(self.channel)

    @property
    def shields(self) -> shields_pb2_grpc.ShieldsServiceStub:
        return shields_pb2_grpc.ShieldsServiceStub(self.channel)

    @property
    def models(self) -> models_pb2_grpc.ModelsServiceStub:
        return models_pb2_grpc.ModelsServiceStub(self.channel)

    async def register(self, shield_id: str, provider_id: str, *always_on: str, model: str = "", **params: Any) -> None:
        """Registers a shield."""
        request = shields_pb2.RegisterShieldRequest(
            shield_id=shield_id, provider_id=provider_id, provider_shield_id=model, always_on_model_ids=always_on
        )
        request.params.update(params)
        await self.shields.RegisterShield(request, timeout=20)

    @asynccontextmanager
    async def registered(self, shield_id: str, *arguments: Any, **params: Any) -> AsyncIterator[None]:
        """A shield that is registered for a while."""
        await self.register(shield_id, *arguments, **params)
        try:
            yield
        finally:
            await self.shields.UnregisterShield(shields_pb2.UnregisterShieldRequest(shield_id=shield_id), timeout=20)


@asynccontextmanager
async def safety_stack(*, guards_token: str = TOKEN, **inference: object) -> AsyncIterator[SafetyStack]:
    """Runs a stack with the providers `guard` (llama-guard), `rules`, and `remote` (inference).

    Args:
        guards_token: What the guards show to be exempt from shields that are always on.
        **inference: Settings of the inference service beside the provider's.
    """
    target = free_address()
    async with AsyncExitStack() as running:
        guard = await running.enter_async_context(guard_server())
        valkey = running.enter_context(valkey_server())
        remote = {"type": "remote::openai", "base_url": guard.url, "dialect": "vllm", "refresh_seconds": 0.2}
        guards = {"type": "inline::llama-guard", "poll_seconds": 0.1}
        token = {"CARAVAN_SHIELD_TOKEN": TOKEN}
        settings = {name.upper(): str(value) for name, value in inference.items()}
        wanted: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
            "remote": ("services.inference", remote, {**token, **{f"CARAVAN_{k}": v for k, v in settings.items()}}),
            "guard": ("services.safety", guards, {"CARAVAN_SHIELD_TOKEN": guards_token}),
            "rules": ("services.safety", RULES, token),
        }
        processes = {
            name: ServiceProcess(
                module,
                *("--listen", "127.0.0.1:0", "--provider-id", name, "--gateway.address", target),
                environment={"CARAVAN_PROVIDER": json.dumps(provider), "OMP_NUM_THREADS": "1", **environment},
            )
            for name, (module, provider, environment) in wanted.items()
        }
        for process in processes.values():
            running.callback(process.stop)
        addresses = {
            name: (await asyncio.to_thread(process.wait_for, "listening", START_SECONDS))["address"]
            for name, process in processes.items()
        }
        providers = [{"provider_id": name, "addresses": [address]} for name, address in addresses.items()]
        gateway = ServiceProcess(
            "gateway",
            *("--listen", target, "--redis-url", valkey.url, "--poll-seconds", "0.1", "--workers", "1"),
            environment={"CARAVAN_PROVIDERS": json.dumps(providers)},
        )
        running.callback(gateway.stop)
        for process in (gateway, *processes.values()):
            await asyncio.to_thread(process.wait_for, "serving", START_SECONDS)
        channel = await running.enter_async_context(grpc.aio.insecure_channel(target))
        stack = SafetyStack(target, addresses["remote"], guard, channel, {**processes, "gateway": gateway})
        await _all_served(stack)
        yield stack


async def _all_served(stack: SafetyStack) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            models = await stack.models.ListModels(models_pb2.ListModelsRequest())
            shields = await stack.shields.ListShields(shields_pb2.ListShieldsRequest())
            entries = [*models.data, *shields.data]
            if len(entries) >= 4 and all(entry.entry.availability == 1 for entry in entries):
                return
            await asyncio.sleep(0.05)
