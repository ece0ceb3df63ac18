"""Configuration and parameters of `inline::prompt-guard`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from services.safety.parameters import ShieldParams
from services.safety.provider import ServedShield, ShieldProviderConfig
from services.safety.texts import Role

Label = Annotated[str, Field(min_length=1, max_length=128)]


class PromptGuardParams(ShieldParams):
    """Parameters of a shield that classifies; `provider_shield_id` is a folder or a Hugging Face id, or the configured model's name."""

    roles: frozenset[Role] = frozenset((Role.USER, Role.TOOL))
    """Whose messages are judged: those that bring in what strangers wrote."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which a text is unsafe."""
    labels: list[Label] = Field(default_factory=list, max_length=64)
    """The model's labels that count as unsafe. Default: all but the benign one."""


class PromptGuardConfig(ShieldProviderConfig):
    """Classifiers in this process."""

    type: Literal["inline::prompt-guard"] = "inline::prompt-guard"
    """Kind of the provider."""
    shields: list[ServedShield] = Field(default_factory=lambda: [ServedShield(shield_id="prompt-guard")])
    """Shields to serve without being asked to load them."""
    model: Annotated[str, Field(min_length=1, max_length=4096)] = "models/caravan-prompt-guard"
    """Folder of a sequence classification model, or a Hugging Face id."""
    allow_download: bool = False
    """Fetches models that are not on this machine from the Hugging Face Hub."""
    device: Annotated[str, Field(min_length=1)] | None = None
    """Where to compute, for instance `cuda:0`. Default: a GPU if there is one, else the CPU."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads of a computation on the CPU. Default: what `OMP_NUM_THREADS` says, else one for each core."""
    max_batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Most windows of text that are classified at a time; those of concurrent calls share a batch."""
    max_queued: Annotated[int, Field(ge=1)] = 2048
    """Most windows that wait; a message with more than there is room for cannot be judged."""
    max_models: Annotated[int, Field(ge=1)] = 4
    """Most models that are in memory at a time."""

    @property
    def model_name(self) -> str:
        """Name of the configured model."""
        return Path(self.model).name
