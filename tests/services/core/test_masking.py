from pathlib import Path

from google.protobuf import json_format
from pydantic import BaseModel, Field, SecretStr

from caravan.agents.v1 import config_pb2
from services.core.masking import MASK, masked, masked_message


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


def test_a_message_is_shown_without_the_fields_that_the_contract_calls_secret() -> None:
    config = json_format.ParseDict(
        {
            "model": "m",
            "tools": [
                {
                    "brave_search": {"api_key": "k1"},
                    "remote_execution": {"url": {"uri": "https://x"}, "headers": {"Authorization": "k2", "n": 3}},
                },
                {"wolfram_alpha": {}},
            ],
        },
        config_pb2.AgentConfig(),
    )
    before = config.SerializeToString(deterministic=True)
    shown = masked_message(config)
    assert shown.model == "m"
    assert shown.tools[0].brave_search.api_key == MASK
    assert dict(shown.tools[0].remote_execution.headers) == {"Authorization": MASK, "n": MASK}
    assert shown.tools[1].wolfram_alpha.api_key == ""
    assert config.SerializeToString(deterministic=True) == before
