"""What a checkpoint holds, and how it is made of a trainer."""

import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from peft import PeftModel
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.tensor import DTensor

from caravan.post_training.v1 import checkpoints_pb2
from services.post_training.serving.dora import ConversionError, plain_adapter
from services.post_training.spec import TrainingSpec
from services.post_training.trainer.checkpoints import FINAL, Checkpoints
from services.post_training.trainer.events import Events
from services.post_training.trainer.lineage import LineageOf
from services.post_training.trainer.models import copy_tokenizer
from services.post_training.trainer.problems import CheckpointError
from services.post_training.trainer.recipe import Recipe
from services.post_training.trainer.reporting import Progress
from services.post_training.trainer.training import JobTrainer
from services.post_training.trainer.weights import read_json

PROGRESS_FILE = "progress.json"
STATE_FILE = "trainer_state.json"
SERVING_FOLDER = "serving"
"""Folder in a result with the plain adapter that inference serves in place of a DoRA adapter."""

_MAX_SERVED_RANK = 64
_ADAPTER = "default"
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


class CheckpointWriter:
    """Writes the checkpoints of a training. All processes take part; the first one commits."""

    def __init__(
        self,
        spec: TrainingSpec,
        recipe: Recipe,
        base: Path,
        checkpoints: Checkpoints,
        events: Events,
        lineage: LineageOf,
    ) -> None:
        """Makes a writer.

        Args:
            spec: What the training was given.
            recipe: The training.
            base: Folder that the model was read from.
            checkpoints: Where checkpoints are.
            events: Where it says that there is another.
            lineage: Where they come from.
        """
        self._recipe = recipe
        self._base = base
        self._checkpoints = checkpoints
        self._events = events
        self._lineage = lineage
        self._job_uuid = spec.job_uuid
        self._serves = spec.parsed_request().HasField("auto_register")

    def write(self, trainer: Any, *, final: bool = False) -> None:
        """Writes a checkpoint.

        Args:
            trainer: The trainer.
            final: It is the training's result.
        """
        step = trainer.state.global_step
        identifier = FINAL if final else f"step-{step:06d}"
        folder = self._checkpoints.begin(identifier)
        try:
            self._write(trainer, folder, identifier, final)
        except BaseException:
            self._checkpoints.abandon(folder)
            raise

    def _write(self, trainer: Any, folder: Path, identifier: str, final: bool) -> None:
        resumable = self._write_weights(trainer, folder, final)
        progress = trainer.progress()
        if resumable:
            trainer._save_optimizer_and_scheduler(str(folder))  # noqa: SLF001 - Transformers has no other name for it
            trainer._save_scaler(str(folder))  # noqa: SLF001
            trainer._save_rng_state(str(folder))  # noqa: SLF001
        first = trainer.is_world_process_zero()
        if first:
            trainer.state.save_to_json(str(folder / STATE_FILE))
            (folder / PROGRESS_FILE).write_text(json.dumps(dataclasses.asdict(progress)), encoding="utf-8")
            copy_tokenizer(self._base, folder)
            if final and self._serves and self._recipe.lora is not None and self._recipe.lora.dora:
                self._convert(folder)
        _wait()
        if first:
            described = self._described(trainer, progress, identifier, final, resumable)
            self._events.checkpoint(self._checkpoints.commit(folder, described))
        _wait()

    def _convert(self, folder: Path) -> None:
        """Writes the plain adapter that inference serves: here torch is loaded, which takes the service ten seconds."""
        try:
            plain_adapter(folder, self._base, folder / SERVING_FOLDER, _MAX_SERVED_RANK)
        except ConversionError as error:
            # The result is what was asked for all the same; whoever puts it into service says that it cannot be.
            self._events.log(logging.WARNING, f"no plain adapter could be made of the DoRA adapter: {error}")

    def _write_weights(self, trainer: Any, folder: Path, final: bool) -> bool:
        """Writes the model or the adapter; returns whether a training can go on from it."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        state = _gathered(trainer.model) if trainer.is_fsdp_enabled else None
        if isinstance(model, PeftModel):
            if trainer.is_world_process_zero():
                model.peft_config[_ADAPTER].base_model_name_or_path = self._recipe.model
                model.save_pretrained(
                    str(folder), selected_adapters=[_ADAPTER], save_embedding_layers=False, state_dict=state
                )
                (folder / "README.md").unlink(missing_ok=True)
            return True
        kind = read_json(self._base / "config.json").get("dtype") or "float32"
        # What serves is as large as the base model; what a training goes on from has every digit.
        reduced = final and kind in ("bfloat16", "float16")
        if trainer.is_world_process_zero():
            if reduced:
                state = {name: _reduced(value, kind) for name, value in (state or model.state_dict()).items()}
            model.save_pretrained(str(folder), state_dict=state)
            self._restore_config(folder, kind if reduced else "float32")
        return not reduced

    def _restore_config(self, folder: Path, kind: str) -> None:
        """Gives a written model the base model's own special tokens: TRL sets the tokenizer's, which may be fewer."""
        config, original = read_json(folder / "config.json"), read_json(self._base / "config.json")
        for name in _TOKEN_IDS:
            if name in original:
                config[name] = original[name]
        config["dtype"] = kind
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")

    def _described(
        self, trainer: JobTrainer, progress: Progress, identifier: str, final: bool, resumable: bool
    ) -> checkpoints_pb2.Checkpoint:
        metrics = {name: value for name, value in progress.metrics.items() if math.isfinite(value)}
        adapter = self._recipe.lora is not None
        checkpoint = checkpoints_pb2.Checkpoint(
            identifier=identifier,
            epoch=int(trainer.state.epoch or 0),
            iters=trainer.state.global_step,
            training_metrics=checkpoints_pb2.PostTrainingMetric(
                epoch=int(trainer.state.epoch or 0),
                train_loss=progress.loss or 0.0,
                validation_loss=progress.validation_loss or 0.0,
                perplexity=metrics.get("perplexity", 0.0),
            ),
            post_training_job_id=self._job_uuid,
            metrics=metrics,
            format=checkpoints_pb2.CHECKPOINT_FORMAT_PEFT_ADAPTER
            if adapter
            else checkpoints_pb2.CHECKPOINT_FORMAT_FULL,
            lineage=self._lineage.get(),
            resumable=resumable,
            is_final=final,
        )
        checkpoint.created_at.GetCurrentTime()
        return checkpoint


def read_progress(folder: Path) -> Progress:
    """Returns how far a training had come at a checkpoint.

    Args:
        folder: The checkpoint's folder.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        return Progress(**json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"the checkpoint cannot be read: {error}") from error


def _gathered(model: Any) -> dict[str, torch.Tensor]:
    """Returns the weights of a sharded model, whole; all processes take part."""
    state = {}
    for name, value in model.state_dict().items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if isinstance(whole, AsyncCollectiveTensor):
            whole = whole.wait()
        state[name] = whole.detach().cpu()
    return state


def _reduced(value: torch.Tensor, kind: str) -> torch.Tensor:
    return value.to(getattr(torch, kind)) if value.is_floating_point() else value


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()
