"""Configuration and parameters of `inline::secrets`."""

from typing import Literal

from pydantic import Field

from services.safety.provider import ServedShield, ShieldProviderConfig
from services.safety.providers.detection.config import DetectionParams

SecretKind = Literal["issued", "named", "url_password", "high_entropy"]


class SecretsParams(DetectionParams):
    """Parameters of a shield that finds secrets."""

    kinds: frozenset[SecretKind] = frozenset(["issued", "named", "url_password", "high_entropy"])
    """What is looked for: keys and tokens of a known issuer's form, private keys; values given to names like `password`; passwords in URLs
    and commands; quoted strings that look random."""


class SecretsConfig(ShieldProviderConfig):
    """Shields that find secrets; one is served by itself, called `secrets`."""

    type: Literal["inline::secrets"] = "inline::secrets"
    """Kind of the provider."""
    shields: list[ServedShield] = Field(default_factory=lambda: [ServedShield(shield_id="secrets")])
    """Shields to serve without being asked to load them."""
