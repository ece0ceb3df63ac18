"""What all trainers have beyond TRL's: the order of rows, the optimizers, a loss that is watched, and checkpoints that survive a crash."""

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from transformers import PrinterCallback

from services.post_training.trainer.order import Order
from services.post_training.trainer.problems import CheckpointError
from services.post_training.trainer.recipe import Dtype, Recipe
from services.post_training.trainer.reporting import EvaluationStopped, Progress, Reporter

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
_SEEDS = 2**32

Write = Callable[["JobTrainer"], None]
"""Writes a checkpoint."""


def arguments(recipe: Recipe, dtype: Dtype, folder: Path, processes: int) -> dict[str, Any]:
    """Returns a recipe as arguments of TRL's configurations.

    Args:
        recipe: The training.
        dtype: Type that is computed in.
        folder: Folder for what libraries write; they write nothing.
        processes: Number of processes.
    """
    optimization = recipe.optimization
    falls = optimization.lr_min is not None
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "seed": recipe.seed % _SEEDS,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.max_steps or -1,
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "learning_rate": optimization.lr,
        "lr_scheduler_type": "cosine_with_min_lr" if falls else "constant_with_warmup",
        "lr_scheduler_kwargs": {"min_lr": optimization.lr_min} if falls else None,
        "warmup_steps": optimization.warmup_steps,
        "weight_decay": optimization.weight_decay,
        "max_grad_norm": optimization.max_grad_norm,
        "bf16": dtype == "bf16",
        "fp16": dtype == "fp16",
        "use_cpu": not cuda,
        "gradient_checkpointing": recipe.activation_checkpointing,
        # Without a GPU activations are in the host's memory as it is.
        "activation_offloading": recipe.activation_offloading and cuda,
        # The reporter says when; see `Reporter.on_step_end`.
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "prediction_loss_only": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": cuda,
        "disable_tqdm": True,
        "report_to": "none",
        "ddp_backend": "gloo" if processes > 1 and not cuda else None,
        "ddp_find_unused_parameters": False if processes > 1 else None,
        **(_sharded(recipe) if recipe.fsdp and processes > 1 else {}),
    }


def _sharded(recipe: Recipe) -> dict[str, Any]:
    """Returns the arguments of FSDP2. Accelerate shards embeddings and output layer by themselves, beside the layers."""
    config = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        # Without a GPU parameters are in the host's memory as it is.
        "cpu_offload": recipe.fsdp_offload and torch.cuda.is_available(),
        "state_dict_type": "SHARDED_STATE_DICT",
    }
    return {"fsdp": True, "fsdp_config": config}


