"""Settings of making data."""

from pydantic import BaseModel, ConfigDict, Field


class SynthesisSettings(BaseModel):
    """How data are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        default="", description="Model that answers when a request names none. Empty: a request must name one."
    )
    concurrency: int = Field(
        default=32, ge=1, le=4096, description="Most answers that this process waits for at the same time."
    )
    answer_seconds: float = Field(default=300.0, gt=0, le=3600, description="Longest time for one answer.")
    patience_seconds: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds that an answer is asked for again while its model does not answer or is overloaded.",
    )
    max_answers: int = Field(
        default=10_000, ge=1, description="Most answers of one Generate or StreamGenerate; a job makes more."
    )
    max_job_answers: int = Field(default=5_000_000, ge=1, description="Most answers of one job.")
