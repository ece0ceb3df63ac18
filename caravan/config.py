"""How a client connects, and when it tries again."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc

from caravan.errors import InvalidInputError

DEFAULT_TARGET = "localhost:8321"
DEFAULT_TIMEOUT = 300.0
# Images and embeddings of large batches are large; the servers bound what they take.
_CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Retries are this package's own: they stop once an answer has begun, and honour RetryInfo.
    ("grpc.enable_retries", 0),
    # They are worth making only if a new connection is tried as soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A peer that is gone without a word is noticed while a call waits for it. Caravan's servers allow pings every 5 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True)
class TLS:
    """Certificates of an encrypted connection. All fields are paths to PEM files, apart from the name."""

    ca: Path | str | None = None
    """Certificates to trust. Default: the system's."""
    certificate: Path | str | None = None
    """Certificate chain of this client, for mutual TLS."""
    key: Path | str | None = None
    """Private key of `certificate`."""
    server_name: str = ""
    """Name that the server's certificate must have. Default: the host that is dialled."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files.

        Raises:
            InvalidInputError: A file cannot be read, or one of certificate and key is missing.
        """
        if bool(self.certificate) != bool(self.key):
            raise InvalidInputError("give certificate and key together, or neither", "tls")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.certificate))


@dataclass(frozen=True)
class RetryPolicy:
    """When a call that found nobody (UNAVAILABLE) and had produced nothing is made again."""

    attempts: int = 5
    """Most attempts, the first one included; 1 never retries."""
    initial_delay: float = 0.1
    """Seconds before the second attempt, when the server suggests nothing; doubled for each further one."""
    max_delay: float = 5.0
    """Longest wait in seconds. A server that suggests more ends the retries: the error says how long it asks for."""

    def delay(self, attempt: int, suggested: float | None) -> float | None:
        """Seconds to wait after a failed attempt; None: do not try again.

        Args:
            attempt: Number of attempts made, from 1.
            suggested: Seconds that the server suggests.
        """
        if attempt >= self.attempts:
            return None
        if suggested is not None:
            return suggested if suggested <= self.max_delay else None
        return min(self.initial_delay * 2.0 ** (attempt - 1), self.max_delay)


@dataclass(frozen=True)
class CallOptions:
    """What applies to every call of a client; `with_options` changes it for some."""

    timeout: float | None = DEFAULT_TIMEOUT
    """Seconds until a call fails with DeadlineExceededError, retries included; None: never."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """When to try again."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Request metadata to send, for instance `authorization`."""
    request_id: str = ""
    """Identifier of the request in the servers' logs. Default: a fresh one for each call."""
    direct: bool = False
    """Dial the replica that serves the model instead of sending the call through the gateway."""

    def changed(self, **changes: object) -> "CallOptions":
        """A copy with the changes that are not None, and with `metadata` added to what there is."""
        given = {name: value for name, value in changes.items() if value is not None}
        if isinstance(added := given.get("metadata"), Mapping):
            given["metadata"] = {**self.metadata, **added}
        return replace(self, **given)  # type: ignore[arg-type]  # the caller's signature has the types


@dataclass(frozen=True)
class Connection:
    """How channels are opened, to the gateway and, with `direct`, to replicas."""

    target: str
    """Address of the gateway."""
    tls: TLS | None = None
    """Certificates; None: no encryption."""

    @property
    def channel_options(self) -> list[tuple[str, int | str]]:
        """Options of every channel."""
        options = list(_CHANNEL_OPTIONS)
        if self.tls and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


def connection(target: str | None, tls: TLS | bool | None) -> Connection:
    """Settles where to connect: `target`, else CARAVAN_TARGET, else localhost:8321.

    Args:
        target: Address of the gateway.
        tls: Certificates; True: encrypted, with the system's trusted certificates.

    Raises:
        InvalidInputError: The address is none.
    """
    address = target or os.environ.get("CARAVAN_TARGET") or DEFAULT_TARGET
    for scheme in ("http://", "https://", "grpc://", "grpcs://"):
        if address.startswith(scheme):
            problem = f"{address!r} is not a gRPC address; write host:port, and ask for encryption with tls"
            raise InvalidInputError(problem, "target")
    return Connection(address, TLS() if tls is True else tls or None)


def _read(path: Path | str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", "tls") from error
