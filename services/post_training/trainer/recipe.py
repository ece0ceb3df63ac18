"""A training as its request resolves it: every default filled in. Imports no torch: the planner reads it too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from caravan.datasets.v1 import datasets_pb2
from caravan.post_training.v1 import training_pb2
from services.post_training.spec import Kind, TrainingRequest

Finetuning = Literal["full", "lora", "qlora", "dora"]
Dtype = Literal["auto", "bf16", "fp16", "fp32"]
OptimizerName = Literal["adam", "adamw", "sgd"]
PreferenceLoss = Literal["sigmoid", "hinge", "ipo", "kto_pair"]

LONGEST_SEQUENCE = 4096
"""Longest row in tokens that is not cut, unless the request says otherwise."""
OUTPUT_MODULE = "lm_head"

_DEFAULT_ATTENTION = ("q_proj", "v_proj")
_MODULE_NAMES = {"output_proj": "o_proj"}
_DTYPES: dict[int, Dtype] = {
    training_pb2.TRAINING_DTYPE_UNSPECIFIED: "auto",
    training_pb2.TRAINING_DTYPE_BF16: "bf16",
    training_pb2.TRAINING_DTYPE_FP16: "fp16",
    training_pb2.TRAINING_DTYPE_FP32: "fp32",
}
_OPTIMIZERS: dict[int, OptimizerName] = {
    training_pb2.OPTIMIZER_TYPE_UNSPECIFIED: "adamw",
    training_pb2.OPTIMIZER_TYPE_ADAM: "adam",
    training_pb2.OPTIMIZER_TYPE_ADAMW: "adamw",
    training_pb2.OPTIMIZER_TYPE_SGD: "sgd",
}
_LOSSES: dict[int, PreferenceLoss] = {
    training_pb2.DPO_LOSS_TYPE_UNSPECIFIED: "sigmoid",
    training_pb2.DPO_LOSS_TYPE_SIGMOID: "sigmoid",
    training_pb2.DPO_LOSS_TYPE_HINGE: "hinge",
    training_pb2.DPO_LOSS_TYPE_IPO: "ipo",
    training_pb2.DPO_LOSS_TYPE_KTO_PAIR: "kto_pair",
}


@dataclass(frozen=True)
class Lora:
    """An adapter."""

    attention: tuple[str, ...]
    """Names of the attention's projections that it has."""
    mlp: bool
    """It has the feed-forward layers."""
    output: bool
    """It has the output layer."""
    rank: int
    """Its rank."""
    alpha: int
    """Its scale is alpha / rank."""
    dropout: float
    """Share of its input that is dropped."""
    dora: bool
    """It has magnitudes of its own."""


@dataclass(frozen=True)
class Optimization:
    """How weights are changed."""

    name: OptimizerName
    """The method."""
    lr: float
    """Highest learning rate."""
    lr_min: float | None
    """Rate that a cosine falls to. None: the rate stays."""
    warmup_steps: int
    """Steps over which the rate rises from 0."""
    weight_decay: float
    """Weight decay."""
    max_grad_norm: float
    """Longest gradient. 0: any."""


@dataclass(frozen=True)
class Preference:
    """Numbers of a preference loss."""

    loss: PreferenceLoss
    """The loss."""
    beta: float
    """Scale of the implied reward."""
    label_smoothing: float = 0.0
    """Chance that a pair is the wrong way round."""
    sft_share: float = 0.0
    """Weight of the chosen answers' own negative log-likelihood."""
    reward_clip: float | None = None
    """Largest absolute value of an implied reward. None: any."""


