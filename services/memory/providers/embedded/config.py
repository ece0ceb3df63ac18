"""Configuration of `inline::embedded`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class EmbeddedConfig(BaseModel):
    """Banks in a folder that this process alone uses."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Literal["inline::embedded"] = "inline::embedded"
    """Kind of the provider."""
    folder: Path
    """Folder that holds the banks; made when it is missing. On a local disk: network file systems do not keep SQLite's promises."""
    durability: Literal["process", "power"] = "process"
    """What the acknowledged survives: the loss of this process, or a loss of power too, for which every write waits for the disk."""
    search_threads: Annotated[int, Field(ge=1, le=256)] = 4
    """Most reads that run at a time."""
    write_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Most banks that are written at a time. Writes of one bank run one after the other."""
    index_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads that put the vectors of one write into the graph."""
    max_open_databases: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Databases whose files stay open; those not used for longest are closed and opened again when they are needed."""
    hnsw_links: Annotated[int, Field(ge=4, le=128)] = 32
    """Links of a vector in the graph (M)."""
    hnsw_construction_width: Annotated[int, Field(ge=8, le=2000)] = 64
    """Width of the search for a new vector's neighbours (efConstruction)."""
