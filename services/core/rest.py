"""Calls HTTP endpoints that a caller describes in a request (`caravan.types.v1.RestApiExecutionConfig`).

Templates are filled once and never read again: what an argument says stays text. Addresses are guarded as in `services.core.fetch`, and
redirects are not followed, since the request may carry credentials. Neither the address's query nor headers or bodies appear in errors.
"""

import asyncio
import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from google.protobuf import json_format

from caravan.types.v1 import remote_execution_pb2
from services.core.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError
from services.core.fetch import DEFAULT_PORTS, FetchLimits, checked_address, http_client, parsed_url, read_limited

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]{0,127})\s*\}\}")
_METHODS = {
    remote_execution_pb2.REST_API_METHOD_UNSPECIFIED: "POST",
    remote_execution_pb2.REST_API_METHOD_GET: "GET",
    remote_execution_pb2.REST_API_METHOD_POST: "POST",
    remote_execution_pb2.REST_API_METHOD_PUT: "PUT",
    remote_execution_pb2.REST_API_METHOD_DELETE: "DELETE",
}
# The connection's own business.
_FORBIDDEN_HEADERS = {"host", "content-length", "transfer-encoding", "connection"}


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """What an endpoint answered."""

    status: int
    """HTTP status."""
    mime_type: str
    """Type of the body, without parameters; empty: not told."""
    body: bytes
    """The body."""

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON; None: it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


async def execute(
    config: remote_execution_pb2.RestApiExecutionConfig, arguments: Mapping[str, Any], limits: FetchLimits, field: str
) -> RestAnswer:
    """Calls an endpoint.

    Args:
        config: The endpoint, with templates.
        arguments: Values for the templates by name; sent as the JSON body of POST and PUT when the configuration has none.
        limits: How far to go.
        field: Path of the request's field that holds `config`, for errors.

    Returns:
        The answer, whatever its status.

    Raises:
        InvalidArgumentError: The address is malformed or private, a template names what is not there, or the answer is too large.
        DeadlineExceededError: It took too long.
        UnavailableError: The endpoint cannot be reached.
    """
    request = _request(config, arguments, field)
    try:
        async with asyncio.timeout(limits.timeout):
            return await _send(request, limits, field)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise DeadlineExceededError(f"{field}: the endpoint did not answer within {limits.timeout:g} s") from error
    except (httpx.HTTPError, OSError) as error:
        message = f"{field}: the endpoint cannot be reached: {type(error).__name__}"
        raise UnavailableError(message, retry_after=5.0) from error


def fill(value: Any, arguments: Mapping[str, Any], field: str) -> Any:
    """Fills the templates in a JSON value. A text that is nothing but one placeholder becomes the argument itself, of whatever type.

    Args:
        value: Text, or lists and objects of texts.
        arguments: Values by name.
        field: Path of the value, for errors.

    Raises:
        InvalidArgumentError: A template names what is not there.
    """
    if isinstance(value, Mapping):
        return {key: fill(item, arguments, f"{field}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, arguments, f"{field}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    if whole:
        return _argument(whole[1], arguments, field)
    return _PLACEHOLDER.sub(lambda found: as_text(_argument(found[1], arguments, field)), value)


def as_text(value: Any) -> str:
    """Writes a JSON value into a text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: httpx.URL
    headers: dict[str, str]
    body: bytes | None


def _request(config: remote_execution_pb2.RestApiExecutionConfig, arguments: Mapping[str, Any], field: str) -> _Request:
    method = _METHODS[config.method]
    url = parsed_url(_filled_url(config.url.uri, arguments, f"{field}.url.uri"), f"{field}.url.uri")
    params = fill(json_format.MessageToDict(config.params), arguments, f"{field}.params")
    if params:
        url = url.copy_merge_params({name: as_text(value) for name, value in params.items() if value is not None})
    headers = _headers(
        fill(json_format.MessageToDict(config.headers), arguments, f"{field}.headers"), f"{field}.headers"
    )
    body: Any = None
    if config.HasField("body"):
        body = fill(json_format.MessageToDict(config.body), arguments, f"{field}.body")
    elif method in ("POST", "PUT"):
        body = dict(arguments)
    if body is None:
        return _Request(method, url, headers, None)
    headers.setdefault("content-type", "application/json")
    return _Request(method, url, headers, json.dumps(body, ensure_ascii=False).encode())


def _filled_url(template: str, arguments: Mapping[str, Any], field: str) -> str:
    """Fills an address; arguments are escaped, so that none of them adds a host, a path or a parameter."""

    def escaped(found: re.Match[str]) -> str:
        return urllib.parse.quote(as_text(_argument(found[1], arguments, field)), safe="")

    return _PLACEHOLDER.sub(escaped, template)


def _headers(values: Mapping[str, Any], field: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in values.items():
        text = as_text(value)
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or name.lower() in _FORBIDDEN_HEADERS:
            raise InvalidArgumentError.of(f"{field}.{name}", "is no header that may be set")
        if any(not character.isprintable() or ord(character) > 255 for character in text):
            raise InvalidArgumentError.of(f"{field}.{name}", "holds characters that no header may hold")
        headers[name.lower()] = text
    return headers


def _argument(name: str, arguments: Mapping[str, Any], field: str) -> Any:
    if name not in arguments:
        raise InvalidArgumentError.of(field, f"names {{{{{name}}}}}, which the call does not have")
    return arguments[name]


async def _send(request: _Request, limits: FetchLimits, field: str) -> RestAnswer:
    host, port = request.url.host, request.url.port or DEFAULT_PORTS[request.url.scheme]
    address = await checked_address(host, port, limits, f"{field}.url.uri")
    async with http_client(limits.timeout) as client:
        outgoing = client.build_request(
            request.method,
            request.url.copy_with(host=address),
            headers={**request.headers, "Host": request.url.netloc.decode("ascii")},
            content=request.body,
            extensions={"sni_hostname": host},
        )
        response = await client.send(outgoing, stream=True)
        try:
            body = await read_limited(response, limits, field)
        finally:
            await response.aclose()
    return RestAnswer(response.status_code, response.headers.get("content-type", "").split(";")[0].strip(), body)
