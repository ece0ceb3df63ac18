"""Requests to the web APIs behind the built-in tools: bounded in time, size and number, and silent about keys."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx

from services.agents.tools.tool import ToolError

# Refused unheard; a gateway that gives up does not know whether its server heard.
_UNHEARD = frozenset({429, 503})
_RETRIED = {"GET": _UNHEARD | {502, 504}, "POST": _UNHEARD}
_MOST_ATTEMPTS = 3
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 5.0
_WHAT_TO_DO = {
    400: "it does not understand the request",
    401: "it does not accept the key; check the tool's API key",
    403: "it does not accept the key; check the tool's API key",
    402: "the key's quota is used up",
    404: "there is nothing at its address; check the service's configuration",
    429: "too many requests; try again later",
}


class WebApi:
    """One web API."""

    def __init__(self, name: str, *, timeout: float = 15.0, max_bytes: int = 4 << 20) -> None:
        """Connects with the first request.

        Args:
            name: Name for messages.
            timeout: Longest time in seconds for one attempt.
            max_bytes: Largest answer.
        """
        self._name = name
        self._max_bytes = max_bytes
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.aclose()

    async def get(self, url: str, params: Mapping[str, str | int], headers: Mapping[str, str]) -> Any:
        """Asks and returns the JSON answer.

        Args:
            url: Address.
            params: Query parameters.
            headers: Headers.

        Raises:
            ToolError: It refuses, fails, or answers something else than JSON.
        """
        return await self._ask("GET", url, params=dict(params), headers=dict(headers))

    async def post(self, url: str, body: Any, headers: Mapping[str, str]) -> Any:
        """Sends JSON and returns the JSON answer.

        Args:
            url: Address.
            body: What to send.
            headers: Headers.

        Raises:
            ToolError: It refuses, fails, or answers something else than JSON.
        """
        return await self._ask("POST", url, json=body, headers=dict(headers))

    async def _ask(self, method: str, url: str, **parts: Any) -> Any:
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            status, headers, body = await self._once(method, url, **parts)
            if status == httpx.codes.OK:
                return self._parsed(body)
            delay = _delay(headers.get("retry-after"), attempt)
            if status not in _RETRIED[method] or attempt == _MOST_ATTEMPTS or delay > _LONGEST_DELAY:
                why = _WHAT_TO_DO.get(status, "it failed" if status >= 500 else "it refused the request")
                message = f"{self._name} answered with HTTP status {status}: {why}"
                raise ToolError(message, status)
            await asyncio.sleep(delay)
        raise AssertionError

    async def _once(self, method: str, url: str, **parts: Any) -> tuple[int, httpx.Headers, bytes]:
        # httpx's messages name the address, and a query may hold the key: they are not passed on, nor kept as the cause.
        try:
            async with self._client.stream(method, url, **parts) as response:
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > self._max_bytes:
                        message = f"{self._name} answered with more than {self._max_bytes} bytes"
                        raise ToolError(message)
                return response.status_code, response.headers, bytes(content)
        except httpx.TimeoutException:
            message = f"{self._name} did not answer in time; try again later"
        except httpx.HTTPError as error:
            message = f"{self._name} cannot be reached ({type(error).__name__})"
        raise ToolError(message)

    def _parsed(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            message = f"{self._name} did not answer with JSON"
        raise ToolError(message)


def _delay(retry_after: str | None, attempt: int) -> float:
    """Seconds to wait before the next attempt: what the server says, if it says it in seconds, else twice the last."""
    if retry_after is not None and retry_after.isdecimal():
        return float(retry_after)
    return _FIRST_DELAY * 2.0 ** (attempt - 1)
