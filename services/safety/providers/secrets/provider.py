"""The provider of shields that find secrets."""

import asyncio

from services.safety.ports import TextShield
from services.safety.provider import ShieldProvider
from services.safety.providers.secrets.config import SecretsConfig, SecretsParams
from services.safety.providers.secrets.shield import SecretsShield


class SecretsProvider(ShieldProvider[SecretsParams]):
    """`inline::secrets`."""

    params_type = SecretsParams

    def __init__(self, provider_id: str, config: SecretsConfig) -> None:
        """Makes the provider.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: Which shields it serves by itself.
        """
        super().__init__(provider_id, "inline::secrets", config)

    async def prepare(self, provider_shield_id: str, params: SecretsParams) -> TextShield:
        """Compiles the expressions.

        Raises:
            InvalidArgumentError: An exception is not one of RE2's expressions, or too large.
        """
        return await asyncio.to_thread(SecretsShield, params)
