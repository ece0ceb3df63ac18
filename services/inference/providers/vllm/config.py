"""Configuration of `inline::vllm`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Quantization(StrEnum):
    """Precision of the weights. A checkpoint that is quantized already needs none of these."""

    BF16 = "bf16"
    FP8 = "fp8"
    INT4 = "int4"


class VllmConfig(BaseModel):
    """One model on one engine."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)

    type: Literal["inline::vllm"] = "inline::vllm"
    """Kind of the provider."""
    model: str
    """Folder of a checkpoint in Hugging Face format, or a Hugging Face id."""
    model_id: str | None = None
    """Name under which the model is listed. Default: the folder's name, or the whole Hugging Face id."""
    model_type: Literal["llm", "embedding", "reward"] = "llm"
    """What the model does. Embedding and reward models run on vLLM's pooling runner; a reward model is a sequence classifier with one
    label."""
    metadata: dict[str, str | float | bool] = Field(default_factory=dict)
    """Facts that the model's listing shows beside what the provider knows. `purpose = "guard"`: it judges, nobody talks with it."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face id."""
    trust_remote_code: bool = False
    """Runs Python code that comes with the checkpoint. Only for checkpoints that you would run as a program."""

    max_model_len: Annotated[int, Field(ge=1)] | None = None
    """Longest prompt and answer together, in tokens. Default: what the checkpoint says."""
    quantization: Quantization | None = None
    """Precision of the weights: `bf16`, `fp8` (GPUs), `int4` (int4_weight_int8_dynamic_activation, by torchao). Default: the
    checkpoint's."""
    tensor_parallel_size: Annotated[int, Field(ge=1)] = 1
    """Devices that share each layer."""
    kv_cache_memory_bytes: Annotated[int, Field(ge=1 << 20)] | None = None
    """Memory for keys and values, in bytes. Default: 256 MiB on a CPU, what vLLM finds free on a GPU."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of a GPU's memory to use."""
    enforce_eager: bool | None = None
    """Runs without compiled graphs. Default: true on a CPU, where compiling costs half a minute at start, false on a GPU."""
    engine_args: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of vLLM's `AsyncEngineArgs` by name; they win over the ones above."""

    max_running: Annotated[int, Field(ge=1)] = 256
    """Most sequences that the engine decodes at a time."""
    max_queued: Annotated[int, Field(ge=1)] = 2048
    """Most calls, running and waiting together; one more is refused with RESOURCE_EXHAUSTED."""

    enable_lora: bool = True
    """Accepts registrations of LoRA adapters on the model."""
    max_loras: Annotated[int, Field(ge=1)] = 4
    """Adapters that one engine step can mix."""
    max_adapters: Annotated[int, Field(ge=1)] = 32
    """Adapters that can be loaded at a time."""
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = 64
    """Highest rank of an adapter."""

    tool_prompt_format: Literal["json", "function_tag", "python_list"] = "json"
    """Text form of tool calls when a request names none. Only for models with Llama 3's prompt format."""
    tool_call_parser: str | None = None
    """Name of the parser in vLLM that reads tool calls of a model of another family, for instance `hermes`. Default: none is read."""
    chat_template: str | None = None
    """Jinja chat template that replaces the checkpoint's own, for models of other families."""

    max_coalescing_delay: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Longest time in seconds that a generated token waits to share a stream message with later ones, while many streams run."""
    quiet_streams: Annotated[int, Field(ge=0)] = 16
    """With at most this many streams running, nothing waits: each engine step is a message of its own."""

    image_fetch_timeout: Annotated[float, Field(gt=0)] = 10.0
    """Longest time in seconds to fetch an image by its URL."""
    max_image_bytes: Annotated[int, Field(ge=1)] = 20 << 20
    """Largest encoded image."""
    allow_private_image_urls: bool = False
    """Fetches images from loopback, link-local and private addresses too."""

    @property
    def checkpoint(self) -> str:
        """Where the weights are: the folder's absolute path, or the Hugging Face id."""
        return str(Path(self.model).resolve()) if Path(self.model).is_dir() else self.model

    @property
    def served_model_id(self) -> str:
        """Name under which the model is listed."""
        return self.model_id or (Path(self.model).resolve().name if Path(self.model).is_dir() else self.model)
