"""Fetches content from addresses that callers name, without letting them reach what only this machine can (SSRF).

The host is resolved here, every address it has is checked, and the connection goes to a checked address: a name that resolves differently
a moment later changes nothing. Redirects are followed by the same rules.
"""

import asyncio
import base64
import binascii
import functools
import ipaddress
import socket
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from services.core.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError

MOST_REDIRECTS = 3
DEFAULT_PORTS = {"http": 80, "https": 443}
SERVER_ERROR = 500
# Longest time without a byte.
_IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How far a fetch may go."""

    timeout: float = 10.0
    """Longest time in seconds for all of it, redirects included."""
    max_bytes: int = 20 << 20
    """Largest content."""
    allow_private: bool = False
    """Reaches loopback, link-local and private addresses too."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched."""

    content: bytes
    """The bytes."""
    mime_type: str
    """Their type as the server, or the `data:` URI, says; without parameters. Empty: not told."""


async def fetch(uri: str, limits: FetchLimits, field: str) -> Fetched:
    """Fetches an `http:`, `https:` or `data:` URI.

    Args:
        uri: What to fetch.
        limits: How far to go.
        field: Path of the request's field that holds the URI, for errors.

    Raises:
        InvalidArgumentError: The URI is malformed, points where it must not, does not exist, or its content is too large.
        DeadlineExceededError: It took too long.
        UnavailableError: The server fails or cannot be reached.
    """
    if uri.startswith("data:"):
        return _from_data_uri(uri, limits, field)
    async with opened(uri, limits, field) as response:
        if response.status_code != httpx.codes.OK:
            raise InvalidArgumentError.of(field, f"the address answers with HTTP status {response.status_code}")
        content = await read_limited(response, limits, field)
        return Fetched(content, response.headers.get("content-type", "").split(";")[0].strip())


@asynccontextmanager
async def opened(
    uri: str, limits: FetchLimits, field: str, headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.Response]:
    """Asks for an `http:` or `https:` URI and follows redirects; yields the response, whose body is still to be read.

    Args:
        uri: What to fetch.
        limits: How far to go; `max_bytes` is for the reader to keep.
        field: Path of the request's field that holds the URI, for errors.
        headers: Headers of the request.

    Raises:
        InvalidArgumentError: The URI is malformed, or points where it must not.
        DeadlineExceededError: It took too long, reading included.
        UnavailableError: The server fails or cannot be reached.
    """
    try:
        async with asyncio.timeout(limits.timeout), http_client(min(limits.timeout, _IDLE_SECONDS)) as client:
            response = await _follow(client, uri, limits, field, headers or {})
            try:
                yield response
            finally:
                await response.aclose()
    except (TimeoutError, httpx.TimeoutException) as error:
        message = f"{field}: the address did not send all of it within {limits.timeout:g} s, or stood still"
        raise DeadlineExceededError(message) from error
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"{field}: the address cannot be reached: {type(error).__name__}", retry_after=5.0
        ) from error


async def _follow(
    client: httpx.AsyncClient, uri: str, limits: FetchLimits, field: str, headers: Mapping[str, str]
) -> httpx.Response:
    """Follows redirects to a response that is none, and no failure of the server's."""
    for _ in range(MOST_REDIRECTS + 1):
        response = await _get(client, uri, limits, field, headers)
        if not response.is_redirect:
            return response
        await response.aclose()
        uri = urllib.parse.urljoin(uri, response.headers.get("location", ""))
    raise InvalidArgumentError.of(field, f"redirects more than {MOST_REDIRECTS} times; give the final address")


def http_client(timeout: float) -> httpx.AsyncClient:
    """Makes a client for one exchange. All of them share what reading the authorities' certificates, which takes long, has given.

    Args:
        timeout: Longest time in seconds for each part of the exchange.
    """
    return httpx.AsyncClient(verify=_tls_context(), follow_redirects=False, timeout=timeout, trust_env=False)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


async def _get(
    client: httpx.AsyncClient, uri: str, limits: FetchLimits, field: str, headers: Mapping[str, str]
) -> httpx.Response:
    """One request, to an address that was checked."""
    url = parsed_url(uri, field)
    address = await checked_address(url.host, url.port or DEFAULT_PORTS[url.scheme], limits, field)
    request = client.build_request(
        "GET",
        url.copy_with(host=address),
        headers={**headers, "Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": url.host},
    )
    response = await client.send(request, stream=True)
    if response.status_code >= SERVER_ERROR:
        await response.aclose()
        message = f"{field}: the address answers with HTTP status {response.status_code}"
        raise UnavailableError(message, retry_after=5.0)
    return response


def parsed_url(uri: str, field: str) -> httpx.URL:
    """Parses an absolute `http:` or `https:` URI.

    Args:
        uri: The URI.
        field: Path of the request's field that holds it, for errors.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        url = httpx.URL(uri)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidArgumentError.of(field, "must be an absolute http:, https: or data: URI") from error
    if url.scheme not in DEFAULT_PORTS or not url.host:
        raise InvalidArgumentError.of(field, "must be an absolute http:, https: or data: URI")
    return url


async def checked_address(host: str, port: int, limits: FetchLimits, field: str) -> str:
    """Resolves a host to an address that may be connected to.

    Args:
        host: Name or address.
        port: Port.
        limits: Whether private addresses are allowed.
        field: Path of the request's field that names the host, for errors.

    Raises:
        InvalidArgumentError: It does not resolve, or one of its addresses is private.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise InvalidArgumentError.of(field, f"the host {host!r} does not resolve") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not limits.allow_private and not all(ipaddress.ip_address(address).is_global for address in addresses):
        raise InvalidArgumentError.of(
            field, "points to a private address, which this service does not fetch from; send the content itself"
        )
    return addresses[0]


async def read_limited(response: httpx.Response, limits: FetchLimits, field: str) -> bytes:
    """Reads a response's body.

    Args:
        response: A streamed response.
        limits: How large it may be.
        field: Path of the request's field that names the address, for errors.

    Raises:
        InvalidArgumentError: It is larger.
    """
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > limits.max_bytes:
            raise _too_large(limits, field)
    return bytes(content)


def _from_data_uri(uri: str, limits: FetchLimits, field: str) -> Fetched:
    head, comma, data = uri.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidArgumentError.of(field, "is no data: URI; it needs a comma before the data")
    raw = urllib.parse.unquote_to_bytes(data)
    try:
        content = base64.b64decode(raw, validate=True) if head.endswith(";base64") else raw
    except (binascii.Error, ValueError) as error:
        raise InvalidArgumentError.of(field, "the data: URI is not valid base64") from error
    if len(content) > limits.max_bytes:
        raise _too_large(limits, field)
    return Fetched(content, head.split(";")[0])


def _too_large(limits: FetchLimits, field: str) -> InvalidArgumentError:
    return InvalidArgumentError.of(field, f"the content is larger than {limits.max_bytes} bytes")
