from pathlib import Path

from pydantic import BaseModel, Field, SecretStr

from services.core.masking import masked


class Inner(BaseModel):
    key: SecretStr | None = None


class Config(BaseModel):
    api_key: SecretStr = SecretStr("hunter2")
    token: str = Field(default="hunter2", json_schema_extra={"secret": True})
    inner: Inner = Inner(key=SecretStr("hunter2"))
    unset: Inner = Inner()
    headers: dict[str, SecretStr] = {"authorization": SecretStr("hunter2")}
    several: list[Inner] = [Inner(key=SecretStr("hunter2"))]
    redis: str = "redis://user:hunter2@localhost:6379/0"
    path: Path = Path("/models")
    limit: float = float("inf")
    count: int = 3


def test_no_secret_is_shown() -> None:
    shown = masked(Config())
    assert "hunter2" not in str(shown)
    assert shown == {
        "api_key": "********",
        "token": "********",
        "inner": {"key": "********"},
        "unset": {"key": None},
        "headers": {"authorization": "********"},
        "several": [{"key": "********"}],
        "redis": "redis://user:********@localhost:6379/0",
        "path": "/models",
        "limit": "inf",
        "count": 3,
    }
