"""Configuration of `remote::pgvector`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class PostgresConfig(BaseModel):
    """One database that all replicas of the service share."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    type: Literal["remote::pgvector"] = "remote::pgvector"
    """Kind of the provider."""
    dsn: SecretStr
    """Address of the database, `postgresql://user:password@host:port/database`, with `sslmode` and `sslrootcert` as PostgreSQL's own
    clients know them. All of it is kept secret."""
    schema_name: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = "caravan_memory"
    """Schema that holds the tables; made when it is missing. Providers that do not share banks need one each."""
    max_connections: Annotated[int, Field(ge=2, le=1000)] = 16
    """Most connections of this replica, which is most statements that run at a time."""
    connect_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Longest time in seconds to connect."""
    acquire_timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Longest time in seconds to wait for a free connection; then the call is refused with RESOURCE_EXHAUSTED."""
    statement_timeout: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    """Longest time in seconds that a call may keep the database busy, also without a deadline of its own."""
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 6
    """Most times that a transaction is tried that loses to another one (deadlock, serialization failure)."""
    search_width: Annotated[int, Field(ge=1, le=1000)] = 80
    """Width of the approximate search where a query names none (`hnsw.ef_search`)."""

    @field_validator("dsn")
    @classmethod
    def _is_an_address(cls, dsn: SecretStr) -> SecretStr:
        if not dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
            message = "must start with postgresql://"
            raise ValueError(message)
        return dsn
