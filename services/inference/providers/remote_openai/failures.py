"""What goes wrong between us and the server, as errors for the caller."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from services.core.errors import (
    CaravanError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.inference.providers.remote_openai import wire_json
from services.inference.providers.remote_openai.credentials import NO_CREDENTIALS, Credentials

MASK = "********"
LONGEST_MESSAGE = 1000

_KEYS = re.compile(r"\b(?:sk|pk|rk|nvapi|hf|gsk|xai)[-_][\w*.\-]{6,}|(?<=\bBearer )\S+", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

_SAMPLING = ("max_tokens", "stop", "seed", "frequency_penalty", "presence_penalty", "repetition_penalty")
_FIELDS = {
    **{name: f"sampling_params.{name}" for name in _SAMPLING},
    **dict.fromkeys(("temperature", "top_p", "top_k"), "sampling_params.strategy"),
    **dict.fromkeys(("response_format", "structured_outputs", "guided_json", "guided_grammar"), "response_format"),
    **dict.fromkeys(("logprobs", "top_logprobs"), "logprobs"),
    "max_completion_tokens": "sampling_params.max_tokens",
    "messages": "messages",
    "prompt": "content",
    "input": "contents",
    "tools": "tools",
    "tool_choice": "tool_config",
    "dimensions": "output_dimension",
    "model": "model_id",
}
"""Our field for each of OpenAI's."""
_TOPICS = (
    ("", re.compile(r"context length|too (?:long|large)|input_tokens|`inputs` tokens")),
    ("output_dimension", re.compile(r"matryoshka|\bdimensions\b", re.IGNORECASE)),
    ("response_format", re.compile(r"grammar|json.?schema|structured.output|guided", re.IGNORECASE)),
)
"""Our field for what a message is about that names none; the empty one stands for the content."""

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, REQUEST_TIMEOUT = 400, 401, 403, 404, 408
TOO_LARGE, UNPROCESSABLE, FAILED_DEPENDENCY, TOO_MANY_REQUESTS = 413, 422, 424, 429
SERVER_ERROR, NOT_IMPLEMENTED, SERVICE_UNAVAILABLE, GATEWAY_TIMEOUT = 500, 501, 503, 504


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the server, as far as its failures are concerned."""

    title: str
    """What to call the server."""
    path: str
    """Path under the base address, for instance `chat/completions`."""
    model_id: str = ""
    """Name of the model that the caller used. Empty: the call is about no model."""
    content_field: str = ""
    """Field of our request that holds what the model reads."""
    credentials: Credentials = NO_CREDENTIALS
    """What the request proves who asks with; never shown."""


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """What the server says about an error."""

    text: str
    """The message, without secrets. Empty: there is none."""
    param: str = ""
    """OpenAI's name of the field that is wrong."""
    code: str = ""
    """Constant by which the server tells errors apart."""
    status: int | None = None
    """HTTP status that the server gives inside the message."""


def of_status(status: int, message: ServerMessage, call: Call, *, retry_after: float | None = None) -> CaravanError:
    """The error for an answer with an error status.

    Args:
        status: HTTP status.
        message: What the server says.
        call: The request.
        retry_after: Seconds after which the server wants to be asked again.
    """
    said = f": {message.text}" if message.text else f" (HTTP {status})"
    if status in (BAD_REQUEST, TOO_LARGE, UNPROCESSABLE):
        return _invalid(message, call, said)
    if status in (UNAUTHORIZED, FORBIDDEN):
        return _refused_key(call, status)
    if status == NOT_FOUND:
        return _not_found(call, said)
    if status in (REQUEST_TIMEOUT, GATEWAY_TIMEOUT):
        return DeadlineExceededError(
            f"{call.title} took too long{said}; ask for less, or try again", reason="PROVIDER_TIMEOUT"
        )
    if status == TOO_MANY_REQUESTS:
        return _exhausted(message, call, said, retry_after)
    if (status >= SERVER_ERROR and status != NOT_IMPLEMENTED) or status == FAILED_DEPENDENCY:
        return UnavailableError(
            f"{call.title} failed{said}; try again", retry_after=retry_after or 1.0, reason="PROVIDER_FAILED"
        )
    return FailedPreconditionError(
        f"{call.title} refuses {call.path}{said}; the provider's base_url or dialect may be wrong (HTTP {status})",
        reason="PROVIDER_REFUSES",
    )


