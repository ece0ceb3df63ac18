"""Composition root of the inference service."""

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
        settings: Which provider it is, and how it is served. With a gateway, the event loop must run: the shields are followed at once.
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
    follower.start()
    return ServiceServer(settings, [Binding(SERVICE, add, servicer)], provider, closing=[follower, gateway])


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
