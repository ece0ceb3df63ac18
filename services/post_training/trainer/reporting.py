"""How far a training has come, step by step: what it says, when it evaluates, writes a checkpoint and stops."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from caravan.post_training.v1 import jobs_pb2
from services.post_training.trainer.events import Events, duration
from services.post_training.trainer.problems import LossError
from services.post_training.trainer.recipe import Recipe
from services.post_training.trainer.stopping import Stop

if TYPE_CHECKING:
    from services.post_training.trainer.training import JobTrainer

_SECONDS_BETWEEN_PROGRESS = 1.0
_SECONDS_BETWEEN_CHECKPOINTS = 600.0
_WEIGHT_OF_LATEST = 0.2
_HISTORY = 256
_LEFT_OUT = (
    "epoch",
    "num_tokens",
    "total_flos",
    "runtime",
    "samples_per_second",
    "steps_per_second",
    "model_preparation_time",
)


@dataclass
class Progress:
    """How far a training has come; a checkpoint keeps it, so that a resumed training says what an uninterrupted one says."""

    tokens: int = 0
    """Tokens trained on."""
    loss: float | None = None
    """Loss, when it was last told."""
    validation_loss: float | None = None
    """Loss on the rows evaluated on, the last time."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What was last measured, by name."""
    evaluation_due: bool = False
    """The evaluation of this step is still to be done: the training was stopped at it."""
    summed_loss: float = 0.0
    """Sum of the losses since they were last told."""
    summed_steps: int = 0
    """Number of steps that it sums."""
    collected: dict[str, list[float]] = field(default_factory=dict)
    """TRL's metrics since they were last told."""
    history: list[tuple[int, float, dict[str, float], bool]] = field(default_factory=list)
    """Metrics that were told lately, by step and epoch, and whether they come from an evaluation: nobody may have listened."""


