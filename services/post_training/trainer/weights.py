"""What a model's folder says about its weights, read from the files' heads: shapes, not values."""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from services.post_training.trainer.problems import ModelError
from services.post_training.trainer.recipe import OUTPUT_MODULE, Lora

_LONGEST_HEAD = 100_000_000
_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "BOOL": 1,
}
_FEED_FORWARD = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "experts")
_PARTS = 1 << 20


@dataclass(frozen=True)
class Weights:
    """A model's configuration and the shapes of its weights."""

    config: Mapping[str, Any]
    """Its `config.json`."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shapes of the weights by name."""
    size_bytes: int
    """Size of all weights."""

    @classmethod
    def read(cls, folder: Path) -> "Weights":
        """Reads a model's folder.

        Args:
            folder: The folder.

        Raises:
            ModelError: It is no model in the Transformers format with weights in safetensors files.
        """
        config = read_json(folder / "config.json")
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelError("the model has no weights in safetensors files")
        shapes: dict[str, tuple[int, ...]] = {}
        size = 0
        for file in files:
            for name, entry in _head(file).items():
                if name != "__metadata__":
                    shape = tuple(entry["shape"])
                    shapes[name] = shape
                    size += math.prod(shape) * _BYTES.get(entry["dtype"], 4)
        missing = set(read_json(folder / "model.safetensors.index.json", default={}).get("weight_map", {})) - set(
            shapes
        )
        if missing:
            raise ModelError(f"the model's files lack {len(missing)} weights, for instance {min(missing)}")
        return cls(config, shapes, size)

    @property
    def architecture(self) -> str:
        """Name of the model's class, for instance `LlamaForCausalLM`."""
        return str((self.config.get("architectures") or [""])[0])

    @property
    def text_config(self) -> Mapping[str, Any]:
        """The part of the configuration that is about text."""
        nested = self.config.get("text_config")
        return nested if isinstance(nested, dict) else self.config

    @property
    def context(self) -> int | None:
        """Longest sequence in tokens. None: not told."""
        length = self.text_config.get("max_position_embeddings")
        return int(length) if isinstance(length, int) else None

    @property
    def tied(self) -> bool:
        """Whether the output layer is the embeddings, turned round."""
        return bool(self.config.get("tie_word_embeddings", self.text_config.get("tie_word_embeddings", False)))

    @cached_property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @cached_property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Shapes (out, in) of the linear layers by path."""
        found = {
            name.removesuffix(".weight"): (shape[0], shape[1])
            for name, shape in self.shapes.items()
            if name.endswith(".weight") and len(shape) == 2 and "embed" not in name and ".wte" not in name
        }
        if self.tied and not any(path.split(".")[-1] == OUTPUT_MODULE for path in found):
            vocabulary, hidden = self.text_config.get("vocab_size"), self.text_config.get("hidden_size")
            if vocabulary and hidden:
                found[OUTPUT_MODULE] = (vocabulary, hidden)
        return found

    @cached_property
    def module_names(self) -> frozenset[str]:
        """Last parts of the linear layers' paths."""
        return frozenset(path.split(".")[-1] for path in self.linear)

    @cached_property
    def feed_forward_names(self) -> frozenset[str]:
        """Last parts of the paths of the feed-forward layers."""
        return frozenset(
            path.split(".")[-1] for path in self.linear if any(part in _FEED_FORWARD for part in path.split(".")[:-1])
        )

    def adapted(self, lora: Lora) -> dict[str, tuple[int, int]]:
        """Returns the layers that an adapter has, with their shapes.

        Args:
            lora: The adapter.
        """
        names = set(target_modules(self, lora))
        return {path: shape for path, shape in self.linear.items() if path.split(".")[-1] in names}

    def adapter_parameters(self, lora: Lora) -> int:
        """Returns the number of an adapter's parameters.

        Args:
            lora: The adapter.
        """
        return sum(
            lora.rank * (out + inside) + (out if lora.dora else 0) for out, inside in self.adapted(lora).values()
        )


def target_modules(weights: Weights, lora: Lora) -> list[str]:
    """Returns the names of the layers that an adapter has, as PEFT takes them.

    Args:
        weights: The model's weights.
        lora: The adapter.
    """
    names = set(lora.attention)
    if lora.mlp:
        names |= weights.feed_forward_names
    if lora.output:
        names.add(OUTPUT_MODULE)
    return sorted(names)


def digest(folder: Path) -> str:
    """Returns the SHA-256 over a model's files: over their names and digests.

    Args:
        folder: The model's folder.
    """
    whole = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        whole.update(f"{file.name} {file_digest(file)}\n".encode())
    return whole.hexdigest()


def file_digest(file: Path) -> str:
    """Returns a file's SHA-256.

    Args:
        file: The file.
    """
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(_PARTS):
            found.update(part)
    return found.hexdigest()


def read_json(file: Path, default: Any = None) -> Any:
    """Returns the object in a model's JSON file.

    Args:
        file: The file.
        default: What is returned when there is no such file. None: that is an error.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if default is not None:
            return default
        raise ModelError(f"the model has no {file.name}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file.name} of the model cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{file.name} of the model is no JSON object")
    return values


def _head(file: Path) -> dict[str, Any]:
    """Returns the head of a safetensors file, which is 8 bytes of length and a JSON object."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LONGEST_HEAD:
                raise ValueError("the head is too long")
            head: dict[str, Any] = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(f"{file.name} of the model cannot be read: {error}") from error
    if file.stat().st_size < 8 + length + max(ends, default=0):
        raise ModelError(f"{file.name} of the model is cut off")
    return head
