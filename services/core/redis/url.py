"""Where Redis is."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

_SCHEMES = ("redis://", "rediss://", "unix://")


def _is_redis(url: SecretStr) -> SecretStr:
    value = url.get_secret_value()
    if not value:
        message = "must name a Redis or Valkey server, for instance redis://127.0.0.1:6379/0"
        raise ValueError(message)
    if not value.startswith(_SCHEMES):
        message = "must start with redis://, rediss:// (TLS) or unix://"
        raise ValueError(message)
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_is_redis)]
"""A setting: URL of a Redis or Valkey server, which may hold a password."""
