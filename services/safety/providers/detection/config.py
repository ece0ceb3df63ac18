"""Parameters of shields that detect things of known forms."""

from typing import Annotated, Literal

from pydantic import Field

from services.safety.parameters import ShieldParams

Mode = Literal["report", "mask", "block"]


class DetectionParams(ShieldParams):
    """Parameters of a shield that detects things of known forms."""

    mode: Mode = "mask"
    """What becomes of what is found: `report` and `mask` are warnings, and `mask` puts a label in its place; `block` is an error."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Least score of what is found."""
    exceptions: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(default_factory=list, max_length=64)
    """Regular expressions (RE2) of values that are not reported; each must match the whole value."""
