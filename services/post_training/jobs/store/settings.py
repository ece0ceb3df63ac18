"""Settings of the jobs' store."""

from pydantic import BaseModel, ConfigDict, Field


class StoreSettings(BaseModel):
    """What is kept of jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_events: int = Field(
        default=50_000, ge=100, le=10_000_000, description="Events of a job that are kept, about; the oldest go first."
    )
    poll_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Seconds between two looks at what is watched, in case that news were lost.",
    )
