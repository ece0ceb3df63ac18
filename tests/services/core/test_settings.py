from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError

from services.core.settings import ServiceSettings, is_local, parse_settings, split_address


class First(BaseModel):
    type: Literal["first"] = "first"
    model: str = Field(description="Model to serve.")
    api_key: SecretStr | None = None


class Second(BaseModel):
    type: Literal["second"] = "second"
    url: str = Field(description="Server to ask.")


class Settings(ServiceSettings):
    """A service's settings."""

    provider: Annotated[First | Second, Field(discriminator="type")] = Field(
        default=First(model="m"), description="What answers."
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines that a process with these arguments ends with."""
    with pytest.raises(SystemExit) as caught:
        parse_settings(Settings, arguments)
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err.splitlines()


def test_the_defaults_are_safe() -> None:
    settings = parse_settings(Settings, [])
    assert settings.listen == "127.0.0.1:0"
    assert (settings.tls, settings.otlp_endpoint, settings.prometheus_port) == (None, None, None)


def test_arguments_win_over_variables_over_the_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'drain_seconds = 1\nlog_level = "debug"\nprovider_id = "file"\n[provider]\ntype = "second"\nurl = "u"'
    )
    monkeypatch.setenv("CARAVAN_LOG_LEVEL", "error")
    monkeypatch.setenv("CARAVAN_PROVIDER_ID", "variable")
    settings = parse_settings(Settings, ["--config", str(file), "--provider-id", "argument"])
    assert (settings.drain_seconds, settings.log_level, settings.provider_id) == (1, "error", "argument")
    assert settings.provider == Second(url="u")


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("drain_seconds = 1")
    monkeypatch.setenv("CARAVAN_CONFIG", str(file))
    assert parse_settings(Settings, []).drain_seconds == 1


def test_nested_settings_come_from_variables_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_PROVIDER__TYPE", "second")
    monkeypatch.setenv("CARAVAN_PROVIDER__URL", "from variable")
    assert parse_settings(Settings, []).provider == Second(url="from variable")
    settings = parse_settings(Settings, ["--provider.type", "second", "--provider.url", "from argument"])
    assert settings.provider == Second(url="from argument")


def test_plain_text_is_refused_where_other_machines_can_listen(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = refused(capsys, "--listen", "0.0.0.0:80")
    assert "0.0.0.0:80 can be reached from other machines" in line
    assert "allow_insecure=true" in line
    assert parse_settings(Settings, ["--listen", "0.0.0.0:80", "--allow-insecure"]).allow_insecure


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--drain-seconds", "long"], "error: drain_seconds: "),
        (["--drain-seconds", "-1"], "error: drain_seconds: "),
        (["--listen", "nowhere"], "error: listen: must be host:port, [ipv6]:port or unix:/path, not 'nowhere'"),
        (["--listen", "127.0.0.1:70000"], "error: listen: "),
        (["--otlp-endpoint", "collector:4317"], "error: otlp_endpoint: must start with http://"),
        (["--tls.cert", "/none", "--tls.key", "/none"], "error: tls.cert: no such file: /none"),
        (["--tls.cert", __file__], "error: tls.key: must be set"),
        (["--nonsense", "1"], "error: unrecognized arguments: --nonsense"),
        (["--log-level", "loud"], "error: log_level: "),
        (["--config", "/none"], "error: "),
        (["--config", __file__], "error: "),
        (["--config"], "error: argument --config: "),
        (["--provider-id", "a b"], "error: provider_id: "),
    ],
)
def test_a_wrong_setting_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], start: str
) -> None:
    lines = refused(capsys, *arguments)
    assert lines[0].startswith(start)
    assert all(line.startswith("error: ") for line in lines)


def test_every_wrong_setting_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(refused(capsys, "--drain-seconds", "-1", "--max-receive-bytes", "1")) == 2


def test_a_wrong_variable_is_told_without_its_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_PROVIDER", '{"type": "first", "api_key": {"a": "hunter2"}}')
    lines = refused(capsys)
    assert "hunter2" not in "".join(lines)


def test_an_unknown_key_of_the_file_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('lisen = "127.0.0.1:1"')
    assert refused(capsys, "--config", str(file)) == ["error: lisen: no such setting; --help lists them"]


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_settings(Settings, ["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in (*ServiceSettings.model_fields, "config"):
        assert f"--{name.replace('_', '-')}" in text


def test_every_setting_is_described() -> None:
    assert [name for name, field in ServiceSettings.model_fields.items() if not field.description] == []


def test_settings_do_not_change() -> None:
    settings: Any = ServiceSettings()
    with pytest.raises(ValidationError):
        settings.listen = "0.0.0.0:1"


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:80", ("::1", 80)), ("name.example:65535", ("name.example", 65535))],
)
def test_addresses_are_split(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["", ":80", "host", "host:", "host:a", "::1:80", "[::1]", "host:-1", "host:²"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="must be host:port"):
        split_address(address)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("unix:/tmp/socket", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_local_addresses_are_known(address: str, local: bool) -> None:
    assert is_local(address) is local
