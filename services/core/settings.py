"""Settings that every service has, and how they are read: arguments over `CARAVAN_*` variables over a TOML file over defaults."""

import argparse
import ipaddress
import os
import sys
import tomllib
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

MEBIBYTE = 1 << 20
ENV_PREFIX = "CARAVAN_"
CONFIG_VARIABLE = "CARAVAN_CONFIG"

_config_file: ContextVar[Path | None] = ContextVar("caravan_config_file", default=None)


class TlsSettings(BaseModel):
    """TLS of the server, PEM files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cert: Path = Field(description="Certificate chain of this server, PEM.")
    key: Path = Field(description="Private key of the certificate, PEM.")
    client_ca: Path | None = Field(
        default=None, description="Authorities whose client certificates are accepted, PEM. Unset: clients need none."
    )

    @field_validator("cert", "key", "client_ca")
    @classmethod
    def _exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            message = f"no such file: {path}"
            raise ValueError(message)
        return path


class ServiceSettings(BaseSettings):
    """Settings that every service has; a service adds its own in a subclass."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
        # `serve` options, not a protobuf: a field may be called model_something.
        protected_namespaces=(),
    )

    listen: str = Field(
        default="127.0.0.1:0",
        description="Address to listen on: host:port, [ipv6]:port or unix:/path. Port 0: a free one.",
    )
    provider_id: str = Field(
        default="default",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="Identifier of this provider, as the gateway's settings name it.",
    )
    tls: TlsSettings | None = Field(default=None, description="TLS. Unset: plain text, on a loopback address only.")
    allow_insecure: bool = Field(
        default=False,
        description="Allow plain text on an address that other machines reach, for instance behind a mesh.",
    )
    reuse_port: bool = Field(default=False, description="Let several processes share the port (SO_REUSEPORT).")
    drain_seconds: float = Field(
        default=30.0, ge=0, le=86_400, description="Seconds that running calls get to finish after SIGTERM."
    )
    drain_delay_seconds: float = Field(
        default=0.0,
        ge=0,
        le=600,
        description="Seconds between reporting NOT_SERVING and refusing calls, for balancers that are slow to notice.",
    )
    max_receive_bytes: int = Field(
        default=32 * MEBIBYTE, ge=1024, le=2**31 - 1, description="Largest request message in bytes."
    )
    max_send_bytes: int = Field(
        default=32 * MEBIBYTE, ge=1024, le=2**31 - 1, description="Largest response message in bytes."
    )
    max_concurrent_rpcs: int | None = Field(
        default=None, ge=1, description="Most calls that run at once; more get RESOURCE_EXHAUSTED. Unset: no limit."
    )
    keepalive_seconds: float = Field(
        default=30.0, ge=1, description="Seconds without traffic after which the peer is pinged."
    )
    keepalive_timeout_seconds: float = Field(
        default=10.0, ge=0.1, description="Seconds to wait for the answer to a ping before the connection is closed."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="Format of the log on stderr: a JSON object a line, or text for people."
    )
    access_log: bool = Field(default=True, description="Log a line for every call.")
    otlp_endpoint: str | None = Field(
        default=None,
        description="OpenTelemetry collector (OTLP over gRPC), http://host:port or https://host:port. Unset: none.",
    )
    trace_sample_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of new traces that are recorded; a caller's own decision is kept."
    )
    prometheus_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Port that serves /metrics to Prometheus, on listen's host. Unset: none.",
    )

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str) -> str:
        if not listen.startswith("unix:"):
            split_address(listen)
        return listen

    @field_validator("otlp_endpoint")
    @classmethod
    def _otlp_endpoint_is_a_url(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            message = "must start with http:// (plain text) or https:// (TLS)"
            raise ValueError(message)
        return endpoint

    @model_validator(mode="after")
    def _plain_text_stays_on_this_machine(self) -> "ServiceSettings":
        if self.tls is None and not self.allow_insecure and not is_local(self.listen):
            message = (
                f"listen: {self.listen} can be reached from other machines and tls is not set: set tls.cert and tls.key, "
                "listen on 127.0.0.1, or set allow_insecure=true"
            )
            raise ValueError(message)
        return self

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings calls it
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        path = _config_file.get()
        file = (TomlConfigSettingsSource(settings_cls, toml_file=path),) if path else ()
        return (init_settings, env_settings, *file)


S = TypeVar("S", bound=ServiceSettings)


def parse_settings(settings_class: type[S], argv: Sequence[str] | None = None) -> S:
    """Reads the settings of a process, or ends it with exit code 2 and one line on stderr for each setting that is wrong.

    Every field is an argument (`--drain-seconds 5`, `--tls.cert server.pem`), a variable (`CARAVAN_DRAIN_SECONDS`, `CARAVAN_TLS__CERT`)
    and a key of the TOML file that `--config` (or `CARAVAN_CONFIG`) names.

    Args:
        settings_class: The service's settings.
        argv: Arguments without the program's name. None: those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    path, rest = _config_argument(arguments)
    token = _config_file.set(path)
    try:
        if path is not None:
            _check_toml(path)
        source = CliSettingsSource[Any](
            settings_class,
            cli_prog_name=f"python -m {settings_class.__module__.removesuffix('.settings')}",
            cli_exit_on_error=False,
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_hide_none_type=True,
            cli_avoid_json=True,
        )
        # For --help only: it is taken out of the arguments above.
        source.root_parser.add_argument(
            "--config", metavar="PATH", help=f"TOML file with these settings (or {CONFIG_VARIABLE})."
        )
        return settings_class(_cli_settings_source=source(args=rest))
    except ValidationError as error:
        _refuse([_line(problem) for problem in error.errors()])
    except (SettingsError, OSError) as error:
        _refuse([str(error).removeprefix("error parsing CLI: ")])
    finally:
        _config_file.reset(token)


def split_address(address: str) -> tuple[str, int]:
    """Splits `host:port` or `[ipv6]:port`.

    Raises:
        ValueError: It is neither.
    """
    host, separator, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host.startswith("[") and host.endswith("]")
    if (
        not separator
        or not bare
        or (":" in bare) != bracketed
        or not port.isascii()
        or not port.isdigit()
        or int(port) > 65_535
    ):
        message = f"must be host:port, [ipv6]:port or unix:/path, not {address!r}"
        raise ValueError(message)
    return bare, int(port)


def is_local(address: str) -> bool:
    """Tells whether only this machine can reach `address` (host:port or unix:path)."""
    if address.startswith("unix:"):
        return True
    host = split_address(address)[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _config_argument(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Takes `--config` out of the arguments: the file must be known before the other sources are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path, default=os.environ.get(CONFIG_VARIABLE))
    try:
        known, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        _refuse([str(error)])
    return (Path(known.config) if known.config else None), rest


def _check_toml(path: Path) -> None:
    with path.open("rb") as file:
        try:
            tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            message = f"{path} is not TOML: {error}"
            raise SettingsError(message) from error


_MESSAGES = {"extra_forbidden": "no such setting; --help lists them", "missing": "must be set"}


def _line(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = _MESSAGES.get(problem["type"], str(problem["msg"]).removeprefix("Value error, "))
    return f"{where}: {message}" if where else message


def _refuse(lines: Sequence[str]) -> NoReturn:
    for line in lines:
        print(f"error: {line}", file=sys.stderr)  # noqa: T201 - before there is a log
    raise SystemExit(2)
