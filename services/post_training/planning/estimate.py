"""What a training takes: rows and tokens counted, the rest calculated.

Activations after Korthikanti et al. (arXiv 2205.05198) without the square of the length, which fused attention does not keep; operations
after Kaplan et al. (arXiv 2001.08361): 2 a token and parameter forward, 2 for the gradient of what goes through it, 2 for that of itself.
"""

import math
import os
import random
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from caravan.post_training.v1 import jobs_pb2
from services.post_training.spec import RowsSource, TrainingSpec
from services.post_training.trainer.chat import ChatTokenizer
from services.post_training.trainer.encoding import EncodedDialog, EncodedPair, Encoder
from services.post_training.trainer.events import duration
from services.post_training.trainer.packing import pack
from services.post_training.trainer.preparing import longest_sequence
from services.post_training.trainer.problems import RowError
from services.post_training.trainer.recipe import Recipe
from services.post_training.trainer.weights import Weights

_LIBRARIES_BYTES = 900_000_000
_LOGITS_POSITIONS = 256
_BYTES_OF_STEP = 34
_SECONDS_TO_START = 15.0
_SECONDS_OF_STEP = 0.03
_EFFICIENCY = 0.3
_GPU_RATES = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10": 125e12,
    "V100": 112e12,
    "T4": 65e12,
}
_UNKNOWN_GPU_RATE = 60e12


@dataclass
class Counted:
    """Rows that were counted."""

    rows: int = 0
    """All rows."""
    encoded: int = 0
    """Those turned into tokens."""
    lengths: list[int] = field(default_factory=list)
    """Lengths of these, cut; of a pair, both together."""
    truncated: int = 0
    """How many of these are cut."""
    left_out: int = 0
    """How many of these leave nothing to learn."""

    @property
    def scale(self) -> float:
        """Rows for one that was turned into tokens."""
        return self.rows / max(1, self.encoded)


def estimate(
    spec: TrainingSpec, recipe: Recipe, weights: Weights, model: Path, sampled: int
) -> jobs_pb2.TrainingEstimate:
    """Checks all rows and estimates a training.

    Args:
        spec: What it would be given.
        recipe: The training.
        weights: The model that it starts from.
        model: Folder of that model.
        sampled: Most rows that are turned into tokens.

    Raises:
        RowError: A row does not fit.
        ModelError: The model's tokenizer cannot be read.
    """
    max_length = longest_sequence(recipe, weights)
    encoder = Encoder(recipe, ChatTokenizer(model, spec.date), max_length)
    counted = count(
        encoder.rows(spec.rows, _chosen(spec.rows.row_count, sampled, recipe.seed)), spec.rows.row_count, max_length
    )
    if spec.validation_rows is not None:
        _check_validation(encoder, spec.validation_rows)
    notes: list[str] = []
    rows = round((counted.encoded - counted.left_out) * counted.scale)
    if not rows:
        raise RowError(
            f"none of {counted.rows} rows leaves anything to learn within {max_length} tokens; raise max_sequence_length"
        )
    sequences = _sequences(recipe, counted, max_length, rows)
    per_epoch = recipe.steps_per_epoch(sequences, spec.num_processes)
    steps = recipe.total_steps(sequences, spec.num_processes)
    tokens = round(sum(counted.lengths) * counted.scale)
    trained = (
        tokens * steps / max(1, math.ceil(sequences / (recipe.batch_size * recipe.accumulation * spec.num_processes)))
    )
    trainable = weights.adapter_parameters(recipe.lora) if recipe.lora is not None else weights.parameters
    longest = max(counted.lengths)
    result = jobs_pb2.TrainingEstimate(
        rows=rows,
        tokens=tokens,
        steps=steps,
        trainable_parameters=trainable,
        total_parameters=weights.parameters + (trainable if recipe.lora is not None else 0),
        memory_bytes=_memory(spec, recipe, weights, trainable, max_length if recipe.packed else longest),
        disk_bytes=_disk(recipe, weights, trainable, tokens),
        duration=duration(_seconds(spec, recipe, weights, trained, steps)),
        truncated_rows=round(counted.truncated * counted.scale),
        sequences=sequences,
    )
    notes += _notes(spec, recipe, counted, steps, per_epoch, max_length)
    if spec.num_processes * result.memory_bytes > _host_memory() and not gpu():
        notes.append(
            f"memory is short: {spec.num_processes} processes need {result.memory_bytes / 1e9:.1f} GB each of {_host_memory() / 1e9:.0f} GB"
        )
    result.notes.extend(notes)
    return result


def _check_validation(encoder: Encoder, rows: RowsSource) -> None:
    try:
        if not rows.row_count:
            raise RowError("the data set has no rows")
        for _ in encoder.rows(rows, lambda number: number == 0):
            pass
    except RowError as error:
        raise RowError(error.message, set="validation") from error


def count(rows: Iterable[EncodedDialog | EncodedPair], total: int, max_length: int) -> Counted:
    """Counts rows.

    Args:
        rows: Those that are turned into tokens.
        total: Number of all rows.
        max_length: Longest sequence in tokens.
    """
    counted = Counted(rows=total)
    for row in rows:
        counted.encoded += 1
        counted.truncated += row.full_length > max_length
        if not row.learnt:
            counted.left_out += 1
        elif isinstance(row, EncodedDialog):
            counted.lengths.append(len(row.ids))
        else:
            counted.lengths.append(2 * len(row.prompt) + len(row.chosen) + len(row.rejected))
    return counted


