"""What is wrong with a training's configuration, by field: everything that the contract's own rules cannot see."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

from caravan.post_training.v1 import training_pb2
from services.core.errors import FieldViolation
from services.post_training.spec import TrainingRequest, TrainingSpec
from services.post_training.trainer.checkpoints import ADAPTER_CONFIG, read_description
from services.post_training.trainer.recipe import Recipe, algorithm_of, finetuning_of
from services.post_training.trainer.rows import FORMATS, UNSPECIFIED
from services.post_training.trainer.weights import Weights, read_json, target_modules

_SHORT_NAMES = {
    training_pb2.FINETUNING_ALGORITHM_FULL: "full",
    training_pb2.FINETUNING_ALGORITHM_LORA: "lora",
    training_pb2.FINETUNING_ALGORITHM_QLORA: "qlora",
    training_pb2.FINETUNING_ALGORITHM_DORA: "dora",
}
_DATA = "training_config.data_config"
_OPTIMIZER = "training_config.optimizer_config"
_EFFICIENCY = "training_config.efficiency_config"


def violations(spec: TrainingSpec, recipe: Recipe, weights: Weights) -> list[FieldViolation]:
    """Returns what is wrong with a training.

    Args:
        spec: What it would be given.
        recipe: The training.
        weights: The model that it starts from.
    """
    request = spec.parsed_request()
    found = [
        *_algorithm(request, recipe),
        *_adapter(request, recipe, weights),
        *_quantization(request, recipe, weights),
        *_optimizer(recipe),
        *_data(recipe, weights),
        *_validation(request),
        *_processes(spec, recipe),
        *_continued(spec, request, recipe),
    ]
    return [FieldViolation(field, description) for field, description in found]


def algorithm_field(request: TrainingRequest) -> str:
    """Returns the name of the field that says what is trained of the model."""
    preference = isinstance(request, training_pb2.PreferenceOptimizeRequest)
    return "finetuning_config" if preference else "algorithm_config"


def model_field(request: TrainingRequest) -> str:
    """Returns the name of the field that names the model."""
    return "finetuned_model" if isinstance(request, training_pb2.PreferenceOptimizeRequest) else "model"


def _algorithm(request: TrainingRequest, recipe: Recipe) -> Iterator[tuple[str, str]]:
    if not isinstance(request, training_pb2.SupervisedFineTuneRequest):
        return
    short = _SHORT_NAMES.get(request.algorithm)
    if short is not None and request.algorithm_config.WhichOneof("config") and short != finetuning_of(request):
        yield "algorithm", f"is {short}, but algorithm_config says {recipe.finetuning}; set one of them, or both alike"


def _adapter(request: TrainingRequest, recipe: Recipe, weights: Weights) -> Iterator[tuple[str, str]]:
    lora = recipe.lora
    if lora is None:
        return
    field = f"{algorithm_field(request)}.lora"
    known = weights.module_names
    named = algorithm_of(request).lora.lora_attn_modules
    for number, name in enumerate(lora.attention):
        if name not in known:
            path = f"{field}.lora_attn_modules[{number}]" if named else f"{field}.lora_attn_modules"
            yield path, f"the model has no layer {name}; it has {', '.join(sorted(known))}"
    if lora.mlp and not weights.feed_forward_names:
        yield f"{field}.apply_lora_to_mlp", "the model has no feed-forward layers that are known"
    if lora.output and recipe.kind == "train_reward_model":
        yield f"{field}.apply_lora_to_output", "a reward model's output layer is trained whole as it is"
    elif lora.output and recipe.fsdp:
        yield f"{field}.apply_lora_to_output", "cannot be combined with sharding (FSDP)"


def _quantization(request: TrainingRequest, recipe: Recipe, weights: Weights) -> Iterator[tuple[str, str]]:
    field = f"{algorithm_field(request)}.lora.quantize_base"
    if recipe.quantized and recipe.fsdp:
        yield field, "a base model in 4 bits cannot be sharded (FSDP); leave one of both out"
    if "quantization_config" in weights.config:
        yield (
            model_field(request),
            "the model is quantized already; name the one that it was made of, with quantize_base if need be",
        )


def quantization_missing(recipe: Recipe) -> bool:
    """Returns whether a training needs 4-bit kernels that this machine lacks.

    Args:
        recipe: The training.
    """
    return recipe.quantized and importlib.util.find_spec("bitsandbytes") is None


def _optimizer(recipe: Recipe) -> Iterator[tuple[str, str]]:
    optimization = recipe.optimization
    if optimization.lr_min is not None and optimization.lr_min >= optimization.lr:
        yield f"{_OPTIMIZER}.lr_min", f"must be less than lr, which is {optimization.lr:g}"


def _data(recipe: Recipe, weights: Weights) -> Iterator[tuple[str, str]]:
    pairs = recipe.kind != "supervised_fine_tune"
    if recipe.rows_format not in (*FORMATS[recipe.kind], UNSPECIFIED):
        yield f"{_DATA}.data_format", f"must be {' or '.join(FORMATS[recipe.kind])} here"
    if recipe.packed and pairs:
        yield f"{_DATA}.packed", "pairs cannot be packed; leave it out"
    if recipe.train_on_input and pairs:
        yield f"{_DATA}.train_on_input", "nothing but the ends is learnt of pairs; leave it out"
    context = weights.context
    if recipe.max_length is not None and context is not None and recipe.max_length > context:
        yield f"{_DATA}.max_sequence_length", f"must be at most the model's context, {context}"


def _validation(request: TrainingRequest) -> Iterator[tuple[str, str]]:
    training = request.training_config
    if training.data_config.validation_dataset_id:
        return
    reason = "needs a validation_dataset_id"
    if training.max_validation_steps:
        yield "training_config.max_validation_steps", reason
    if training.HasField("validation_interval_steps"):
        yield "training_config.validation_interval_steps", reason
    if training.data_config.HasField("validation_dataset_revision"):
        yield f"{_DATA}.validation_dataset_revision", reason


def _processes(spec: TrainingSpec, recipe: Recipe) -> Iterator[tuple[str, str]]:
    if spec.num_processes == 1:
        reason = "shards the model over processes; there is one (executor.num_processes)"
        if recipe.fsdp_wrap_embeddings:
            yield f"{_EFFICIENCY}.memory_efficient_fsdp_wrap", reason
        if recipe.fsdp_offload:
            yield f"{_EFFICIENCY}.fsdp_cpu_offload", reason


def _continued(spec: TrainingSpec, request: TrainingRequest, recipe: Recipe) -> Iterator[tuple[str, str]]:
    if not spec.continue_from:
        return
    folder = Path(spec.continue_from)
    if request.continue_from.with_optimizer_state:
        yield from _optimizer_state(folder, recipe)
    config = folder / ADAPTER_CONFIG
    if recipe.lora is None or not config.is_file():
        return
    adapter = read_json(config)
    weights = Weights.read(Path(spec.base_model))
    field = f"{algorithm_field(request)}.lora"
    lora = recipe.lora
    asked = {"rank": lora.rank, "alpha": lora.alpha, "use_dora": lora.dora}
    has = {"rank": adapter.get("r"), "alpha": adapter.get("lora_alpha"), "use_dora": bool(adapter.get("use_dora"))}
    for name, value in asked.items():
        if has[name] != value:
            yield (
                f"{field}.{name}",
                f"is {json.dumps(value)}, but the adapter that the training goes on from has {json.dumps(has[name])}",
            )
    modules = adapter.get("target_modules")
    if isinstance(modules, list) and sorted(modules) != target_modules(weights, lora):
        yield (
            f"{field}.lora_attn_modules",
            f"the adapter that the training goes on from is one of {', '.join(sorted(modules))}",
        )


def _optimizer_state(folder: Path, recipe: Recipe) -> Iterator[tuple[str, str]]:
    field = "continue_from.with_optimizer_state"
    checkpoint = read_description(folder)
    if checkpoint is None or not checkpoint.resumable or not (folder / "optimizer.pt").is_file():
        yield field, "the checkpoint has no optimizer state"
    elif (recipe.lora is not None) != (folder / ADAPTER_CONFIG).is_file():
        yield field, "needs a checkpoint of the same kind of training"
    elif recipe.fsdp:
        yield field, "cannot be combined with sharding (FSDP)"