@dataclass(frozen=True)
class Recipe:
    """A training with every default filled in."""

    kind: Kind
    """What is trained for."""
    model: str
    """The model, as the request names it."""
    finetuning: Finetuning
    """What is trained of it."""
    lora: Lora | None
    """The adapter. None: all weights are trained."""
    optimization: Optimization
    """How weights are changed."""
    preference: Preference | None
    """The loss of preferences."""
    dtype: Dtype
    """Type of the numbers; `auto` is bf16 where the machine has it, else fp32."""
    epochs: int
    """Times that the rows are gone through."""
    max_steps: int
    """Most steps. 0: any."""
    max_steps_per_epoch: int
    """Most steps of an epoch. 0: any."""
    batch_size: int
    """Rows of a batch of one process."""
    accumulation: int
    """Batches of a step."""
    shuffle: bool
    """Rows are shuffled."""
    rows_format: str
    """Format that the request reads the rows in, a name of `DatasetFormat`; `DATASET_FORMAT_UNSPECIFIED` is the data set's."""
    packed: bool
    """Several rows share a sequence."""
    train_on_input: bool
    """Inputs are learnt too."""
    max_length: int | None
    """Longest row in tokens. None: the model's context, at most `LONGEST_SEQUENCE`."""
    max_validation_batches: int
    """Most batches of an evaluation. 0: any."""
    validation_interval: int | None
    """Steps between evaluations. None: one at the end of each epoch."""
    checkpoint_interval: int | None
    """Steps between checkpoints. None: one at the end of each epoch, and about every 10 minutes."""
    checkpoints_kept: int
    """Checkpoints that are kept."""
    seed: int
    """Seed."""
    activation_checkpointing: bool
    """Activations are computed again."""
    activation_offloading: bool
    """Activations are kept in the host's memory."""
    fsdp_wrap_embeddings: bool
    """Embeddings and output layer are sharded by themselves."""
    fsdp_offload: bool
    """Parameters are kept in the host's memory."""
    log_interval: int
    """Steps between metrics."""
    log_level: int
    """Least severe lines that are told, a number of `LogLevel`."""
    log_samples: bool
    """A few rows are told as the model sees them."""

    @property
    def quantized(self) -> bool:
        """Whether the base model is held in 4 bits."""
        return self.finetuning == "qlora"

    @property
    def fsdp(self) -> bool:
        """Whether the model is sharded over the processes; it is copied to each of them otherwise."""
        return self.fsdp_wrap_embeddings or self.fsdp_offload

    def steps_per_epoch(self, sequences: int, num_processes: int) -> int:
        """Returns the optimizer steps of one epoch.

        Args:
            sequences: Number of sequences (rows, when they are not packed).
            num_processes: Number of processes.
        """
        batches = math.ceil(math.ceil(sequences / self.batch_size) / num_processes)
        steps = max(1, math.ceil(batches / self.accumulation))
        return min(steps, self.max_steps_per_epoch) if self.max_steps_per_epoch else steps

    def total_steps(self, sequences: int, num_processes: int) -> int:
        """Returns the optimizer steps of the whole training; see `steps_per_epoch`."""
        steps = self.steps_per_epoch(sequences, num_processes) * self.epochs
        return min(steps, self.max_steps) if self.max_steps else steps


def recipe_of(kind: Kind, request: TrainingRequest) -> Recipe:
    """Resolves a request, which has been checked.

    Args:
        kind: What is trained for.
        request: The request.
    """
    training = request.training_config
    data = training.data_config
    efficiency = training.efficiency_config
    logger = request.logger_config
    lora = _adapter(request)
    finetuning = finetuning_of(request)
    return Recipe(
        kind=kind,
        model=model_of(request),
        finetuning=finetuning,
        lora=lora,
        optimization=_optimization(training.optimizer_config, kind, finetuning),
        preference=_preference(request),
        dtype=_DTYPES[training.dtype],
        epochs=training.n_epochs if training.HasField("n_epochs") else 1,
        max_steps=training.n_iters,
        max_steps_per_epoch=training.max_steps_per_epoch,
        batch_size=data.batch_size if data.HasField("batch_size") else 1,
        accumulation=training.gradient_accumulation_steps if training.HasField("gradient_accumulation_steps") else 1,
        shuffle=data.shuffle if data.HasField("shuffle") else True,
        rows_format=datasets_pb2.DatasetFormat.Name(data.data_format),
        packed=data.packed,
        train_on_input=data.train_on_input,
        max_length=data.max_sequence_length if data.HasField("max_sequence_length") else None,
        max_validation_batches=training.max_validation_steps,
        validation_interval=training.validation_interval_steps
        if training.HasField("validation_interval_steps")
        else None,
        checkpoint_interval=training.checkpoint_interval_steps
        if training.HasField("checkpoint_interval_steps")
        else None,
        checkpoints_kept=training.checkpoints_to_keep if training.HasField("checkpoints_to_keep") else 3,
        seed=training.seed,
        activation_checkpointing=efficiency.enable_activation_checkpointing,
        activation_offloading=efficiency.enable_activation_offloading,
        fsdp_wrap_embeddings=efficiency.memory_efficient_fsdp_wrap,
        fsdp_offload=efficiency.fsdp_cpu_offload,
        log_interval=logger.log_interval_steps if logger.HasField("log_interval_steps") else 1,
        log_level=logger.log_level or training_pb2.LOG_LEVEL_INFO,
        log_samples=logger.log_samples,
    )


