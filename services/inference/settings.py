"""Settings of the inference service."""

from typing import Annotated

from pydantic import Field, SecretStr

from services.core.gateway import GatewaySettings
from services.core.settings import ServiceSettings
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.sentence_transformers.config import SentenceTransformersConfig
from services.inference.providers.vllm.config import VllmConfig

ProviderConfig = Annotated[VllmConfig | RemoteOpenAIConfig | SentenceTransformersConfig, Field(discriminator="type")]


class InferenceSettings(ServiceSettings):
    """Settings of one replica of one inference provider."""

    provider: ProviderConfig = Field(description="What generates; `type` says which kind of provider it is.")
    batch_concurrency: int = Field(default=64, ge=1, description="Most calls that one batch runs at a time.")
    gateway: GatewaySettings | None = Field(
        default=None,
        description="Where the registry and the safety service are, for shields that always guard a model. Unset: there are none.",
    )
    shield_token: SecretStr | None = Field(
        default=None,
        description="Exempts calls that bring it, the guards' own, from those shields; the safety service has the same. Unset: none.",
    )
    shield_poll_seconds: float = Field(
        default=1.0, ge=0.05, le=60, description="Seconds between two looks at the registry's shields."
    )
