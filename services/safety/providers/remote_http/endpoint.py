"""HTTP to a moderation endpoint: bounded connections, time, answers and repetitions."""

import asyncio
import json
import random
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from services.core.context import current_request
from services.core.errors import (
    CaravanError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.core.provider_data import PROVIDER_DATA_KEY, current_provider_data
from services.safety.providers.remote_http.config import RemoteHttpConfig

KEY_NAME = "safety_api_key"
_LONGEST_KEY = 4096
_FIRST_DELAY = 0.1
_TOO_MANY = 429
_RETRIED = frozenset({_TOO_MANY, 500, 502, 503, 504})
_CREDENTIALS = frozenset({401, 403})
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class _Failure:
    """How a request went that got no good answer."""

    error: CaravanError
    again: bool
    """It may be repeated."""
    after: float | None = None
    """Seconds that the endpoint wants to have to itself first."""


class Endpoint:
    """The endpoint. Belongs to one event loop."""

    def __init__(self, config: RemoteHttpConfig) -> None:
        """Makes the client; nothing is sent yet.

        Args:
            config: Where the endpoint is and how to talk to it.
        """
        self._config = config
        self._url = str(config.url)
        self._http = httpx.AsyncClient(
            headers={"User-Agent": "caravan-safety", "Accept": "application/json"},
            limits=httpx.Limits(
                max_connections=config.max_connections, max_keepalive_connections=config.max_connections
            ),
            timeout=config.request_seconds,
            verify=ssl.create_default_context(cafile=config.ca_file),
            trust_env=config.use_environment_proxy,
            # The request carries credentials and what people wrote: it goes where the operator says and nowhere else.
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    async def ask(self, method: str, body: Any) -> Any:
        """Sends a JSON body and returns the answer's.

        Raises:
            InvalidArgumentError: The call brings a key that is none.
            CaravanError: There is no good answer.
        """
        content = json.dumps(body).encode()
        headers = {**self._credentials(), "Content-Type": "application/json", **current_request().trace_headers}
        for attempt in range(self._config.max_retries + 1):
            outcome = await self._send(method, content, headers)
            if not isinstance(outcome, _Failure):
                return _json(outcome)
            delay = self._delay(outcome, attempt)
            if not outcome.again or attempt == self._config.max_retries or delay is None:
                raise outcome.error
            await asyncio.sleep(delay)
        raise AssertionError

    def _credentials(self) -> Mapping[str, str]:
        headers = {name: value.get_secret_value() for name, value in self._config.headers.items()}
        key = self._config.api_key.get_secret_value() if self._config.api_key else ""
        own = current_provider_data().get(KEY_NAME) if self._config.allow_request_credentials else None
        if own is not None:
            if (
                not isinstance(own, str)
                or not 0 < len(own) <= _LONGEST_KEY
                or not own.isascii()
                or not own.isprintable()
            ):
                message = f"{KEY_NAME} must be a text of visible ASCII characters"
                raise InvalidArgumentError.of(PROVIDER_DATA_KEY, message, reason="PROVIDER_DATA")
            key = own
        return {**headers, "Authorization": f"Bearer {key}"} if key else headers

    async def _send(self, method: str, content: bytes, headers: Mapping[str, str]) -> bytes | _Failure:
        limit = self._config.request_seconds
        try:
            async with (
                asyncio.timeout(limit),
                self._http.stream(method, self._url, content=content, headers=dict(headers)) as response,
            ):
                if not response.is_success:
                    return _of_status(response)
                return await self._read(response)
        except httpx.PoolTimeout:
            message = "all connections to the moderation endpoint are busy: try again, or have max_connections raised"
            return _Failure(ResourceExhaustedError(message, subject="connections", reason="ENDPOINT_BUSY"), again=False)
        except (TimeoutError, httpx.TimeoutException):
            message = f"the moderation endpoint did not answer within {limit:g} s"
            return _Failure(DeadlineExceededError(message, reason="ENDPOINT_TIMEOUT"), again=True)
        except httpx.HTTPError as error:
            message = f"the moderation endpoint cannot be reached ({type(error).__name__}): try again"
            return _Failure(UnavailableError(message, reason="ENDPOINT_UNREACHABLE"), again=True)

    async def _read(self, response: httpx.Response) -> bytes | _Failure:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > self._config.max_response_bytes:
                message = f"the moderation endpoint's answer is larger than {self._config.max_response_bytes} bytes"
                return _Failure(UnavailableError(message, reason="ENDPOINT_ANSWER"), again=False)
        return bytes(content)

    def _delay(self, outcome: _Failure, attempt: int) -> float | None:
        """Seconds to wait before the next attempt; None where the endpoint wants more than may be waited."""
        delay = outcome.after
        if delay is None:
            delay = min(self._config.max_retry_delay, _FIRST_DELAY * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
        return delay if delay <= self._config.max_retry_delay else None


def broken(what: str) -> UnavailableError:
    """The error for an answer that is not what the format promises.

    Args:
        what: What is wrong with it, for instance `has no results`.
    """
    return UnavailableError(f"the moderation endpoint's answer {what}: it judged nothing", reason="ENDPOINT_ANSWER")


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise broken("is not JSON") from error


def _of_status(response: httpx.Response) -> _Failure:
    # The body may repeat what was sent, the key included: it goes no further.
    status, after = response.status_code, _retry_after(response.headers)
    if status in _CREDENTIALS:
        message = f"the moderation endpoint does not accept the credentials (HTTP {status}): set a valid api_key"
        return _Failure(FailedPreconditionError(message, reason="ENDPOINT_CREDENTIALS"), again=False)
    if status == _TOO_MANY:
        message = "the moderation endpoint has too much to do (HTTP 429): try again later"
        limited = ResourceExhaustedError(message, retry_after=after or 1.0, subject="rate", reason="ENDPOINT_BUSY")
        return _Failure(limited, again=True, after=after)
    if status >= _SERVER_ERROR:
        message = f"the moderation endpoint failed (HTTP {status}): try again"
        failed = UnavailableError(message, retry_after=after or 1.0, reason="ENDPOINT_FAILED")
        return _Failure(failed, again=status in _RETRIED, after=after)
    message = f"the moderation endpoint refuses the request (HTTP {status}): its url or format may be wrong"
    return _Failure(FailedPreconditionError(message, reason="ENDPOINT_REFUSES"), again=False)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds after which the endpoint wants to be asked again. Source: RFC 9110, section 10.2.3."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None
