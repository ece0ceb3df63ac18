"""Configuration and parameters of `inline::llama-guard`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.safety.guard_prompts import GuardFormat
from services.safety.parameters import ShieldParams
from services.safety.provider import ServedShield, ShieldProviderConfig
from services.safety.texts import Role


class Category(BaseModel):
    """A category of the caller's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    code: str
    """What the guard model is to call it, for instance `S15`. The code of a published category replaces that one."""
    name: str
    """Its name."""
    description: str = ""
    """What belongs to it."""


class LlamaGuardParams(ShieldParams):
    """Parameters of a shield that asks a guard model; `provider_shield_id` is the model's identifier."""

    roles: frozenset[Role] = frozenset((Role.USER, Role.TOOL, Role.ASSISTANT))
    """Whose messages are judged. What tools say is judged as the user's."""
    judged: Literal["all", "last"] = "last"
    """Which messages are judged: each of them in the light of those before it, or only the last one."""
    format: GuardFormat = GuardFormat.LLAMA_GUARD_3
    """Generation of the guard model."""
    categories: list[Category] = Field(default_factory=list, max_length=64)
    """Categories beside the published ones."""
    excluded_categories: list[str] = Field(default_factory=list, max_length=64)
    """Codes of categories that are not looked for."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which a message is unsafe."""
    images: Literal["judge", "ignore", "refuse"] | None = None
    """What becomes of images: the guard sees them, they are passed over, or the message cannot be judged. Default: Llama Guard 4 sees them,
    for the others the message cannot be judged."""
    stream_stride: int = Field(default=400, ge=16, le=100_000)
    """Characters by which a growing text is judged again."""


class LlamaGuardConfig(ShieldProviderConfig):
    """Guard models behind the gateway."""

    type: Literal["inline::llama-guard"] = "inline::llama-guard"
    """Kind of the provider."""
    shields: list[ServedShield] = Field(
        default_factory=lambda: [ServedShield(shield_id="llama-guard", provider_shield_id="caravan-guard")]
    )
    """Shields to serve without being asked to load them; the provider answers once their models do."""
    default_model_id: str = "caravan-guard"
    """Guard model of registrations that name none, where there is no model of the shield's name."""
    poll_seconds: float = Field(default=1.0, ge=0.05, le=60)
    """Time between two looks whether the models of `shields` are there."""
    ask_timeout: float = Field(default=60.0, gt=0, le=600)
    """Longest time in seconds for one answer of a guard model."""
