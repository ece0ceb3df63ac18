"""Settings of scoring."""

from pydantic import BaseModel, ConfigDict, Field


class ScoringSettings(BaseModel):
    """How answers are scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: int = Field(
        default=16, ge=1, le=1024, description="Most dialogs of one call that are scored at the same time."
    )
    call_seconds: float = Field(
        default=120.0, gt=0, le=3600, description="Longest time for scoring the answers to one dialog."
    )
