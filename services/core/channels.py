"""Channels to other services: keepalive, message sizes, TLS, propagation of the call's context, and deadlines."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from pydantic import BaseModel, ConfigDict, Field

from services.core.context import REQUEST
from services.core.propagation import client_interceptors
from services.core.settings import MEBIBYTE

DEFAULT_TIMEOUT = 30.0


class ClientTlsSettings(BaseModel):
    """TLS of outgoing connections, PEM files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: Path | None = Field(default=None, description="Authorities that may sign servers, PEM. Unset: gRPC's own list.")
    cert: Path | None = Field(default=None, description="Certificate chain of this client, PEM. Unset: none (no mTLS).")
    key: Path | None = Field(default=None, description="Private key of the certificate, PEM.")
    server_name: str | None = Field(
        default=None, description="Name in the server's certificate, when it is not the address's."
    )

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files."""
        ca, key, cert = (path.read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)


def open_channel(  # noqa: PLR0913 - each has a default
    address: str,
    tls: ClientTlsSettings | None = None,
    *,
    max_message_bytes: int = 32 * MEBIBYTE,
    keepalive_seconds: float = 30.0,
    keepalive_timeout_seconds: float = 10.0,
    interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """Opens a channel for calls to another service. It connects with its first call and belongs to the running event loop.

    Args:
        address: gRPC target: host:port, unix:/path or dns:///name:port.
        tls: TLS. None: plain text.
        max_message_bytes: Largest message in either direction.
        keepalive_seconds: Seconds without traffic, while calls run, after which the peer is pinged.
        keepalive_timeout_seconds: Seconds to wait for the answer to a ping.
        interceptors: None: those that carry request id and trace context on (`client_interceptors`).
        options: gRPC channel arguments beside, or instead of, these.
    """
    arguments: dict[str, Any] = {
        "grpc.max_receive_message_length": max_message_bytes,
        "grpc.max_send_message_length": max_message_bytes,
        "grpc.keepalive_time_ms": round(keepalive_seconds * 1e3),
        "grpc.keepalive_timeout_ms": round(keepalive_timeout_seconds * 1e3),
        "grpc.http2.max_pings_without_data": 0,
        # Come back quickly when a service restarts on the same machine or in the same cluster.
        "grpc.initial_reconnect_backoff_ms": 200,
        "grpc.min_reconnect_backoff_ms": 200,
        "grpc.max_reconnect_backoff_ms": 5_000,
        # Connections of one process do not mix between channels: what closes one leaves the others.
        "grpc.use_local_subchannel_pool": 1,
        **dict(options),
    }
    chosen = client_interceptors() if interceptors is None else list(interceptors)
    if tls is None:
        return grpc.aio.insecure_channel(address, list(arguments.items()), interceptors=chosen)
    if tls.server_name is not None:
        arguments["grpc.ssl_target_name_override"] = tls.server_name
    return grpc.aio.secure_channel(address, tls.credentials(), list(arguments.items()), interceptors=chosen)


def call_timeout(seconds: float = DEFAULT_TIMEOUT) -> float:
    """Returns the `timeout` of a call made on behalf of the call that runs now: at most `seconds`, and not beyond its caller's deadline.

    Args:
        seconds: Most seconds that the call may take.
    """
    request = REQUEST.get()
    if request is None or request.deadline is None:
        return seconds
    return max(0.0, min(seconds, request.deadline - time.monotonic()))
