"""Settings of data sets."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from services.core.fetch import FetchLimits

ROW_BYTES = 4_000_000
"""Largest row: one that every client can receive, whose gRPC takes 4 MiB unless told otherwise."""


class DatasetsSettings(BaseModel):
    """What data sets may be, and where they may come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bytes: int = Field(
        default=4 << 30,
        ge=1,
        le=1 << 40,
        description="Most bytes of a data set's rows, and of a file that it comes from.",
    )
    max_rows: int = Field(default=10_000_000, ge=1, le=1 << 32, description="Most rows of a data set.")
    max_row_bytes: int = Field(default=ROW_BYTES, ge=1024, le=ROW_BYTES, description="Most bytes of a row as JSON.")
    max_columns: int = Field(default=1024, ge=1, le=1024, description="Most columns of a data set.")
    max_revisions: int = Field(default=100_000, ge=1, le=1 << 32, description="Most revisions of a data set.")
    folders: tuple[Path, ...] = Field(
        default=(),
        description="Folders from which files, and folders laid out like a Hugging Face data set, may be read. Empty: none.",
    )
    allow_private_addresses: bool = Field(default=False, description="Fetch from loopback and private addresses too.")
    fetch_seconds: float = Field(default=900.0, gt=0, description="Longest time to fetch a data set from an address.")
    huggingface_endpoint: str = Field(
        default="https://huggingface.co", pattern=r"^https?://", description="Hugging Face's hub, or a mirror of it."
    )
    huggingface_token: SecretStr = Field(
        default=SecretStr(""), description="Token for private and gated data sets on Hugging Face. Empty: none."
    )
    concurrency: int = Field(
        default=8, ge=1, le=1024, description="Most data sets that come in at a time; more are refused for the moment."
    )
    upload_idle_seconds: float = Field(
        default=120.0, gt=0, description="Seconds without data after which an upload is given up."
    )
    import_workers: int = Field(default=2, ge=1, le=64, description="Most processes that read and check rows.")
    import_seconds: float = Field(default=3600.0, gt=0, description="Longest time to read and check a data set.")
    import_memory_bytes: int = Field(
        default=4 << 30, ge=1 << 30, description="Most memory of a process that reads rows."
    )
    sweep_seconds: float = Field(
        default=600.0, gt=0, description="Seconds between two removals of what processes that died left on the disk."
    )
    sweep_grace_seconds: float = Field(
        default=4 * 3600.0,
        gt=0,
        description="Seconds that a file which belongs to nothing is left alone; longer than the longest import takes.",
    )

    @property
    def fetch_limits(self) -> FetchLimits:
        """How far a fetch may go."""
        return FetchLimits(self.fetch_seconds, self.max_bytes, self.allow_private_addresses)