def model_of(request: TrainingRequest) -> str:
    """Returns the model that a request names."""
    if isinstance(request, training_pb2.PreferenceOptimizeRequest):
        return request.finetuned_model
    return request.model


def algorithm_of(request: TrainingRequest) -> training_pb2.AlgorithmConfig:
    """Returns what a request says is trained of the model."""
    if isinstance(request, training_pb2.PreferenceOptimizeRequest):
        return request.finetuning_config
    return request.algorithm_config


def finetuning_of(request: TrainingRequest) -> Finetuning:
    """Returns what is trained of the model."""
    config = algorithm_of(request)
    kind = config.WhichOneof("config")
    if kind == "full":
        return "full"
    if kind == "lora":
        if config.lora.quantize_base:
            return "qlora"
        return "dora" if config.lora.use_dora else "lora"
    if isinstance(request, training_pb2.PreferenceOptimizeRequest):
        return "lora"
    short = request.algorithm if isinstance(request, training_pb2.SupervisedFineTuneRequest) else 0
    named: dict[int, Finetuning] = {
        training_pb2.FINETUNING_ALGORITHM_LORA: "lora",
        training_pb2.FINETUNING_ALGORITHM_QLORA: "qlora",
        training_pb2.FINETUNING_ALGORITHM_DORA: "dora",
    }
    return named.get(short, "full")


def _adapter(request: TrainingRequest) -> Lora | None:
    if finetuning_of(request) == "full":
        return None
    config = algorithm_of(request).lora
    names: Sequence[str] = config.lora_attn_modules or _DEFAULT_ATTENTION
    return Lora(
        attention=tuple(dict.fromkeys(_MODULE_NAMES.get(name, name) for name in names)),
        mlp=config.apply_lora_to_mlp,
        output=config.apply_lora_to_output,
        rank=config.rank if config.HasField("rank") else 8,
        alpha=config.alpha if config.HasField("alpha") else 16,
        dropout=config.dropout,
        dora=finetuning_of(request) == "dora" or config.use_dora,
    )


def _optimization(config: training_pb2.OptimizerConfig, kind: Kind, finetuning: Finetuning) -> Optimization:
    name = _OPTIMIZERS[config.optimizer_type]
    usual = 5e-6 if kind == "preference_optimize" else 2e-5 if finetuning == "full" else 2e-4
    return Optimization(
        name=name,
        lr=config.lr if config.HasField("lr") else usual,
        lr_min=config.lr_min if config.HasField("lr_min") else None,
        warmup_steps=config.num_warmup_steps,
        weight_decay=config.weight_decay if config.HasField("weight_decay") else 0.01 if name == "adamw" else 0.0,
        max_grad_norm=config.max_grad_norm if config.HasField("max_grad_norm") else 1.0,
    )


def _preference(request: TrainingRequest) -> Preference | None:
    # The first form's four numbers: reward_scale is the loss's beta, epsilon its label smoothing, gamma the share of the chosen answers'
    # own likelihood (RPO's alpha), reward_clip a bound of beta times the log-ratios.
    if not isinstance(request, training_pb2.PreferenceOptimizeRequest):
        return None
    config = request.algorithm_config
    beta = config.reward_scale if config.HasField("reward_scale") else config.beta if config.HasField("beta") else 0.1
    return Preference(
        loss=_LOSSES[config.loss_type],
        beta=beta,
        label_smoothing=config.epsilon,
        sft_share=config.gamma,
        reward_clip=config.reward_clip if config.HasField("reward_clip") else None,
    )
