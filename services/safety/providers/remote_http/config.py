"""Configuration and parameters of `remote::http`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, JsonValue, SecretStr, field_validator

from services.safety.parameters import LevelName, ShieldParams
from services.safety.provider import ServedShield, ShieldProviderConfig

Pointer = Annotated[str, Field(pattern=r"^(/([^/~]|~[01])*)*$", max_length=512)]
"""A JSON Pointer, RFC 6901."""


class OpenAIFormat(BaseModel):
    """OpenAI's moderation API, https://platform.openai.com/docs/api-reference/moderations: texts in, a result for each out."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Literal["openai"] = "openai"
    """Format of requests and answers."""
    model: str = Field(default="omni-moderation-latest", min_length=1, max_length=256)
    """The moderation model."""


class TemplateFormat(BaseModel):
    """Any other JSON API: a body with places for values, and pointers to what the answer says."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Literal["template"]
    """Format of requests and answers."""
    method: Literal["POST", "PUT"] = "POST"
    """HTTP method."""
    body: JsonValue
    """Body of a request. `{{text}}` and `{{role}}` in its strings stand for a text and for who said it; values are escaped."""
    flagged: Pointer | None = None
    """Where the answer says that the text is flagged: a boolean, or one of `flagged_values` and `safe_values`."""
    flagged_values: list[str | int] = Field(default_factory=list, max_length=64)
    """What stands there when the text is flagged."""
    safe_values: list[str | int] = Field(default_factory=list, max_length=64)
    """What stands there when it is not; anything else is no answer."""
    categories: Pointer | None = None
    """Where the categories are: a list of names, or an object of booleans."""
    scores: Pointer | None = None
    """Where the scores are, 0 to 1: an object of numbers by category, or one number."""

    @field_validator("body")
    @classmethod
    def _has_a_place(cls, body: Any) -> Any:
        if "{{text}}" not in str(body).replace(" ", ""):
            message = "must hold {{text}}, where the text goes"
            raise ValueError(message)
        return body


class RemoteHttpParams(ShieldParams):
    """Parameters of a shield that asks an endpoint."""

    level: LevelName | None = "error"
    """Level of everything that the endpoint flags."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Score from which on a category counts. Default: the endpoint decides."""
    excluded_categories: frozenset[str] = Field(default=frozenset(), max_length=256)
    """Categories that do not count."""


class RemoteHttpConfig(ShieldProviderConfig):
    """One endpoint."""

    type: Literal["remote::http"] = "remote::http"
    """Kind of the provider."""
    shields: list[ServedShield] = Field(default_factory=lambda: [ServedShield(shield_id="moderation")])
    """Shields to serve without being asked to load them."""
    url: HttpUrl
    """Address of the endpoint, for instance `https://api.openai.com/v1/moderations`. Redirects are not followed."""
    format: Annotated[OpenAIFormat | TemplateFormat, Field(discriminator="kind")] = OpenAIFormat()
    """How requests and answers look."""
    api_key: SecretStr | None = None
    """Key, sent as `Authorization: Bearer`. Default: none is sent."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Headers to send with every request."""
    allow_request_credentials: bool = False
    """Lets a call bring its own key: `safety_api_key` in the JSON object of its `caravan-provider-data` metadata."""
    request_seconds: float = Field(default=10.0, gt=0, le=300)
    """Longest time in seconds for one request."""
    max_retries: int = Field(default=2, ge=0, le=10)
    """Most repetitions of a request that got no answer, or status 429, 500, 502, 503 or 504."""
    max_retry_delay: float = Field(default=5.0, ge=0, le=60)
    """Longest wait in seconds before a repetition. An endpoint that wants more is not asked again."""
    max_connections: int = Field(default=32, ge=1, le=4096)
    """Most connections to the endpoint at a time, which is most requests."""
    max_response_bytes: int = Field(default=1 << 20, ge=1024, le=64 << 20)
    """Largest answer."""
    ca_file: Path | None = None
    """Authorities of the endpoint's certificate, PEM. Default: the system's."""
    use_environment_proxy: bool = True
    """Goes through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name."""

    @field_validator("url")
    @classmethod
    def _has_no_credentials(cls, url: HttpUrl) -> HttpUrl:
        if url.username or url.password:
            message = "must not hold a user or a password: put the key into api_key"
            raise ValueError(message)
        return url

    @field_validator("ca_file")
    @classmethod
    def _exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            message = f"no such file: {path}"
            raise ValueError(message)
        return path

    @field_validator("format")
    @classmethod
    def _says_something(cls, chosen: OpenAIFormat | TemplateFormat) -> OpenAIFormat | TemplateFormat:
        if isinstance(chosen, TemplateFormat) and not (chosen.flagged or chosen.categories or chosen.scores):
            message = "needs at least one of flagged, categories, scores: else nothing would ever be found"
            raise ValueError(message)
        return chosen
