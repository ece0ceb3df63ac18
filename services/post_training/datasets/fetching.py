"""Fetches files from addresses to the spool, under the rules of `services.core.fetch`."""

from urllib.parse import unquote

import httpx

from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.core.fetch import FetchLimits, opened, parsed_url
from services.post_training.datasets.spooling import SpoolFile

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
    if parsed_url(uri, field).userinfo:
        raise InvalidArgumentError.of(field, "must not hold a user name or a password: it is kept and shown")
    # Not compressed: what is counted is what is written.
    async with opened(uri, limits, field, {"Accept-Encoding": "identity"}) as response:
        if response.status_code != httpx.codes.OK or response.headers.get("content-encoding", "identity") != "identity":
            message = (
                f"{field}: the address answers with HTTP status {response.status_code} and no plain file; check it"
            )
            raise FailedPreconditionError(message, reason="SOURCE_UNREADABLE")
        async for chunk in response.aiter_raw(_PIECE):
            await spool.write(chunk)
        await spool.flush()
        return unquote(response.url.path.rpartition("/")[2])
