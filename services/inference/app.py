"""Composition root of the inference service."""

from collections.abc import Sequence

from caravan.inference.v1 import inference_pb2_grpc
from services.core.gateway import Gateway
from services.core.server import Binding, ServiceServer
from services.inference.ports import InferenceProvider
from services.inference.servicer import InferenceServicer
from services.inference.settings import InferenceSettings
from services.inference.shields import AlwaysOn
from services.inference.shields_following import ShieldFollower
from services.inference.shields_gateway import Safety

SERVICE = "caravan.inference.v1.InferenceService"


def build(settings: InferenceSettings) -> ServiceServer:
    """Builds the server of one replica.

    Args:
        settings: Which provider it is, and how it is served.
    """
    provider = make_provider(settings)
    add = inference_pb2_grpc.add_InferenceServiceServicer_to_server
    if settings.gateway is None:
        servicer = InferenceServicer(provider, settings.batch_concurrency)
        return ServiceServer(settings, [Binding(SERVICE, add, servicer)], provider)
    gateway = Gateway(settings.gateway)
    follower = ShieldFollower(gateway, settings.shield_poll_seconds)
    always_on = AlwaysOn(provider, follower, Safety(gateway), settings.shield_token)
    servicer = InferenceServicer(provider, settings.batch_concurrency, always_on)
    return ShieldedServer(settings, [Binding(SERVICE, add, servicer)], provider, follower, gateway)


class ShieldedServer(ServiceServer):
    """A server that follows the shields which guard its models."""

    def __init__(
        self,
        settings: InferenceSettings,
        bindings: Sequence[Binding],
        provider: InferenceProvider,
        follower: ShieldFollower,
        gateway: Gateway,
    ) -> None:
        """Makes the server; see ServiceServer.

        Args:
            settings: Which provider it is, and how it is served.
            bindings: The services to serve.
            provider: The provider behind them.
            follower: Starts and ends with the server.
            gateway: Ends with the server.
        """
        super().__init__(settings, bindings, provider)
        self._follower = follower
        self._gateway = gateway

    async def start(self) -> int:
        """Listens, and begins to start the provider and to follow the shields."""
        self._follower.start()
        return await super().start()

    async def drain(self) -> None:
        """Stops in order; calls that run are guarded to their end."""
        await super().drain()
        await self._close()

    async def stop(self) -> None:
        """Stops now."""
        await super().stop()
        await self._close()

    async def _close(self) -> None:
        await self._follower.stop()
        await self._gateway.close()


def make_provider(settings: InferenceSettings) -> InferenceProvider:
    """Makes the provider that the settings ask for; only its own dependencies are imported."""
    config = settings.provider
    match config.type:
        case "inline::vllm":
            from services.inference.providers.vllm.environment import prepare

            prepare()
            from services.inference.providers.vllm.provider import VllmProvider

            return VllmProvider(settings.provider_id, config, otlp_endpoint=settings.otlp_endpoint)
        case "remote::openai":
            from services.inference.providers.remote_openai.provider import RemoteOpenAIProvider

            return RemoteOpenAIProvider(settings.provider_id, config)
        case "inline::sentence-transformers":
            from services.inference.providers.sentence_transformers.provider import (
                SentenceTransformersProvider,
            )

            return SentenceTransformersProvider(settings.provider_id, config)