def of_exception(error: httpx.HTTPError, call: Call) -> CaravanError:
    """The error for a request that got no whole answer."""
    if isinstance(error, httpx.PoolTimeout):
        return ResourceExhaustedError(
            f"all connections to {call.title} are busy; try again, or raise max_connections",
            retry_after=1.0,
            subject="connections",
            reason="PROVIDER_BUSY",
        )
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
        return DeadlineExceededError(
            f"{call.title} was silent for too long; try again, or raise read_timeout", reason="PROVIDER_TIMEOUT"
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return UnavailableError(f"cannot connect to {call.title}; try again", reason="PROVIDER_UNREACHABLE")
    return broken(call, "the connection broke off")


def of_event(payload: Any, call: Call) -> CaravanError:
    """The error for an error that came within a stream."""
    message = server_message(payload, call)
    return of_status(message.status or SERVER_ERROR, message, call)


def broken(call: Call, what: str) -> UnavailableError:
    """The error for an answer that is not what the API promises.

    Args:
        call: The request.
        what: What is wrong, for instance `the stream ended early`.
    """
    return UnavailableError(f"{call.title}: {what}; try again", reason="PROVIDER_BROKE_OFF")


def read_body(body: bytes, call: Call) -> ServerMessage:
    """What the server says in the body of an error."""
    try:
        payload = wire_json.read(body)
    except (ValueError, RecursionError):
        payload = body.decode(errors="replace")
        if payload.lstrip().startswith("<"):
            return ServerMessage("")
    return server_message(payload, call)


def server_message(payload: Any, call: Call) -> ServerMessage:
    """What the server says, out of the forms in which servers say it.

    OpenAI, vLLM, NIM and Ollama: `{"error": {"message", "param", "code"}}`; TGI: `{"error": "...", "error_type": "..."}`; FastAPI:
    `{"detail": [{"loc", "msg"}]}` or `{"detail": "..."}`; others: `{"message": "..."}`, or text.
    """
    source = payload.get("error", payload) if isinstance(payload, dict) else payload
    if isinstance(source, str):
        code = payload.get("error_type", "") if isinstance(payload, dict) else ""
        return ServerMessage(clean(source, call.credentials.secrets), code=str(code))
    if not isinstance(source, dict):
        return ServerMessage("")
    detail = source.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return _of_detail(detail[0], call)
    text = next((t for t in (source.get("message"), detail) if isinstance(t, str)), "")
    code = source.get("code")
    param = source.get("param")
    return ServerMessage(
        clean(text, call.credentials.secrets),
        param=param if isinstance(param, str) else "",
        code=str(code or source.get("type") or ""),
        status=code if isinstance(code, int) and BAD_REQUEST <= code < 600 else None,
    )


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """The server's text on one line, bounded, without keys."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = _UNPRINTABLE.sub(" ", _KEYS.sub(MASK, text)).strip()
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds after which the server wants to be asked again; None when it does not say.

    Source: RFC 9110, section 10.2.3; `retry-after-ms` is OpenAI's.
    """
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        at = parsedate_to_datetime(value)
        return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _of_detail(detail: Mapping[str, Any], call: Call) -> ServerMessage:
    location = detail.get("loc")
    path = [str(part) for part in location] if isinstance(location, list) else []
    path = path[1:] if path[:1] == ["body"] else path
    text = f"{'.'.join(path)}: {detail.get('msg', '')}" if path else str(detail.get("msg", ""))
    return ServerMessage(
        clean(text, call.credentials.secrets), param=path[0] if path else "", code=str(detail.get("type", ""))
    )


def _invalid(message: ServerMessage, call: Call, said: str) -> InvalidArgumentError:
    field = _FIELDS.get(re.split(r"[.\[]", message.param)[0], "")
    if not field:
        told = f"{message.text} {message.param}"
        field = next((field or call.content_field for field, words in _TOPICS if words.search(told)), "")
    violations = [FieldViolation(field, message.text or "is refused by the server")] if field else []
    return InvalidArgumentError(
        f"{call.title} refuses the request{said}", violations=violations, reason="PROVIDER_REFUSES"
    )


def _refused_key(call: Call, status: int) -> FailedPreconditionError:
    whose = (
        "the api_key in caravan-provider-data"
        if call.credentials.own
        else "the credentials that the provider is configured with"
    )
    who = "send a valid one" if call.credentials.own else "the operator must set a valid api_key"
    return FailedPreconditionError(
        f"{call.title} does not accept {whose} (HTTP {status}); {who}", reason="PROVIDER_CREDENTIALS"
    )


def _not_found(call: Call, said: str) -> CaravanError:
    if not call.model_id:
        return FailedPreconditionError(
            f"{call.title} has no {call.path}{said}; the provider's base_url may be wrong", reason="PROVIDER_REFUSES"
        )
    return NotFoundError(
        f"{call.title} does not serve model {call.model_id!r}{said}; choose one from ListModels",
        resource_type="model",
        resource_name=call.model_id,
    )


def _exhausted(message: ServerMessage, call: Call, said: str, seconds: float | None) -> ResourceExhaustedError:
    if message.code == "insufficient_quota":
        return ResourceExhaustedError(
            f"the quota at {call.title} is used up{said}; the operator must raise it",
            reason="PROVIDER_QUOTA",
            subject="quota",
        )
    return ResourceExhaustedError(
        f"{call.title} has too much to do{said}; try again later",
        retry_after=1.0 if seconds is None else seconds,
        subject="rate",
        reason="PROVIDER_BUSY",
    )
