"""One classifier in memory. Everything here blocks: it belongs in a thread. torch is imported when the first model is loaded."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.core.errors import CaravanError, FailedPreconditionError, NotFoundError
from services.safety.providers.prompt_guard.config import PromptGuardConfig

_BENIGN = frozenset(("benign", "safe", "label_0"))
_LONGEST_WINDOW = 512
# A window by itself may have some more tokens than in its text.
_SPARE = 4


@dataclass(frozen=True, slots=True)
class Span:
    """A window of a text."""

    start: int
    """Its first code point."""
    end: int
    """The code point after its last one."""


class Classifier:
    """A loaded model. `windows` may run in several threads at once, `classify` in one."""

    def __init__(self, model: Any, tokenizer: Any, source: str) -> None:
        """Wraps a model.

        Args:
            model: A sequence classification model of transformers.
            tokenizer: Its tokenizer, a fast one.
            source: Where it comes from, for errors.
        """
        self._model = model
        self._tokenizer = tokenizer
        self.labels: list[str] = [str(label) for _, label in sorted(model.config.id2label.items())]
        """What it tells apart."""
        benign = [place for place, label in enumerate(self.labels) if label.lower() in _BENIGN]
        if len(benign) != 1 or len(self.labels) < 2:
            message = f"model {source!r} has the labels {', '.join(self.labels)}: one of them must be BENIGN (or SAFE, or LABEL_0)"
            raise FailedPreconditionError(message, reason="MODEL_UNUSABLE")
        self.unsafe_labels = [label for place, label in enumerate(self.labels) if place != benign[0]]
        """All but the benign one."""
        # A copy for other threads, whose settings never change.
        self._cutter: Any = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        self._cutter.no_truncation()
        self._cutter.no_padding()
        told = getattr(model.config, "max_position_embeddings", None)
        limits = [limit for limit in (told, tokenizer.model_max_length) if isinstance(limit, int) and limit > 8]
        self._longest = min(_LONGEST_WINDOW, *limits)
        self._window = self._longest - tokenizer.num_special_tokens_to_add() - _SPARE

    def windows(self, text: str) -> list[Span]:
        """Cuts a text into windows that the model can read; each overlaps the one before by a quarter.

        Args:
            text: The text.
        """
        offsets: Sequence[tuple[int, int]] = self._cutter.encode(text, add_special_tokens=False).offsets
        if len(offsets) <= self._window:
            return [Span(0, len(text))] if text.strip() else []
        step = self._window - self._window // 4
        spans: list[Span] = []
        for first in range(0, len(offsets), step):
            last = min(first + self._window, len(offsets)) - 1
            # What the tokenizer drops at either end belongs to the outer windows.
            start = offsets[first][0] if first else 0
            spans.append(Span(start, offsets[last][1] if last + 1 < len(offsets) else len(text)))
            if last + 1 == len(offsets):
                break
        return spans

    def classify(self, texts: Sequence[str]) -> list[list[float]]:
        """Returns the probability of each label for each text, all in one batch.

        Args:
            texts: Windows of texts.
        """
        import torch

        encoded = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        ).to(self._model.device)
        with torch.inference_mode():
            logits = self._model(**encoded).logits.float()
        probabilities: list[list[float]] = torch.softmax(logits, dim=-1).tolist()
        return probabilities


def prepare(config: PromptGuardConfig) -> None:
    """Sets what libraries read once, when they are first imported."""
    # On a busy machine threads that spin while they wait cost more than they win.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if config.threads is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(config.threads))
    if not config.allow_download:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def load(source: str, config: PromptGuardConfig) -> Classifier:
    """Loads a model.

    Args:
        source: Folder of the model, or a Hugging Face id.
        config: How to load it.

    Raises:
        NotFoundError: There is no such model on this machine.
        FailedPreconditionError: It cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    is_path = source.startswith(("/", ".", "~", "models/"))
    where = str(Path(source).expanduser()) if is_path else source
    if is_path and not Path(where).is_dir():
        raise NotFoundError(f"there is no folder {source!r}", resource_type="model", resource_name=source)
    try:
        local = not config.allow_download
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=local, use_fast=True)
        model = AutoModelForSequenceClassification.from_pretrained(where, local_files_only=local, use_safetensors=True)
        device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return Classifier(model.to(device).eval(), tokenizer, source)
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
        raise _refusal(source, config, error) from error


def _refusal(source: str, config: PromptGuardConfig, error: Exception) -> CaravanError:
    if isinstance(error, OSError) and not Path(source).expanduser().exists():
        hint = "" if config.allow_download else "; download it first, or have the operator set allow_download"
        message = f"model {source!r} is not on this machine{hint}"
        return NotFoundError(message, resource_type="model", resource_name=source)
    summary = (str(error).strip() or type(error).__name__).splitlines()[0]
    return FailedPreconditionError(f"model {source!r} cannot be loaded: {summary}", reason="MODEL_UNUSABLE")
