"""The provider of shields that find what identifies a person."""

import asyncio

from services.safety.ports import TextShield
from services.safety.provider import ShieldProvider
from services.safety.providers.pii.config import PiiConfig, PiiParams
from services.safety.providers.pii.shield import PiiShield


class PiiProvider(ShieldProvider[PiiParams]):
    """`inline::pii`."""

    params_type = PiiParams

    def __init__(self, provider_id: str, config: PiiConfig) -> None:
        """Makes the provider.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: Which shields it serves by itself.
        """
        super().__init__(provider_id, "inline::pii", config)

    async def prepare(self, provider_shield_id: str, params: PiiParams) -> TextShield:
        """Compiles the expressions.

        Raises:
            InvalidArgumentError: An exception is not one of RE2's expressions, or too large.
        """
        return await asyncio.to_thread(PiiShield, params)
