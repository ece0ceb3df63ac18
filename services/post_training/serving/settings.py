"""Settings of putting results into service."""

from pydantic import BaseModel, ConfigDict, Field


class ServingSettings(BaseModel):
    """How results are put into service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    canary_prompt: str = Field(
        default="Hello! Please introduce yourself.",
        min_length=1,
        description="What a new model must answer when the job names no prompt of its own.",
    )
    canary_max_tokens: int = Field(
        default=64, ge=1, le=4096, description="Longest answer in tokens, when it must contain something."
    )
    canary_seconds: float = Field(default=60.0, gt=0, le=3600, description="Longest time that the answer may take.")
    patience_seconds: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Seconds that it is tried again while the gateway or the model's provider does not answer.",
    )
    conversion_seconds: float = Field(
        default=600.0,
        gt=0,
        le=86_400,
        description="Longest time for turning a DoRA adapter into a plain one, where the training has not done it.",
    )
