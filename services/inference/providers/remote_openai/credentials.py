"""Whose key a request to the server carries."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.core.errors import InvalidArgumentError
from services.core.provider_data import PROVIDER_DATA_KEY, current_provider_data
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig

LONGEST_KEY = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves to the server who asks."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers to send."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What of them must not be shown."""
    own: bool = False
    """The caller brought the key."""

    @classmethod
    def of_config(cls, config: RemoteOpenAIConfig, own_key: str | None = None) -> "Credentials":
        """The provider's credentials, with the caller's key in place of its own if there is one."""
        headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        secrets = list(headers.values())
        key = own_key or (config.api_key.get_secret_value() if config.api_key else "")
        if key:
            headers["Authorization"] = f"Bearer {key}"
            secrets.append(key)
        return cls(headers, tuple(filter(None, secrets)), own=own_key is not None)


NO_CREDENTIALS = Credentials()


def credentials_of_call(config: RemoteOpenAIConfig) -> Credentials:
    """The credentials for the current call: the key that it brings, where the operator allows that, else the provider's.

    Raises:
        InvalidArgumentError: The key that it brings is none.
    """
    if not config.allow_request_credentials:
        return Credentials.of_config(config)
    key = current_provider_data().get("api_key")
    if key is None:
        return Credentials.of_config(config)
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise InvalidArgumentError.of(
            PROVIDER_DATA_KEY, "api_key must be a text of visible ASCII characters", reason="PROVIDER_DATA"
        )
    return Credentials.of_config(config, key)
