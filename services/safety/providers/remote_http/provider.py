"""The provider of shields that ask a moderation endpoint."""

from services.core.errors import InvalidArgumentError
from services.safety.ports import ConversationShield
from services.safety.provider import ShieldProvider
from services.safety.providers.remote_http.config import RemoteHttpConfig, RemoteHttpParams, TemplateFormat
from services.safety.providers.remote_http.endpoint import Endpoint
from services.safety.providers.remote_http.shield import RemoteHttpShield


class RemoteHttpProvider(ShieldProvider[RemoteHttpParams]):
    """`remote::http`."""

    params_type = RemoteHttpParams

    def __init__(self, provider_id: str, config: RemoteHttpConfig) -> None:
        """Makes the provider.

        Args:
            provider_id: Identifier in the gateway's settings.
            config: The endpoint.
        """
        super().__init__(provider_id, "remote::http", config)
        self._format = config.format
        self._endpoint = Endpoint(config)

    async def stop(self) -> None:
        """Closes all connections."""
        await self._endpoint.close()

    async def prepare(self, provider_shield_id: str, params: RemoteHttpParams) -> ConversationShield:
        """Makes a shield.

        Raises:
            InvalidArgumentError: The endpoint's answers do not have what the parameters compare.
        """
        tells_no_scores = isinstance(self._format, TemplateFormat) and self._format.scores is None
        judged_by_scores_only = isinstance(self._format, TemplateFormat) and not (
            self._format.flagged or self._format.categories
        )
        if params.threshold is not None and tells_no_scores:
            message = "the endpoint's format has no scores: set format.scores in the provider's configuration, or leave it out"
            raise InvalidArgumentError.of("params.threshold", message)
        if params.threshold is None and judged_by_scores_only:
            message = "the endpoint's answers have scores only: say from which one on a text is flagged"
            raise InvalidArgumentError.of("params.threshold", message)
        return RemoteHttpShield(params, self._format, self._endpoint)
