"""Settings of the store."""

from typing import Literal

from pydantic import Field

from services.core.redis.connection import ConnectionSettings

DAY_SECONDS = 24 * 3600.0


class StoreSettings(ConnectionSettings):
    """Where the agents service keeps its state, and what it promises to keep."""

    cluster: bool = Field(
        default=False,
        description="The URL names nodes of a Redis Cluster: one, or a host name that resolves to several.",
    )
    key_prefix: str = Field(
        default="caravan:agents", pattern=r"^[A-Za-z0-9:._-]{1,64}$", description="What all keys begin with."
    )
    connections: int = Field(default=32, ge=1, le=1024, description="Most connections to each node, for commands.")
    timeout_seconds: float = Field(default=2.0, gt=0, le=60, description="Seconds that a command may take.")
    durability: Literal["none", "wait", "aof"] = Field(
        default="none",
        description=(
            "What a write waits for before it counts. none: the server's memory, and its disk as the server is configured; wait: as many "
            "replicas as `durability_replicas` says; aof: the disk of the server (Redis 7.2, Valkey 7.2) and of as many replicas."
        ),
    )
    durability_replicas: int = Field(default=0, ge=0, le=16, description="Replicas that must have a write.")
    durability_timeout_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Seconds to wait for that, before the write is tried again."
    )
    lease_seconds: float = Field(
        default=15.0,
        ge=0.2,
        le=600,
        description="Seconds after which another process takes over the turns of one that died.",
    )
    max_events: int = Field(
        default=10_000, ge=100, le=1_000_000, description="Events of a turn that are kept, about; the oldest go first."
    )
    events_seconds: float = Field(
        default=DAY_SECONDS, ge=1, description="Seconds that a turn's events are kept after its end."
    )
    scratch_seconds: float = Field(
        default=60.0,
        ge=1,
        description="Seconds that a turn which is not kept, and a stateless one, can be read after its end.",
    )
    max_write_bytes: int = Field(
        default=32 << 20, ge=1 << 16, le=1 << 29, description="Most bytes of one write, such as a turn's documents."
    )
    max_result_bytes: int = Field(
        default=1 << 20,
        ge=1 << 10,
        le=1 << 26,
        description="Largest result of an InvokeTool with a request_id that is kept for a repeated call, for 24 hours.",
    )
    poll_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Seconds between two looks at what is watched, in case that news were lost.",
    )
