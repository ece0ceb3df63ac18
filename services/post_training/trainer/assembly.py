"""A trainer put together: the model, the rows, TRL's trainer for the kind of training, and where it goes on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers

from services.post_training.spec import Kind, TrainingSpec
from services.post_training.trainer import preference, reward, sft
from services.post_training.trainer.batches import read
from services.post_training.trainer.checkpoints import Checkpoints, read_description
from services.post_training.trainer.events import Events
from services.post_training.trainer.lineage import LineageOf
from services.post_training.trainer.models import BaseModel, give_directions, resolved_dtype
from services.post_training.trainer.preparing import Prepared, Stopped
from services.post_training.trainer.problems import CheckpointError
from services.post_training.trainer.recipe import Recipe
from services.post_training.trainer.reporting import Reporter
from services.post_training.trainer.saving import CheckpointWriter, read_progress
from services.post_training.trainer.stopping import Stop
from services.post_training.trainer.training import arguments

_MAKERS: dict[Kind, Callable[..., Any]] = {
    "supervised_fine_tune": sft.make,
    "preference_optimize": preference.make,
    "train_reward_model": reward.make,
}


@dataclass
class Assembled:
    """A training that can begin."""

    trainer: Any
    """TRL's trainer."""
    reporter: Reporter
    """Follows it."""
    writer: CheckpointWriter
    """Writes its checkpoints."""
    resume: Path | None
    """Folder of the checkpoint that it goes on from."""
    stop: Stop
    """Whether it is to stop."""

    def run(self) -> bool:
        """Trains; returns whether it came to its end.

        Raises:
            Stopped: It was stopped before the first step.
            TrainingError: It cannot go on.
        """
        if self._stopped():
            raise Stopped
        self.trainer.train(resume_from_checkpoint=str(self.resume) if self.resume is not None else None)
        if self.reporter.stopped:
            return False
        self.writer.write(self.trainer, final=True)
        return True

    def _stopped(self) -> bool:
        if self.trainer.args.world_size == 1:
            return bool(self.stop)
        said = torch.tensor(int(bool(self.stop)), device=self.trainer.args.device)
        dist.all_reduce(said)
        return bool(said.item())


def assemble(
    spec: TrainingSpec,
    recipe: Recipe,
    prepared: Prepared,
    events: Events,
    stop: Stop,
    lineage: LineageOf,
) -> Assembled:
    """Puts a trainer together.

    Args:
        spec: What the training was given.
        recipe: The training.
        prepared: Its rows.
        events: Where it says what happens.
        stop: Whether it is to stop.
        lineage: Where its checkpoints come from.

    Raises:
        TrainingError: The model or a checkpoint cannot be read, or this machine cannot do it.
    """
    transformers.utils.logging.disable_progress_bar()
    checkpoints = Checkpoints(spec.checkpoints)
    dtype = resolved_dtype(recipe.dtype)
    config = arguments(recipe, dtype, Path(spec.folder) / "libraries", spec.num_processes)
    continued = Path(spec.continue_from) if spec.continue_from else None
    base = BaseModel(recipe, Path(spec.base_model), continued)
    transformers.set_seed(config["seed"])
    model = base.load(dtype)
    reporter = Reporter(recipe, events, stop, sequences=prepared.counts.sequences, processes=spec.num_processes)
    writer = CheckpointWriter(spec, recipe, base.folder, checkpoints, events, lineage)
    takes_over = spec.parsed_request().continue_from.with_optimizer_state
    rest = {
        "reporter": reporter,
        "write": writer.write,
        "optimizer_state": continued if takes_over else None,
        "train_dataset": read(prepared.train),
        "eval_dataset": _validation(prepared, recipe, spec.num_processes),
        "processing_class": base.tokenizer(),
        "peft_config": base.adapter_config(),
    }
    trainer = _MAKERS[spec.kind](recipe, model, config, prepared.max_length, rest)
    give_directions(trainer.model)
    resume = _resumed(spec, checkpoints)
    if resume is not None:
        reporter.progress = read_progress(resume)
        events.log(logging.INFO, f"goes on from checkpoint {resume.name}")
        if spec.told_step is not None:
            reporter.say_again(spec.told_step)
    return Assembled(trainer, reporter, writer, resume, stop)


def _validation(prepared: Prepared, recipe: Recipe, processes: int) -> Any:
    if prepared.validation is None:
        return None
    rows = read(prepared.validation)
    if recipe.max_validation_batches:
        most = recipe.max_validation_batches * recipe.batch_size * processes
        return rows.select(range(min(most, rows.num_rows)))
    return rows


def _resumed(spec: TrainingSpec, checkpoints: Checkpoints) -> Path | None:
    """Returns the folder of the checkpoint to go on from: the one that is named, or the newest of the job."""
    if spec.resume_from:
        named = Path(spec.resume_from)
        checkpoint = read_description(named)
        if checkpoint is None or not checkpoint.resumable:
            raise CheckpointError(f"checkpoint {named.name} is none that a training can go on from")
        return named
    newest = checkpoints.resumable()
    return spec.checkpoints / newest.identifier if newest is not None else None
