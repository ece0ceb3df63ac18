"""Settings of the gateway."""

import os
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway.discovery import check_address
from services.core.channels import ClientTlsSettings
from services.core.redis.url import RedisUrl
from services.core.settings import ServiceSettings


class ProviderSettings(BaseModel):
    """One provider behind the gateway. Everything else about it comes from the provider itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider_id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Identifier that its processes were started with."
    )
    addresses: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1,
        description="Its replicas: host:port each, or dns:///name:port for all addresses of a name (a headless Service).",
    )

    @field_validator("addresses", mode="before")
    @classmethod
    def _one_address_is_a_list(cls, addresses: object) -> object:
        return (addresses,) if isinstance(addresses, str) else addresses

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            check_address(address)
        return addresses


class GatewaySettings(ServiceSettings):
    """Settings of the gateway, beside those that every service has."""

    listen: str = Field(
        default="127.0.0.1:8321", description="Address to listen on: host:port or [ipv6]:port. Port 0: a free one."
    )
    provider_id: str = Field(default="gateway", description="Name of this gateway in logs and traces.")
    providers: tuple[ProviderSettings, ...] = Field(default=(), description="The providers behind the gateway.")
    redis_url: RedisUrl = Field(
        default=SecretStr(""), description="Redis that holds the registry, for instance redis://127.0.0.1:6379/0."
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Processes that share the port. Unset: one for every four cores, at least one.",
    )
    upstream_tls: ClientTlsSettings | None = Field(
        default=None, description="TLS towards the replicas. Unset: plain text."
    )
    poll_seconds: float = Field(
        default=1.0, ge=0.05, le=60, description="Seconds between two times of asking the replicas what they serve."
    )
    lease_seconds: float = Field(
        default=3.0,
        ge=0.5,
        le=60,
        description="Seconds after which another process takes over the control loop of one that died.",
    )
    load_bound: float = Field(
        default=1.25,
        gt=1,
        le=100,
        description="Multiple of the mean load up to which a prompt's prefix keeps its replica.",
    )
    max_attempts: int = Field(
        default=3, ge=1, le=10, description="Replicas that a call which has produced nothing is tried on at most."
    )
    replay_bytes: int = Field(
        default=32 << 20,
        ge=0,
        description="Most bytes of a request that are kept so that another replica can be tried.",
    )

    @field_validator("listen")
    @classmethod
    def _workers_share_a_port(cls, listen: str) -> str:
        if listen.startswith("unix:"):
            message = "must be host:port: the gateway's workers share a port"
            raise ValueError(message)
        return listen

    @model_validator(mode="after")
    def _providers_are_distinct(self) -> "GatewaySettings":
        owners: dict[str, str] = {}
        seen: set[str] = set()
        for provider in self.providers:
            if provider.provider_id in seen:
                message = (
                    f"providers: two are called {provider.provider_id!r}: give one all replicas, or rename the other"
                )
                raise ValueError(message)
            seen.add(provider.provider_id)
            for address in provider.addresses:
                other = owners.setdefault(address, provider.provider_id)
                if other != provider.provider_id:
                    names = f"{other!r} and {provider.provider_id!r}"
                    message = (
                        f"providers: {names} have the same address {address}: a process is a replica of one provider"
                    )
                    raise ValueError(message)
        return self

    @property
    def worker_count(self) -> int:
        """How many processes share the port."""
        return self.workers or max(1, min(8, (os.cpu_count() or 1) // 4))
