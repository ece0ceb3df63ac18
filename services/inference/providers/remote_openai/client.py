"""HTTP to an OpenAI-compatible server: bounded connections, time limits, repetitions where nothing was produced, errors mapped."""

import asyncio
import importlib.metadata
import json
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx

from services.core.context import current_request, new_request_id
from services.core.errors import CaravanError, DeadlineExceededError, InvalidArgumentError
from services.inference.providers.remote_openai import failures, sse, wire_json
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.remote_openai.credentials import Credentials, credentials_of_call
from services.inference.providers.remote_openai.failures import Call
from services.inference.tool_calls.json_values import JsonObject

LIST_SECONDS = 10.0
"""How long the list of models may take."""
LARGEST_ERROR_BODY = 64 << 10
"""Most bytes that are read of an error's body."""
KEEPALIVE_SECONDS = 4.0
"""How long an idle connection is kept: less than the 5 seconds after which uvicorn, under most of these servers, closes it."""
FIRST_RETRY_DELAY = 0.1
"""Seconds before the first repetition; doubles with each."""

_DONE = b"[DONE]"
_RETRIED_STATUS = frozenset({failures.TOO_MANY_REQUESTS, failures.SERVICE_UNAVAILABLE})
_RETRIED_ERRORS = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.RemoteProtocolError,
    httpx.ReadError,
    httpx.WriteError,
)
"""No connection, or one that the server closed before it answered."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How a request went that is not answered."""

    error: CaravanError
    again: bool
    """It may be repeated."""
    after: float | None = None
    """Seconds that the server wants to have to itself first."""