class JobTrainer:
    """Comes before one of TRL's trainers among a class's ancestors.

    Attributes:
        order: The order of rows.
        bad_rows: Rows of the first batch whose loss was no finite number. None: there was none.
    """

    accelerator: Any
    args: Any
    is_fsdp_enabled: bool
    optimizer: Any
    eval_dataset: Any
    control: Any
    model: Any
    state: Any
    _metrics: dict[str, defaultdict[str, list[float]]]

    def __init__(self, *, recipe: Recipe, reporter: Reporter, write: Write, optimizer_state: Path | None, **rest: Any):
        """Makes the trainer.

        Args:
            recipe: The training.
            reporter: Follows it.
            write: Writes a checkpoint.
            optimizer_state: Folder of the checkpoint whose optimizer's state is taken over. None: none is.
            rest: What TRL's trainer takes.
        """
        self.bad_rows: list[int] | None = None
        self._recipe = recipe
        self._reporter = reporter
        self._write = write
        self._optimizer_state = optimizer_state
        self._tokens = 0
        self._loss = 0.0
        self._rate: float | None = None
        rows = rest["train_dataset"].num_rows
        processes = rest["args"].world_size
        limit = recipe.max_steps_per_epoch * recipe.accumulation * recipe.batch_size * processes
        self.order = Order(rows, seed=recipe.seed, shuffle=recipe.shuffle, limit=limit)
        super().__init__(callbacks=[reporter], **rest)  # type: ignore[call-arg]
        self.remove_callback(PrinterCallback)  # type: ignore[attr-defined]
        reporter.follow(self)

    def create_accelerator_and_postprocess(self) -> None:
        """Sharding on processors too: Accelerate does it on GPUs only and copies the model otherwise, without a word; torch can."""
        super().create_accelerator_and_postprocess()  # type: ignore[misc]
        if self.args.fsdp and not self.is_fsdp_enabled:
            plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
            state = self.accelerator.state
            if self.accelerator.mixed_precision != "no":
                plugin.set_mixed_precision(self.accelerator.mixed_precision)
            state.distributed_type = DistributedType.FSDP
            state.fsdp_plugin = plugin
            self.is_fsdp_enabled = True

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self.order

    def get_optimizer_cls_and_kwargs(self, args: Any, model: Any = None) -> tuple[type[torch.optim.Optimizer], Any]:
        """Returns the optimizer's class and numbers; see `transformers.Trainer`."""
        optimization = self._recipe.optimization
        return _OPTIMIZERS[optimization.name], {"lr": optimization.lr, "fused": not args.fsdp}

    def create_optimizer(self, model: Any = None) -> Any:
        """Makes the optimizer, with the state that is taken over; see `transformers.Trainer`."""
        made = self.optimizer is not None
        # TRL trains QLoRA's adapters in bf16, where small steps are lost.
        for parameter in self.model.parameters():
            if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
                parameter.data = parameter.data.float()
        optimizer = super().create_optimizer(model)  # type: ignore[misc]
        if self._optimizer_state is not None and not made:
            _take_over(optimizer, self._optimizer_state / "optimizer.pt")
        return optimizer

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Trains on a batch; see `transformers.Trainer`."""
        rows, tokens = inputs.pop("rows"), inputs.pop("tokens")
        loss = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        value = loss.item()
        self._tokens += int(tokens.sum())
        self._loss += value
        if not math.isfinite(value) and self.bad_rows is None:
            self.bad_rows = [row for row in rows.flatten().tolist() if row >= 0]
        return loss

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """Evaluates a batch; see `transformers.Trainer`."""
        kept = {name: value for name, value in inputs.items() if name not in ("rows", "tokens")}
        return super().prediction_step(model, kept, *rest, **more)  # type: ignore[misc]

    def evaluate(self, *rest: Any, **more: Any) -> dict[str, float]:
        """Evaluates, unless the training is to stop meanwhile; see `transformers.Trainer`."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        try:
            # Its batches draw numbers; whether and when it is done must not matter to the dropout of the steps that follow.
            with torch.random.fork_rng(devices):
                measured: dict[str, float] = super().evaluate(*rest, **more)  # type: ignore[misc]
        except EvaluationStopped:
            self._metrics["eval"].clear()
            self._reporter.stop_at_evaluation(self.control)
            return {}
        return measured

    def _get_learning_rate(self) -> float:
        self._rate = float(super()._get_learning_rate())  # type: ignore[misc]
        return self._rate

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._write(self)

    def take_loss(self) -> float:
        """Returns the loss of the step that just ended."""
        loss, self._loss = self._loss, 0.0
        return loss

    def take_tokens(self) -> int:
        """Returns the tokens of the step that just ended."""
        tokens, self._tokens = self._tokens, 0
        return tokens

    def latest_learning_rate(self) -> float | None:
        """Returns the learning rate of the last step; None before the first."""
        return self._rate

    def progress(self) -> Progress:
        """Returns how far the training has come, for a checkpoint."""
        progress = self._reporter.progress
        progress.collected = {name: list(values) for name, values in self._metrics["train"].items()}
        return progress

    def restore(self, progress: Progress) -> None:
        """Goes on where a checkpoint was made.

        Args:
            progress: How far the training had come.
        """
        self._metrics["train"] = defaultdict(list, {name: list(v) for name, v in progress.collected.items()})


def _take_over(optimizer: torch.optim.Optimizer, file: Path) -> None:
    """Gives an optimizer the state that another one had; its rates stay its own."""
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        own = optimizer.state_dict()
        own["state"] = saved["state"]
        shapes = [tuple(parameter.shape) for group in optimizer.param_groups for parameter in group["params"]]
        for number, state in saved["state"].items():
            moment = state.get("exp_avg")
            if moment is not None and tuple(moment.shape) != shapes[number]:
                raise ValueError(f"parameter {number} has another shape")
        optimizer.load_state_dict(own)
    except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"the optimizer's state of the checkpoint cannot be taken over: {error}") from error