def _chosen(total: int, sampled: int, seed: int) -> "_Chosen | None":
    return None if total <= sampled else _Chosen(frozenset(random.Random(seed).sample(range(total), sampled)))  # noqa: S311 - a sample


@dataclass(frozen=True)
class _Chosen:
    numbers: frozenset[int]

    def __call__(self, number: int) -> bool:
        return number in self.numbers


def _sequences(recipe: Recipe, counted: Counted, max_length: int, rows: int) -> int:
    if not recipe.packed:
        return rows
    packed = len(pack(counted.lengths, max_length))
    return packed if counted.encoded == counted.rows else max(1, math.ceil(packed * counted.scale))


def _memory(spec: TrainingSpec, recipe: Recipe, weights: Weights, trainable: int, longest: int) -> int:
    config = weights.text_config
    hidden, layers, vocabulary = (
        int(config.get(name) or 0) for name in ("hidden_size", "num_hidden_layers", "vocab_size")
    )
    wide = recipe.dtype == "fp32" or (recipe.dtype == "auto" and not gpu())
    size = 4 if wide else 2
    frozen = recipe.lora is not None
    linear = sum(out * inside for path, (out, inside) in weights.linear.items() if not path.endswith("lm_head"))
    four_bits = linear * 0.56 + (weights.parameters - linear) * size
    held = four_bits if recipe.quantized else weights.parameters * (size if frozen else 4)
    if recipe.kind == "preference_optimize" and not frozen:
        held += weights.parameters * 4
    moments = 0 if recipe.optimization.name == "sgd" else 8
    changed = trainable * (4 + moments + (4 if frozen else 0))
    # Of a pair, both ends go through the model at once.
    tokens = recipe.batch_size * longest
    kept = 2 if recipe.activation_checkpointing else _BYTES_OF_STEP
    activations = (
        tokens * hidden * (layers * kept + (_BYTES_OF_STEP if recipe.activation_checkpointing else 0)) * size / 2
    )
    if recipe.packed:
        activations += recipe.batch_size * longest * longest * size
    logits = min(tokens, _LOGITS_POSITIONS) * vocabulary * 4 * 3
    shared = spec.num_processes if recipe.fsdp else 1
    return round(_LIBRARIES_BYTES + (held + changed) / shared + activations + logits)


def _disk(recipe: Recipe, weights: Weights, trainable: int, tokens: int) -> int:
    moments = 0 if recipe.optimization.name == "sgd" else 8
    one = trainable * (4 + moments) + 1_000_000
    final = one if recipe.lora is not None else weights.size_bytes
    return round(one * (recipe.checkpoints_kept + 1) + final + tokens * 8)


def _seconds(spec: TrainingSpec, recipe: Recipe, weights: Weights, tokens: float, steps: int) -> float:
    of_token = 4 if recipe.lora is not None else 6
    if recipe.kind == "preference_optimize":
        of_token += 2
    if recipe.activation_checkpointing:
        of_token += 2
    operations = of_token * weights.parameters * tokens
    # Processes on one machine without GPUs share its processors.
    at_once = spec.num_processes if gpu() else 1
    return _SECONDS_TO_START + operations / (rate() * at_once) + steps * recipe.accumulation * _SECONDS_OF_STEP


def _notes(
    spec: TrainingSpec, recipe: Recipe, counted: Counted, steps: int, per_epoch: int, max_length: int
) -> list[str]:
    notes = []
    device = gpu()
    notes.append(
        f"time is estimated for {device}"
        if device
        else "time is estimated for this machine's processors, measured when idle or not"
    )
    if counted.encoded < counted.rows:
        notes.append(f"tokens are estimated from {counted.encoded} of {counted.rows} rows; all rows were checked")
    if counted.truncated:
        share = 100 * counted.truncated / counted.encoded
        notes.append(f"{share:.0f} % of the rows are longer than {max_length} tokens and are cut at their end")
    if counted.left_out:
        notes.append(
            f"{round(counted.left_out * counted.scale)} rows leave nothing to learn once they are cut, and are left out"
        )
    warmup = recipe.optimization.warmup_steps
    if warmup >= steps:
        notes.append(f"the warm-up takes {warmup} steps, the training {steps}: lr is never reached")
    if recipe.max_steps and recipe.max_steps < per_epoch:
        notes.append(f"n_iters ends the training within the first epoch of {per_epoch} steps")
    if recipe.activation_offloading and not device:
        notes.append("activations are in the host's memory as it is: there is no GPU")
    if recipe.quantized and not device:
        notes.append("without a GPU a base model in 4 bits saves memory, but is slower")
    limit = spec.parsed_request().executor.max_memory_bytes
    if limit:
        notes.append(f"one process may use {limit / 1e9:.1f} GB")
    return notes


@cache
def rate() -> float:
    """Returns the floating-point operations a second that a training may hope for here."""
    device = gpu()
    if device:
        return _EFFICIENCY * next((rate for name, rate in _GPU_RATES.items() if name in device), _UNKNOWN_GPU_RATE)
    import numpy as np

    size = 384
    matrix = np.ones((size, size), dtype=np.float32)
    matrix @ matrix
    began = time.perf_counter()
    for _ in range(4):
        matrix @ matrix
    return _EFFICIENCY * 4 * 2 * size**3 / (time.perf_counter() - began)


@cache
def gpu() -> str:
    """Returns the name of the first GPU. Empty: there is none."""
    if not Path("/dev/nvidia0").exists():
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - a fixed command
    except (OSError, subprocess.SubprocessError):
        return "a GPU"
    return answer.stdout.splitlines()[0].strip() if answer.stdout.strip() else "a GPU"


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
