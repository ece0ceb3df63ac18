"""Configuration and parameters of `inline::pii`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from services.safety.provider import ServedShield, ShieldProviderConfig
from services.safety.providers.detection.config import DetectionParams

EntityType = Literal[
    "email_address", "phone_number", "credit_card", "iban", "ip_address", "date_of_birth", "national_id"
]
ENTITY_TYPES: frozenset[EntityType] = frozenset(
    ["email_address", "phone_number", "credit_card", "iban", "ip_address", "date_of_birth", "national_id"]
)
COUNTRIES = frozenset(
    {
        *(
            "AT",
            "AU",
            "BE",
            "BR",
            "CA",
            "CH",
            "CN",
            "CZ",
            "DE",
            "DK",
            "ES",
            "FI",
            "FR",
            "GB",
            "IE",
            "IN",
            "IT",
            "KR",
            "MX",
            "NL",
            "NO",
        ),
        *("PL", "PT", "RO", "SE", "TR", "US", "ZA"),
    }
)
"""Countries whose national identifiers are known."""


class PiiParams(DetectionParams):
    """Parameters of a shield that finds what identifies a person."""

    entity_types: frozenset[EntityType] = ENTITY_TYPES
    """What is looked for."""
    phone_regions: list[Annotated[str, Field(pattern=r"^[A-Z]{2}$")]] = Field(default=["US"], max_length=32)
    """Countries (ISO 3166-1) whose phone numbers are known without their `+` and country code."""
    countries: frozenset[str] | None = None
    """Countries (ISO 3166-1) whose national identifiers are looked for. Default: all that are known."""

    @field_validator("countries")
    @classmethod
    def _are_known(cls, countries: frozenset[str] | None) -> frozenset[str] | None:
        unknown = sorted((countries or frozenset()) - COUNTRIES)
        if unknown:
            message = (
                f"no national identifiers are known of {', '.join(unknown)}; known are {', '.join(sorted(COUNTRIES))}"
            )
            raise ValueError(message)
        return countries


class PiiConfig(ShieldProviderConfig):
    """Shields that find what identifies a person; one is served by itself, called `pii`."""

    type: Literal["inline::pii"] = "inline::pii"
    """Kind of the provider."""
    shields: list[ServedShield] = Field(default_factory=lambda: [ServedShield(shield_id="pii")])
    """Shields to serve without being asked to load them."""
