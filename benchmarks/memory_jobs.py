"""What the processes of the memory benchmarks are told to measure."""

import json
from dataclasses import asdict, dataclass

LINKS = 32
CONSTRUCTION_WIDTH = 64
CHUNK_SIZE = 128


class Job:
    """What to measure."""

    def to_json(self) -> str:
        """Writes the job."""
        return json.dumps(asdict(self))  # type: ignore[call-overload] # every job is a dataclass


@dataclass(frozen=True)
class MemoryJob(Job):
    """The embedded store beside the bare library."""

    size: int
    """Number of chunks."""
    data: str
    """`clustered` or `random`."""
    queries: int
    """Queries of each kind."""
    beside: bool = True
    """Measure the bare library too; without it the process's memory is the store's alone."""


@dataclass(frozen=True)
class PostgresJob(Job):
    """The PostgreSQL store beside bare pgvector."""

    size: int
    """Number of chunks."""
    data: str
    """`clustered` or `random`."""
    queries: int
    """Queries of each kind."""


@dataclass(frozen=True)
class IngestionJob(Job):
    """Bulk insertion beside the embedding model."""

    turns: int
    """Turns of each."""
    documents: int
    """Documents of a turn."""
