"""Settings of the inference service."""

from typing import Annotated

from pydantic import Field

from services.core.settings import ServiceSettings
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.sentence_transformers.config import SentenceTransformersConfig
from services.inference.providers.vllm.config import VllmConfig

ProviderConfig = Annotated[VllmConfig | RemoteOpenAIConfig | SentenceTransformersConfig, Field(discriminator="type")]


class InferenceSettings(ServiceSettings):
    """Settings of one replica of one inference provider."""

    provider: ProviderConfig = Field(description="What generates; `type` says which kind of provider it is.")
    batch_concurrency: int = Field(default=64, ge=1, description="Most calls that one batch runs at a time.")
