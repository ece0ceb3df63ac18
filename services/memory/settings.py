"""Settings of the memory service."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.core.gateway import CallingSettings
from services.core.settings import MEBIBYTE
from services.memory.bulk import BulkSettings
from services.memory.embedding import EmbeddingSettings
from services.memory.providers.embedded.config import EmbeddedConfig
from services.memory.providers.postgres.config import PostgresConfig
from services.memory.sources import DocumentSettings

ProviderConfig = Annotated[EmbeddedConfig | PostgresConfig, Field(discriminator="type")]


class TokenizerSettings(BaseModel):
    """By whose tokens text is cut."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, Path] = Field(
        default_factory=dict,
        description="tokenizer.json files by the model_id of embedding models whose own is not found by itself.",
    )
    default: Path | None = Field(
        default=None,
        description="tokenizer.json for banks without an embedding model, and for models without their own. Unset: words.",
    )


class MemorySettings(CallingSettings):
    """Settings of one replica of one memory provider."""

    provider: ProviderConfig = Field(description="Where banks are kept; `type` says which kind of provider it is.")
    # A document of 64 MiB with its metadata.
    max_receive_bytes: int = Field(
        default=72 * MEBIBYTE, ge=1024, le=2**31 - 1, description="Largest request message in bytes."
    )
    tokenizers: TokenizerSettings = Field(default_factory=TokenizerSettings, description="By whose tokens text is cut.")
    documents: DocumentSettings = Field(
        default_factory=DocumentSettings, description="What documents may be, and how they are read."
    )
    embedding: EmbeddingSettings = Field(default_factory=EmbeddingSettings, description="How texts are embedded.")
    bulk: BulkSettings = Field(default_factory=BulkSettings, description="How bulk insertions run.")
    purge_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Seconds between two deletions of what has expired; it is not seen any more before that.",
    )
