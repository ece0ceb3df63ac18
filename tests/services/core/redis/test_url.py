import pytest
from pydantic import BaseModel, ValidationError

from services.core.redis.url import RedisUrl


class Settings(BaseModel):
    redis_url: RedisUrl


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "rediss://:secret@redis:6380", "unix:///run/redis.sock"])
def test_a_url_of_redis_is_taken_and_its_password_not_shown(url):
    settings = Settings(redis_url=url)
    assert settings.redis_url.get_secret_value() == url
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "told"), [("", "must name a Redis or Valkey server"), ("http://x", "must start with redis://")]
)
def test_another_url_is_refused_with_what_to_write_instead(url, told):
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url=url)
    assert told in str(caught.value)
