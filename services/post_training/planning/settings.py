"""Settings of planning."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class PlanningSettings(BaseModel):
    """Where base models are, and how much is looked at before a job is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_folders: tuple[Path, ...] = Field(
        default=(), description="Folders whose models may be trained, with the folders in them."
    )
    hub: bool = Field(
        default=True, description="Downloads base models from Hugging Face; without it only cached ones are used."
    )
    download_seconds: float = Field(
        default=1800.0, gt=0, description="Longest time that the download of a model may take."
    )
    downloads: int = Field(default=4, ge=1, le=64, description="Most downloads of models at the same time.")
    workers: int = Field(default=1, ge=1, le=16, description="Most requests that are checked at the same time.")
    waiting: int = Field(default=64, ge=1, description="Most requests that wait to be checked.")
    seconds: float = Field(default=300.0, gt=0, description="Longest time that the check of one request may take.")
    idle_seconds: float = Field(
        default=600.0, gt=0, description="Seconds after which a process that checks and has nothing to do ends."
    )
    sampled_rows: int = Field(
        default=2000,
        ge=1,
        description="Rows that are turned into tokens for an estimate; all rows are checked, and smaller sets are counted exactly.",
    )