class Reporter(TrainerCallback):  # type: ignore[misc] # Transformers has no types here
    """Follows a training.

    Attributes:
        progress: How far it has come.
        stopped: It was stopped before its end.
    """

    def __init__(self, recipe: Recipe, events: Events, stop: Stop, *, sequences: int, processes: int) -> None:
        """Makes one.

        Args:
            recipe: The training.
            events: Where it says what happens.
            stop: Whether it is to stop.
            sequences: Number of sequences.
            processes: Number of processes.
        """
        self.progress = Progress()
        self.stopped = False
        self._recipe = recipe
        self._events = events
        self._stop = stop
        self._processes = processes
        self._steps_per_epoch = recipe.steps_per_epoch(sequences, processes)
        self.total_steps = recipe.total_steps(sequences, processes)
        self._trainer: JobTrainer | None = None
        self._told = self._saved = self._began = time.monotonic()
        self._seconds_per_step: float | None = None
        self._loss: float | None = None
        self._rate: float | None = None
        self._tokens_logged = 0
        self._logged_at = time.monotonic()

    def follow(self, trainer: "JobTrainer") -> None:
        """Follows a trainer.

        Args:
            trainer: The trainer.
        """
        self._trainer = trainer

    @property
    def _followed(self) -> "JobTrainer":
        assert self._trainer is not None
        return self._trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Goes on where a checkpoint was made."""
        now = time.monotonic()
        self._saved = self._logged_at = now
        self._tokens_logged = self.progress.tokens
        self._followed.restore(self.progress)
        if self.progress.evaluation_due:
            self.progress.evaluation_due = False
            self._followed.evaluate()
        self._tell_progress(state, force=True)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sets the order of the rows."""
        self._followed.order.set_epoch(state.global_step // self._steps_per_epoch)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Takes the time."""
        self._began = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Says what the step did, and decides what follows it."""
        took = time.monotonic() - self._began
        last = self._seconds_per_step
        self._seconds_per_step = took if last is None else last + _WEIGHT_OF_LATEST * (took - last)
        step = state.global_step
        due = time.monotonic() - self._saved >= _SECONDS_BETWEEN_CHECKPOINTS
        agreed = self._agree(bool(self._stop), due, self._followed.bad_rows is not None)
        self.progress.tokens += agreed.tokens
        self.progress.summed_loss += agreed.loss
        self.progress.summed_steps += 1
        self._loss = agreed.loss
        if agreed.bad:
            rows = self._followed.bad_rows
            where = f", rows {', '.join(map(str, rows))}" if rows else ""
            raise LossError(
                f"the loss is not a finite number at step {step}{where}; try a lower lr, a longer warm-up, max_grad_norm 1 or fp32",
                step=str(step),
                rows=",".join(map(str, rows or ())),
            )
        ended = step >= self.total_steps
        epoch_ended = step % self._steps_per_epoch == 0
        control.should_log = step % self._recipe.log_interval == 0 or ended
        control.should_evaluate = self._evaluates(step, epoch_ended or ended)
        control.should_save = self._saves(step, epoch_ended, agreed.due) and not ended
        if agreed.stop and not ended:
            self.stopped = control.should_training_stop = control.should_save = True
            self.progress.evaluation_due = control.should_evaluate
            control.should_evaluate = False
        self._tell_progress(state, force=ended or self.stopped)

    def _evaluates(self, step: int, epoch_ended: bool) -> bool:
        if self._followed.eval_dataset is None:
            return False
        interval = self._recipe.validation_interval
        if interval is None:
            return epoch_ended
        return step % interval == 0 or step >= self.total_steps

    def _saves(self, step: int, epoch_ended: bool, due: bool) -> bool:
        interval = self._recipe.checkpoint_interval
        return epoch_ended or due if interval is None else step % interval == 0

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leaves an evaluation when the training is to stop; it is done after the training has been resumed."""
        if self._stop and self._processes == 1 and 0 < state.global_step < self.total_steps:
            raise EvaluationStopped

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Remembers when a checkpoint was made."""
        self._saved = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tells metrics."""
        # The state is written with every checkpoint; the events have what it would gather.
        state.log_history.clear()
        if not logs or "train_runtime" in logs:
            return
        evaluation = any(name.startswith("eval_") for name in logs)
        values = self._validation(logs) if evaluation else self._training(logs)
        self.progress.metrics |= values
        epoch = float(state.epoch or 0)
        self.progress.history = [*self.progress.history, (state.global_step, epoch, values, evaluation)][-_HISTORY:]
        self._tell_metrics(state.global_step, epoch, values, evaluation)

    def say_again(self, after: int) -> None:
        """Tells metrics once more that were told when the service may have been gone.

        Args:
            after: Last step whose metrics are known.
        """
        for step, epoch, values, evaluation in self.progress.history:
            if step > after:
                self._tell_metrics(step, epoch, values, evaluation)

    def _tell_metrics(self, step: int, epoch: float, values: Mapping[str, float], evaluation: bool) -> None:
        if self._events.rank == 0:
            self._events.metrics(step, epoch, values, evaluation=evaluation)

    def _training(self, logs: Mapping[str, float]) -> dict[str, float]:
        now = time.monotonic()
        values = {name: float(value) for name, value in logs.items() if name not in _LEFT_OUT}
        progress = self.progress
        values["loss"] = progress.loss = progress.summed_loss / max(1, progress.summed_steps)
        progress.summed_loss, progress.summed_steps = 0.0, 0
        self._rate = (progress.tokens - self._tokens_logged) / max(1e-9, now - self._logged_at)
        self._tokens_logged, self._logged_at = progress.tokens, now
        return values | {"tokens_per_second": self._rate, "tokens": float(progress.tokens)}

    def _validation(self, logs: Mapping[str, float]) -> dict[str, float]:
        values = {
            f"validation_{name.removeprefix('eval_')}": float(value)
            for name, value in logs.items()
            if name.removeprefix("eval_") not in _LEFT_OUT
        }
        loss = values.get("validation_loss")
        if loss is not None:
            self.progress.validation_loss = loss
            if self._recipe.kind == "supervised_fine_tune":
                values["perplexity"] = math.exp(min(loss, 700.0))
        # Evaluation is no training: it does not count as slow steps.
        self._logged_at = time.monotonic()
        self._tokens_logged = self.progress.tokens
        return values

    def _tell_progress(self, state: TrainerState, *, force: bool) -> None:
        now = time.monotonic()
        if self._events.rank != 0 or (now - self._told < _SECONDS_BETWEEN_PROGRESS and not force):
            return
        self._told = now
        left = self.total_steps - state.global_step
        progress = self.progress
        told = jobs_pb2.TrainingProgress(
            step=state.global_step,
            epoch=state.global_step / self._steps_per_epoch,
            total_steps=self.total_steps,
            total_epochs=math.ceil(self.total_steps / self._steps_per_epoch),
            loss=self._loss if self._loss is not None else progress.loss,
            validation_loss=progress.validation_loss,
            learning_rate=self._followed.latest_learning_rate(),
            tokens=progress.tokens,
            tokens_per_second=self._rate or 0.0,
            eta=duration(left * self._seconds_per_step) if self._seconds_per_step is not None else None,
        )
        self._events.progress(told)

    def stop_at_evaluation(self, control: TrainerControl) -> None:
        """Stops the training at an evaluation that was left.

        Args:
            control: What the trainer does next.
        """
        self.progress.evaluation_due = True
        self.stopped = control.should_training_stop = control.should_save = True

    def _agree(self, stop: bool, due: bool, bad: bool) -> "_Agreed":
        """Has all processes do the same after a step."""
        tokens, loss = self._followed.take_tokens(), self._followed.take_loss()
        if self._processes == 1:
            return _Agreed(stop, due, bad, tokens, loss)
        # The first process's clock decides when a checkpoint is due.
        said = [float(stop), float(due and self._events.rank == 0), float(bad), float(tokens), loss]
        heard = torch.tensor(said, dtype=torch.float64, device=self._followed.args.device)
        dist.all_reduce(heard)
        stops, dues, bads, tokens_of_all, losses = heard.tolist()
        return _Agreed(stops > 0, dues > 0, bads > 0, int(tokens_of_all), losses / self._processes)


@dataclass(frozen=True)
class _Agreed:
    """What all processes know of a step."""

    stop: bool
    due: bool
    bad: bool
    tokens: int
    loss: float


class EvaluationStopped(Exception):  # noqa: N818 - it is no error
    """An evaluation was left because the training is to stop."""
