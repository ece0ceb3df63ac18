"""The provider of shields that follow rules."""

import asyncio

from services.safety.ports import TextShield
from services.safety.provider import ShieldProvider
from services.safety.providers.rules.config import RulesConfig, RulesParams
from services.safety.providers.rules.shield import RulesShield


class RulesProvider(ShieldProvider[RulesParams]):
    """`inline::rules`."""

    params_type = RulesParams

    def __init__(self, provider_id: str, config: RulesConfig) -> None:
        """Makes the provider.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: Which shields it serves by itself.
        """
        super().__init__(provider_id, "inline::rules", config)

    async def prepare(self, provider_shield_id: str, params: RulesParams) -> TextShield:
        """Compiles rules.

        Raises:
            InvalidArgumentError: A pattern is not one of RE2's, is too large or matches the empty text; a language is not known.
        """
        return await asyncio.to_thread(RulesShield, params)
