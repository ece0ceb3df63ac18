"""Configuration of `remote::openai`."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator

DialectName: TypeAlias = Literal["openai", "nvidia", "tgi", "ollama", "vllm"]


class RemoteModel(BaseModel):
    """A model that may be requested."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    model_id: Annotated[str, Field(min_length=1, max_length=512)]
    """Name that requests use."""
    provider_model_id: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Name that the server uses. Default: `model_id`."""
    model_type: Literal["llm", "embedding"] = "llm"
    """What the model does."""
    context_length: Annotated[int, Field(ge=1)] | None = None
    """Longest prompt and answer together, in tokens. Default: what the server says."""

    @property
    def remote_name(self) -> str:
        """Name that the server uses."""
        return self.provider_model_id or self.model_id


class RemoteOpenAIConfig(BaseModel):
    """One server with an API like OpenAI's."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    type: Literal["remote::openai"] = "remote::openai"
    """Kind of the provider."""
    base_url: HttpUrl
    """Address of the server's API with its version, for instance `https://api.openai.com/v1`."""
    dialect: DialectName = "openai"
    """What the server is: servers differ in where parameters go and in what they take."""
    api_key: SecretStr | None = None
    """Key of the server's API. Default: none is sent."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Headers to send with every request, for instance those of an API gateway."""
    allow_request_credentials: bool = False
    """Lets a call bring its own key: `api_key` in the JSON object of its `caravan-provider-data` metadata."""

    models: list[RemoteModel] | None = None
    """The models that may be requested. Default: every model that the server lists."""
    embedding_models: list[str] = Field(default=["*embed*"])
    """Shell patterns of the names of embedding models, for those that the server lists and `models` does not: lists tell no types."""
    refresh_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 30.0
    """Time between two questions for the server's models."""

    default_max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Most tokens to generate where a request gives no limit. Default: as many as the context holds; text completions of servers that would
    stop at 16 tokens are refused without a limit."""
    default_sampling: Literal["greedy", "server"] = "greedy"
    """Strategy where a request gives none: greedy, or what the server does by itself (OpenAI's reasoning models do nothing else)."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Fields to add to every generation, for instance `{"service_tier": "flex"}`."""
    embeddings_extra_body: dict[str, Any] = Field(default_factory=dict)
    """Fields to add to every embeddings request, for instance `{"input_type": "passage"}`."""

    connect_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Longest time in seconds to connect."""
    read_timeout: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Longest silence of the server in seconds; a server is silent while it computes an unary answer."""
    pool_timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Longest time in seconds to wait for a free connection; then the call is refused with RESOURCE_EXHAUSTED."""
    max_connections: Annotated[int, Field(ge=1, le=65_535)] = 256
    """Most connections to the server at a time, which is most calls that run."""
    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Most repetitions of a request that produced nothing: no connection, status 429 or 503."""
    max_retry_delay: Annotated[float, Field(ge=0, le=60)] = 2.0
    """Longest wait in seconds before a repetition. A server that wants more is not asked again; the caller learns how long to wait."""
    ca_file: Path | None = None
    """Authorities of the server's certificate, PEM. Default: the system's."""
    use_environment_proxy: bool = True
    """Goes through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name."""

    @field_validator("base_url")
    @classmethod
    def _has_no_credentials(cls, url: HttpUrl) -> HttpUrl:
        if url.username or url.password:
            message = "must not hold a user or a password: put the key into api_key"
            raise ValueError(message)
        if url.query or url.fragment:
            message = "must end with the path, without a query or a fragment"
            raise ValueError(message)
        return url

    @field_validator("ca_file")
    @classmethod
    def _exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            message = f"no such file: {path}"
            raise ValueError(message)
        return path

    @field_validator("models")
    @classmethod
    def _names_are_unique(cls, models: list[RemoteModel] | None) -> list[RemoteModel] | None:
        names = [model.model_id for model in models or ()]
        if len(names) != len(set(names)):
            message = "each model_id must come once"
            raise ValueError(message)
        return models
