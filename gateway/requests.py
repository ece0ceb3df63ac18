"""What a request's headers say: the RPC, its deadline, and what of them is passed on."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.contract import Method
from gateway.http2.hpack import Headers
from gateway.routing import PROVIDER_KEY
from services.core.errors import InvalidArgumentError, ResourceExhaustedError, UnimplementedError
from services.core.provider_data import PROVIDER_DATA_KEY

_PROVIDER_KEY = PROVIDER_KEY.encode()
_PROVIDER_DATA_KEY = PROVIDER_DATA_KEY.encode()
# RFC 9113, section 8.2.2.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_TIMEOUT_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 1024
# Services that are no part of the contract and that the gateway answers itself.
_OWN_PREFIXES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha.")


class NoGrpcError(Exception):
    """The request is HTTP/2, but no gRPC."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be known of a request's headers."""

    path: str
    method: Method | None
    """None: a service of the gateway's own that is not in the contract, such as health."""

    forward: Headers
    timeout: float | None
    encoding: bytes
    provider_id: str


class RequestReader:
    """Reads request headers, and remembers those that come again and again."""

    def __init__(self, methods: Mapping[str, Method], scheme: bytes) -> None:
        """Makes a reader that has read nothing.

        Args:
            methods: The contract's RPCs by path.
            scheme: `:scheme` towards replicas: http, or https with TLS.
        """
        self._methods = methods
        self._scheme = scheme
        self._known: dict[Headers, Request] = {}

    def read(self, headers: Headers | None) -> Request:
        """Returns what headers say.

        Args:
            headers: The request's; None: they were too large to keep.

        Raises:
            ResourceExhaustedError: They were too large.
            UnimplementedError: The contract has no such RPC, or not for clients.
            InvalidArgumentError: The deadline is none.
            NoGrpcError: It is another protocol.
        """
        if headers is None:
            raise ResourceExhaustedError("the request's metadata are too large", reason="METADATA_TOO_LARGE")
        request = self._known.get(headers)
        if request is None:
            request = self._read(headers)
            self._remember(headers, request)
        return request

    def _read(self, headers: Headers) -> Request:
        fields = dict(headers)
        if fields.get(b":method") != b"POST" or not fields.get(b"content-type", b"").startswith(b"application/grpc"):
            raise NoGrpcError
        path = fields.get(b":path", b"").decode("latin-1")
        method = self._methods.get(path)
        if method is None and not path.startswith(_OWN_PREFIXES):
            text = f"{path} is no RPC of this version of Caravan"
            raise UnimplementedError(text, reason="METHOD_UNKNOWN")
        if method is not None and not method.routed:
            text = f"{path} is not reachable through the gateway: only the gateway calls it, on the provider itself"
            raise UnimplementedError(text, reason="METHOD_NOT_ROUTED")
        return Request(
            path=path,
            method=method,
            forward=tuple(
                (b":scheme", self._scheme) if header[0] == b":scheme" else header
                for header in headers
                if header[0] not in _HOP_BY_HOP
            ),
            timeout=parse_timeout(fields[b"grpc-timeout"]) if b"grpc-timeout" in fields else None,
            encoding=fields.get(b"grpc-encoding", b""),
            provider_id=fields.get(_PROVIDER_KEY, b"").decode("latin-1"),
        )

    def _remember(self, headers: Headers, request: Request) -> None:
        """Keeps what was found out of headers: a client's next call mostly has the same."""
        size = sum(len(name) + len(value) for name, value in headers)
        if size > _LONGEST_REMEMBERED or any(name == _PROVIDER_DATA_KEY for name, _ in headers):
            return
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[headers] = request


def parse_timeout(value: bytes) -> float:
    """Returns the seconds that a `grpc-timeout` header gives.

    Raises:
        InvalidArgumentError: It is no such header.
    """
    digits, unit = value[:-1], _TIMEOUT_UNITS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > 8:
        raise InvalidArgumentError.of(
            "metadata[grpc-timeout]", "must be up to eight digits and one of H, M, S, m, u, n"
        )
    return int(digits) * unit


def format_timeout(seconds: float) -> bytes:
    """Returns a `grpc-timeout` header for a time in seconds."""
    for unit, scale in ((b"u", 1e6), (b"m", 1e3), (b"S", 1.0)):
        if seconds * scale < 1e8:
            return b"%d%s" % (max(1, int(seconds * scale)), unit)
    return b"%dH" % min(int(seconds / 3600), 99_999_999)
