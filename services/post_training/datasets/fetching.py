"""Fetches files from addresses to the spool, under the rules of `services.core.fetch`: nothing that only this machine reaches."""

import asyncio
from urllib.parse import unquote, urljoin

import httpx

from services.core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from services.core.fetch import DEFAULT_PORTS, MOST_REDIRECTS, SERVER_ERROR, FetchLimits, checked_address, parsed_url
from services.post_training.datasets.spooling import SpoolFile

_IDLE_SECONDS = 60.0
_PIECE = 1 << 18


async def fetch(uri: str, limits: FetchLimits, spool: SpoolFile, field: str) -> str:
    """Fetches an `http:` or `https:` address.

    Args:
        uri: The address.
        limits: How far to go.
        spool: Where the content goes.
        field: Path of the request's field that holds the address, for errors.

    Returns:
        Name of the file, as the address tells it.

    Raises:
        InvalidArgumentError: The address is malformed, or points where it must not.
        FailedPreconditionError: There is nothing at the address.
        ResourceExhaustedError: The content is too large, or the disk is full.
        DeadlineExceededError: It takes too long.
        UnavailableError: The server fails or cannot be reached.
    """
    try:
        async with asyncio.timeout(limits.timeout):
            return await _followed(uri, limits, spool, field)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise DeadlineExceededError(f"{field}: the address did not send all within {limits.timeout:g} s") from error
    except httpx.HTTPError as error:
        message = f"{field}: the address cannot be reached: {type(error).__name__}"
        raise UnavailableError(message, retry_after=5.0) from error


async def _followed(uri: str, limits: FetchLimits, spool: SpoolFile, field: str) -> str:
    async with httpx.AsyncClient(follow_redirects=False, timeout=_IDLE_SECONDS, trust_env=False) as client:
        for _ in range(MOST_REDIRECTS + 1):
            url = parsed_url(uri, field)
            if url.userinfo:
                raise InvalidArgumentError.of(field, "must not hold a user name or a password: it is kept and shown")
            location = await _fetched(client, url, limits, spool, field)
            if location is None:
                return unquote(url.path.rpartition("/")[2])
            uri = urljoin(uri, location)
    raise InvalidArgumentError.of(field, f"redirects more than {MOST_REDIRECTS} times; give the final address")


async def _fetched(
    client: httpx.AsyncClient, url: httpx.URL, limits: FetchLimits, spool: SpoolFile, field: str
) -> str | None:
    """One request: None when the content has come, else where it redirects to."""
    address = await checked_address(url.host, url.port or DEFAULT_PORTS[url.scheme], limits, field)
    # Not compressed: what is counted is what is written.
    headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"}
    request = client.build_request(
        "GET", url.copy_with(host=address), headers=headers, extensions={"sni_hostname": url.host}
    )
    response = await client.send(request, stream=True)
    try:
        if response.is_redirect:
            return str(response.headers.get("location", ""))
        if response.status_code >= SERVER_ERROR:
            message = f"{field}: the address answers with HTTP status {response.status_code}"
            raise UnavailableError(message, retry_after=5.0)
        if response.status_code != httpx.codes.OK or response.headers.get("content-encoding", "identity") != "identity":
            message = (
                f"{field}: the address answers with HTTP status {response.status_code} and no plain file; check it"
            )
            raise FailedPreconditionError(message, reason="SOURCE_UNREADABLE")
        async for chunk in response.aiter_raw(_PIECE):
            await spool.write(chunk)
        await spool.flush()
    finally:
        await response.aclose()
    return None
