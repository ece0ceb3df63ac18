"""Settings of the executors."""

import os

from pydantic import BaseModel, ConfigDict, Field


class LocalSettings(BaseModel):
    """Trainings in processes on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: int = Field(default=1, ge=0, le=256, description="Most trainings at once in this process. 0: none run here.")
    max_processes: int = Field(
        default_factory=lambda: max(1, len(os.sched_getaffinity(0))),
        ge=1,
        le=64,
        description="Most processes of one training. Default: the machine's processors.",
    )
    nice: int = Field(
        default=10, ge=0, le=19, description="How much trainings yield to everything else on the machine, 0 to 19."
    )
    memory_bytes: int = Field(
        default=0, ge=0, description="Memory that one process of a training may use in bytes. 0: no limit."
    )
    reserve_bytes: int = Field(
        default=256 << 20,
        ge=0,
        description="Space on the disk that a training must leave free when it starts, in bytes.",
    )
    stop_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds that a training gets to write its checkpoint and end."
    )
    watch_seconds: float = Field(
        default=0.5, gt=0, le=60, description="Seconds between two looks at the memory that a training uses."
    )
