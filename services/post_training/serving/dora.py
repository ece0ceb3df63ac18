"""A DoRA adapter as a plain LoRA adapter, which every engine serves. Imports torch: not for the service's own process.

DoRA (Liu et al. 2024, arXiv:2402.09353) gives each row of a weight W' a magnitude m of its own beside a low-rank change of its direction:

    W' = diag(s) (W + c B A),   s = m / ||W + c B A||  (norms by row),   c the adapter's scale

so the change is W' - W = diag(s - 1) W + diag(s) c B A. The first term has the rank of W; the plain adapter is the best approximation of
the sum of a given rank in the sense of least squares, by singular value decomposition (Eckart and Young 1936). It is exact where the rank
reaches the weight's smaller dimension.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
CONVERSION = "conversion.json"
"""File beside the adapter: `relative_error`, the Frobenius norm of what is left out over that of the whole change."""

_PREFIX = "base_model.model."
_OUTPUT, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
# Beyond this a whole decomposition takes seconds a layer; a randomized one (Halko et al. 2011) is as good after some rounds.
_LARGE = 1024
_OVERSAMPLING, _ROUNDS = 32, 8


class ConversionError(Exception):
    """The adapter cannot be converted; the message says why."""


@dataclass(frozen=True)
class Change:
    """The change of one weight."""

    module: str
    """Name of the module, as the adapter has it."""
    delta: torch.Tensor
    """W' - W."""


def plain_adapter(adapter: Path, base: Path, out: Path, max_rank: int) -> float:
    """Writes the plain LoRA adapter that comes closest to a DoRA adapter.

    Args:
        adapter: Folder of the DoRA adapter, in PEFT's format.
        base: Folder of the base model.
        out: Folder to write; it must not exist.
        max_rank: Highest rank that the plain adapter may have.

    Returns:
        The relative error: 0 where it is exact.

    Raises:
        ConversionError: It is no DoRA adapter of that base model.
    """
    config = _read_config(adapter)
    rank, left_out, whole = 1, 0.0, 0.0
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for change in _changes(adapter, base, config):
        up, down = factorize(change.delta, max_rank)
        left_out += float((change.delta - up @ down).square().sum())
        whole += float(change.delta.square().sum())
        factors[change.module] = up, down
        rank = max(rank, down.shape[0])
    tensors = {}
    for module, (up, down) in factors.items():
        tensors[f"{module}.lora_A.weight"] = _padded(down, rank, 0)
        tensors[f"{module}.lora_B.weight"] = _padded(up, rank, 1)
    error = math.sqrt(left_out / whole) if whole else 0.0
    _write(out, config | {"use_dora": False, "use_rslora": False, "r": rank, "lora_alpha": rank}, tensors, error)
    return error


def factorize(delta: torch.Tensor, max_rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns `up` and `down` with up @ down as close to a matrix as the rank allows.

    Args:
        delta: The matrix, rows by columns.
        max_rank: Highest rank.
    """
    rows, columns = delta.shape
    rank = min(max_rank, rows, columns)
    if rank == rows:
        return torch.eye(rows), delta
    if rank == columns:
        return delta, torch.eye(columns)
    if min(rows, columns) <= _LARGE:
        left, values, right = torch.linalg.svd(delta, full_matrices=False)
    else:
        torch.manual_seed(0)
        size = min(rank + _OVERSAMPLING, rows, columns)
        left, values, transposed = torch.svd_lowrank(delta, q=size, niter=_ROUNDS)
        right = transposed.T
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def _changes(adapter: Path, base: Path, config: Mapping[str, Any]) -> Iterator[Change]:
    tensors = load_file(adapter / ADAPTER_WEIGHTS)
    rank = int(config["r"])
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    modules = sorted(name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight"))
    with ExitStack() as opened:
        weights = _Weights(base, opened)
        for module in modules:
            down, up = (tensors[f"{module}.lora_{side}.weight"].float() for side in "AB")
            magnitude = tensors.get(f"{module}.lora_magnitude_vector")
            if magnitude is None:
                raise ConversionError(f"{module} has no magnitudes")
            weight = weights.read(f"{module.removeprefix(_PREFIX)}.weight").float()
            if weight.shape != (up.shape[0], down.shape[1]) or magnitude.numel() != weight.shape[0]:
                raise ConversionError(f"{module} does not fit the base model, whose weight is {tuple(weight.shape)}")
            moved = weight + scale * (up @ down)
            norms = torch.linalg.norm(moved, dim=1)
            # A row without a direction stays zero, whatever its magnitude.
            stretch = torch.where(norms > 0, magnitude.float().flatten() / norms, 0.0)
            yield Change(module, stretch[:, None] * moved - weight)


class _Weights:
    """The weights of a checkpoint, read one by one."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        files = sorted(folder.glob("*.safetensors"))
        self._folder = folder
        self._where = {}
        for path in files:
            file = opened.enter_context(safe_open(path, framework="pt"))
            self._where.update(dict.fromkeys(file.keys(), file))

    def read(self, name: str) -> torch.Tensor:
        """Returns a weight; the output layer's is the embeddings' where the two are one."""
        file = self._where.get(name)
        if file is None and name == _OUTPUT:
            name = _EMBEDDING
            file = self._where.get(name)
        if file is None:
            raise ConversionError(f"the base model in {self._folder} has no weight {name}")
        tensor: torch.Tensor = file.get_tensor(name)
        return tensor


def _read_config(adapter: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((adapter / ADAPTER_CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise ConversionError(f"no readable {ADAPTER_CONFIG} in {adapter}") from error
    if not config.get("use_dora"):
        raise ConversionError(f"{adapter} is no DoRA adapter")
    if config.get("rank_pattern") or config.get("alpha_pattern") or config.get("fan_in_fan_out"):
        raise ConversionError("adapters with rank_pattern, alpha_pattern or fan_in_fan_out are not converted")
    return config


def _padded(matrix: torch.Tensor, rank: int, dimension: int) -> torch.Tensor:
    missing = rank - matrix.shape[dimension]
    widths = (0, 0, 0, missing) if dimension == 0 else (0, missing, 0, 0)
    return torch.nn.functional.pad(matrix, widths).contiguous()


def _write(out: Path, config: Mapping[str, Any], tensors: dict[str, torch.Tensor], error: float) -> None:
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(tensors, part / ADAPTER_WEIGHTS)
    (part / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2))
    (part / CONVERSION).write_text(json.dumps({"relative_error": error}))
    part.rename(out)
