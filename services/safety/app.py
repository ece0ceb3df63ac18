"""Composition root of the safety service."""

from typing import Any

from caravan.safety.v1 import safety_pb2_grpc
from services.core.gateway import Gateway
from services.core.server import Binding, ServiceServer
from services.safety.judging import Judge
from services.safety.other_shields import GatewayShields
from services.safety.provider import SERVICE, ShieldProvider
from services.safety.running import Runner
from services.safety.servicer import SafetyServicer
from services.safety.settings import SafetySettings


def build(settings: SafetySettings) -> ServiceServer:
    """Builds the server of one replica.

    Args:
        settings: Which provider it is, and how it is served.
    """
    gateway = Gateway(settings.gateway)
    provider = make_provider(settings, gateway)
    judge = Judge()
    runner = Runner(provider, judge, GatewayShields(gateway))
    servicer = SafetyServicer(provider, judge, runner)
    binding = Binding(SERVICE, safety_pb2_grpc.add_SafetyServiceServicer_to_server, servicer)
    return ServiceServer(settings, [binding], provider, closing=[judge, gateway])


def make_provider(settings: SafetySettings, gateway: Gateway) -> ShieldProvider[Any]:
    """Makes the provider that the settings ask for; only its own dependencies are imported.

    Args:
        settings: The settings.
        gateway: The way to other services.
    """
    config = settings.provider
    match config.type:
        case "inline::llama-guard":
            from services.safety.providers.llama_guard.provider import LlamaGuardProvider

            return LlamaGuardProvider(settings.provider_id, config, gateway, settings.shield_token)
        case "inline::prompt-guard":
            from services.safety.providers.prompt_guard.provider import PromptGuardProvider

            return PromptGuardProvider(settings.provider_id, config)
        case "inline::code-scanner":
            from services.safety.providers.code_scanner.provider import CodeScannerProvider

            return CodeScannerProvider(settings.provider_id, config)
        case "inline::secrets":
            from services.safety.providers.secrets.provider import SecretsProvider

            return SecretsProvider(settings.provider_id, config)
        case "inline::pii":
            from services.safety.providers.pii.provider import PiiProvider

            return PiiProvider(settings.provider_id, config)
        case "inline::rules":
            from services.safety.providers.rules.provider import RulesProvider

            return RulesProvider(settings.provider_id, config)
        case "remote::http":
            from services.safety.providers.remote_http.provider import RemoteHttpProvider

            return RemoteHttpProvider(settings.provider_id, config)