class OpenAIClient:
    """One server. Belongs to one event loop."""

    def __init__(
        self, config: RemoteOpenAIConfig, title: str, *, on_surprise: Callable[[], None] = lambda: None
    ) -> None:
        """Makes the client; nothing is sent yet.

        Args:
            config: Where the server is and how to talk to it.
            title: What to call it in messages.
            on_surprise: Called when the server seems to be gone, or not to serve what it did.
        """
        self._config = config
        self._title = title
        self._on_surprise = on_surprise
        self._http = httpx.AsyncClient(
            base_url=str(config.base_url).rstrip("/") + "/",
            headers={"User-Agent": _user_agent(config.dialect)},
            limits=httpx.Limits(
                max_connections=config.max_connections,
                max_keepalive_connections=config.max_connections,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
            verify=ssl.create_default_context(cafile=config.ca_file),
            trust_env=config.use_environment_proxy,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    def call(self, path: str, *, model_id: str, content_field: str) -> Call:
        """Describes a request that the current call makes, with the credentials that the call has.

        Args:
            path: Path under the base address.
            model_id: Name of the model that the caller used.
            content_field: Field of our request that holds what the model reads.

        Raises:
            InvalidArgumentError: The call brings credentials that cannot be read.
        """
        return Call(self._title, path, model_id, content_field, credentials_of_call(self._config))

    async def post(self, call: Call, body: JsonObject) -> JsonObject:
        """Sends a request and returns the answer's JSON object.

        Raises:
            CaravanError: There is no good answer.
        """
        async with self._open("POST", call, body) as response:
            return await self._json(response, call)

    async def stream(self, call: Call, body: JsonObject) -> AsyncGenerator[JsonObject, None]:
        """Sends a request and yields the chunks of the answer. Leaving the iteration closes the HTTP stream at once.

        Ends after `[DONE]` or when the server closes the stream; whether the answer is whole is for the caller to see.

        Raises:
            CaravanError: There is no good answer, or it breaks off.
        """
        async with self._open("POST", call, body, accept="text/event-stream") as response:
            try:
                async with aclosing(sse.events(response.aiter_bytes())) as events:
                    async for event in events:
                        if event.data == _DONE:
                            return
                        yield _chunk(event, call)
            except httpx.HTTPError as error:
                raise failures.of_exception(error, call) from error
            except sse.EventTooLargeError as error:
                raise failures.broken(call, str(error)) from error

    async def models(self) -> list[JsonObject]:
        """Returns what the server lists, asked with the provider's own credentials.

        Raises:
            CaravanError: It does not answer, or has no such list.
        """
        call = Call(self._title, "models", credentials=Credentials.of_config(self._config))
        async with self._open("GET", call, retries=0, patience=LIST_SECONDS) as response:
            listed = (await self._json(response, call)).get("data")
        if not isinstance(listed, list):
            raise failures.broken(call, "the list of models is malformed")
        return [model for model in listed if isinstance(model, dict) and isinstance(model.get("id"), str)]

    async def _json(self, response: httpx.Response, call: Call) -> JsonObject:
        try:
            answer = wire_json.read(await response.aread())
        except httpx.HTTPError as error:
            raise failures.of_exception(error, call) from error
        except (ValueError, RecursionError) as error:
            raise failures.broken(call, "the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise failures.broken(call, "the answer is not a JSON object")
        if answer.get("error"):
            raise failures.of_event(answer, call)
        return answer

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        call: Call,
        body: JsonObject | None = None,
        *,
        accept: str = "application/json",
        retries: int | None = None,
        patience: float | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Sends a request, again where that makes sense, and closes the answer in the end."""
        limit = self._config.max_retries if retries is None else retries
        content = None if body is None else _encoded(body)
        for attempt in range(limit + 1):
            request = self._request(method, call, content, accept, patience or self._config.read_timeout)
            outcome = await self._send(request, call)
            if isinstance(outcome, httpx.Response):
                try:
                    yield outcome
                finally:
                    await outcome.aclose()
                return
            delay = self._delay(outcome, attempt)
            if not outcome.again or attempt == limit or delay is None:
                raise outcome.error
            await asyncio.sleep(delay)

    def _request(self, method: str, call: Call, content: bytes | None, accept: str, patience: float) -> httpx.Request:
        context = current_request()
        if context.deadline is not None:
            patience = min(patience, context.deadline - time.monotonic())
        if patience <= 0:
            raise DeadlineExceededError("the deadline passed before the request was sent", reason="DEADLINE_EXCEEDED")
        headers = {
            # Compressed streams are held back by servers until a block is full.
            "Accept-Encoding": "identity",
            "Accept": accept,
            # Several requests of one call (a batch, a repetition) must differ.
            "X-Request-Id": f"{context.request_id}-{new_request_id()[:8]}",
            **context.trace_headers,
            **call.credentials.headers,
        }
        if content is not None:
            headers["Content-Type"] = "application/json"
        timeout = httpx.Timeout(
            connect=self._config.connect_timeout, read=patience, write=patience, pool=self._config.pool_timeout
        )
        return self._http.build_request(method, call.path, content=content, headers=headers, timeout=timeout)

    async def _send(self, request: httpx.Request, call: Call) -> httpx.Response | _Attempt:
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                self._on_surprise()
            return _Attempt(failures.of_exception(error, call), again=isinstance(error, _RETRIED_ERRORS))
        if response.is_success:
            return response
        try:
            message = failures.read_body(await _start_of_body(response), call)
        except httpx.HTTPError as error:
            return _Attempt(failures.of_exception(error, call), again=False)
        finally:
            await response.aclose()
        if response.status_code == failures.NOT_FOUND:
            self._on_surprise()
        after = failures.retry_after(response.headers)
        refusal = failures.of_status(response.status_code, message, call, retry_after=after)
        for_good = refusal.reason == "PROVIDER_QUOTA"
        return _Attempt(refusal, again=response.status_code in _RETRIED_STATUS and not for_good, after=after)

    def _delay(self, outcome: _Attempt, attempt: int) -> float | None:
        """Seconds to wait before the next attempt; None where that would be too long."""
        delay = outcome.after
        if delay is None:
            delay = min(self._config.max_retry_delay, FIRST_RETRY_DELAY * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
        deadline = current_request().deadline
        late = deadline is not None and time.monotonic() + delay >= deadline
        return None if late or delay > self._config.max_retry_delay else delay


def _encoded(body: JsonObject) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # The contract's strings have none, but JSON within them may.
        raise InvalidArgumentError(
            "a JSON text in the request (tool arguments or a schema) holds half a surrogate pair, \\ud800 to \\udfff; leave it out"
        ) from error


async def _start_of_body(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= LARGEST_ERROR_BODY:
            break
    return body[:LARGEST_ERROR_BODY]


def _chunk(event: sse.Event, call: Call) -> JsonObject:
    try:
        chunk = wire_json.read(event.data)
    except (ValueError, RecursionError) as error:
        if event.name == "error":
            raise failures.of_event(event.data.decode(errors="replace"), call) from error
        raise failures.broken(call, "a piece of the stream is not JSON") from error
    if event.name == "error" or (isinstance(chunk, dict) and chunk.get("error")):
        raise failures.of_event(chunk, call)
    if not isinstance(chunk, dict):
        raise failures.broken(call, "a piece of the stream is not a JSON object")
    return chunk


def _user_agent(dialect: str) -> str:
    try:
        version = importlib.metadata.version("caravan")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    return f"caravan-remote-openai/{version} ({dialect})"
